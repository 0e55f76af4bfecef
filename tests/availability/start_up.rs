//! What a coordinator that would share a database is refused, and how it is told.

use polder_tests::{Polder, Postgres};

use crate::world::{World, key_file, shared};

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");

fn refused(polder: &Polder, name: &str, arguments: &[String], text: &str) {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let Err(log) = polder.try_start(name, &arguments) else { panic!("{name} started") };
    assert!(log.contains(text), "it does not say `{text}`:\n{log}");
}

fn start(more: &[&str]) -> Vec<String> {
    let all = ["coordinator", "start", "--listen", "127.0.0.1:0"];
    [&all, more].concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn what_is_missing_is_said_with_a_way_to_make_it() {
    let polder = Polder::new(PROGRAM);
    let database = ["--database", "postgres://nobody@127.0.0.1:1/none"];
    refused(&polder, "no-blobs", &start(&database), "must share blobs too");
    let blobs = format!("file://{}", polder.path("objects").display());
    let with_blobs = [&database[..], &["--blobs", &blobs]].concat();
    refused(&polder, "no-key", &start(&with_blobs), "head -c 32 /dev/urandom | base64");
    let with_key = |key: &str| start(&[&with_blobs[..], &["--cluster-key", key]].concat());
    let absent = polder.path("absent").display().to_string();
    refused(&polder, "absent-key", &with_key(&absent), "give every coordinator the same");
    let short = key_file(&polder, "short", "00000000");
    refused(&polder, "short-key", &with_key(&short), "at least 32 random bytes");
}

/// As after a power cut, where the database is up later than the coordinator.
#[test]
fn a_database_that_is_away_is_waited_for() {
    let Some(mut postgres) = Postgres::start() else { return };
    let database = postgres.database();
    postgres.stop();
    let polder = Polder::new(PROGRAM);
    let key = key_file(&polder, "key", "0123456789abcdef");
    std::fs::create_dir(polder.path("objects")).unwrap();
    let blobs = format!("file://{}", polder.path("objects").display());
    let arguments = start(&["--database", &database, "--blobs", &blobs, "--cluster-key", &key]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let impatient = polder.launch("impatient", &arguments);
    impatient.until_logged("it waits and tries on");
    assert_eq!(impatient.terminated(), Some(143), "who waits can be stopped");

    let waiting = polder.launch("waiting", &arguments);
    waiting.until_logged("is away; is it running and reachable?");
    postgres.resume();
    let coordinator = waiting.up().unwrap();
    assert_eq!(coordinator.up["leads"], true, "{}", coordinator.up);
    assert_eq!(coordinator.log().matches("it waits and tries on").count(), 1, "{}", coordinator.log());
    coordinator.stop();
}

#[test]
fn another_cluster_key_is_refused() {
    let Some(postgres) = shared() else { return };
    let world = World::of_coordinators(postgres);
    let other = key_file(&world.polder, "other-key", "fedcba9876543210");
    let mut arguments = world.arguments(0);
    let dir = world.polder.path("c9").display().to_string();
    for (flag, value) in [("--cluster-key", other.as_str()), ("--dir", &dir), ("--listen", "127.0.0.1:0")] {
        let at = arguments.iter().position(|argument| argument == flag).unwrap();
        arguments[at + 1] = value.into();
    }
    refused(&world.polder, "c9", &arguments, "the key file that the federation's other coordinators have");
}

#[test]
fn a_copied_directory_is_no_second_coordinator() {
    let Some(postgres) = shared() else { return };
    let mut world = World::of_coordinators(postgres);
    let copy = world.polder.path("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(world.polder.path("c0").join("member"), copy.join("member")).unwrap();
    let mut arguments = world.arguments(1);
    for (flag, value) in [("--dir", copy.display().to_string()), ("--listen", "127.0.0.1:0".into())] {
        let at = arguments.iter().position(|argument| argument == flag).unwrap();
        arguments[at + 1] = value;
    }
    refused(&world.polder, "copy", &arguments, "has the same id as this one");
    // Without the one that it is a copy of, it may take its place, whatever its address.
    world.kill(0);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    world.polder.start("copy", &arguments).stop();
}

#[test]
fn passwords_are_never_said() {
    let polder = Polder::new(PROGRAM);
    let key = key_file(&polder, "key", "0123456789abcdef");
    let blobs = format!("file://{}", polder.path("objects").display());
    let database = "postgres://polder:hunter2@127.0.0.1:1/none";
    let arguments = start(&["--database", database, "--blobs", &blobs, "--cluster-key", &key]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let waiting = polder.launch("secret", &arguments);
    waiting.until_logged("is away");
    let log = waiting.log();
    assert!(!log.contains("hunter2"), "{log}");
    let help = polder.run(&["coordinator", "start", "--help"]).ok();
    assert!(help.contains("--database") && help.contains("POLDER_DATABASE"), "{help}");
}
