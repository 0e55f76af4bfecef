//! Chaos: a live federation of real processes is hurt at random moments, and then shows that nothing was lost.
//!
//! | file | what |
//! | --- | --- |
//! | [`schedule`] | which faults, and when: all of it from a seed |
//! | [`world`], [`lines`] | the federation, and the network that it lies in |
//! | [`drive`] | does to it what the schedule says |
//! | [`past`] | what happened, by the journal alone, with every invariant looked at |
//! | [`fate`] | what became of the updates that workers were told to be safe |
//! | [`recovery`] | how long a kill holds up the rounds |
//! | [`replay`] | the same runs without faults, to be compared bit for bit |
//! | [`soak`] | nothing is left behind by rounds |
//!
//! `POLDER_CHAOS_SECONDS` says for how long (45 if it is not set), `POLDER_CHAOS_SEED` what is done.

#![allow(clippy::print_stderr, reason = "the seed, the figures and what was skipped are for people")]

mod drive;
mod fate;
mod lines;
mod past;
mod recovery;
mod replay;
mod runs;
mod schedule;
mod soak;
mod world;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use polder_tests::postgres::Postgres;

use crate::past::Past;
use crate::world::{Shared, World};

const SECONDS: u64 = 45;
const SEED: u64 = 4;
/// Rounds that a run must commit once everything is healed.
const ROUNDS_AFTER: u64 = 3;

fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

#[test]
fn one_coordinator_loses_nothing() {
    chaos("one_coordinator_loses_nothing", 1, &Shared::default());
}

#[test]
fn three_coordinators_lose_nothing() {
    let Some(postgres) = Postgres::start() else { return };
    let common = tempfile::tempdir().unwrap();
    let key = common.path().join("cluster.key");
    // Any bytes, in base64; 32 are the fewest.
    std::fs::write(&key, "cG9sZGVycyBhcmUga2VwdCBkcnkgYnkgdGhlaXIgZGlrZXM=").unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let blobs = common.path().join("blobs");
    std::fs::create_dir(&blobs).unwrap();
    let shared = Shared {
        database: Some(postgres.database()),
        blobs: Some(format!("file://{}", blobs.display())),
        cluster_key: Some(key),
    };
    chaos("three_coordinators_lose_nothing", 3, &shared);
}

/// One federation at a time: two would only measure each other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn chaos(test: &str, coordinators: usize, shared: &Shared) {
    let _turn = turn();
    let (seed, seconds) = (setting("POLDER_CHAOS_SEED", SEED), setting("POLDER_CHAOS_SECONDS", SECONDS));
    let again = format!("POLDER_CHAOS_SEED={seed} POLDER_CHAOS_SECONDS={seconds}");
    eprintln!("chaos: seed {seed}, {seconds} s; again with: {again} cargo test -p polder-tests --test chaos {test}");
    let mut world = World::start(coordinators, shared);
    let lived = catch_unwind(AssertUnwindSafe(|| live(&mut world, seed, seconds)));
    if let Err(failure) = lived {
        eprintln!("chaos: it failed with seed {seed}; {}\nagain with: {again}", world.report());
        resume_unwind(failure);
    }
}

fn live(world: &mut World, seed: u64, seconds: u64) {
    let long = [runs::trained(), runs::heavy()].map(|text| {
        let file = world.polder.file("run.toml", &text);
        world.polder.submit(&file)
    });
    world.suffer(&schedule::plan(seed, seconds * 1000, world.victims()));
    heal(world, &long);
    let received = what_is_on_disk(world);
    end(world, &long);

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = world.store();
    let past = runtime.block_on(Past::read(&store));
    assert!(past.broken.is_empty(), "what must never be: {:#?}", past.broken);
    for run in past.runs.keys() {
        assert_eq!(past.open(run), None, "a round of {run} has no end");
    }
    let again = runtime.block_on(replay::without_faults(&past, &world.polder.path(""), &store));
    let (rounds, updates) = again.unwrap_or_else(|difference| panic!("not the same without faults: {difference}"));
    print_figures(world, &past, &received, rounds, updates);
}

/// With nothing broken any more everybody gets on, and what was submitted meanwhile ends.
fn heal(world: &mut World, long: &[String]) {
    world.note("everything is healed");
    let queued: Vec<String> =
        std::mem::take(&mut world.submitting).into_iter().map(|submitting| submitting.join().unwrap()).collect();
    for run in long {
        world.gets_on(run, ROUNDS_AFTER);
    }
    for run in queued {
        world.eventually("a run that was submitted in bad times completes", |world| {
            let status = world.show(&run)?["status"].as_str()?.to_owned();
            assert!(status == "running" || status == "completed", "{run} is {status}");
            (status == "completed").then_some(())
        });
    }
}

/// Kills all processes at once, and looks at what is left of the updates that their workers were told to be safe.
fn what_is_on_disk(world: &mut World) -> fate::Fates {
    world.note("everything is killed");
    for node in world.coordinators.iter_mut().chain(&mut world.workers) {
        assert_eq!(node.kill(), None, "{} had ended by itself", node.name);
    }
    let acknowledged = fate::acknowledged(&world.workers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = world.store();
    let past = runtime.block_on(Past::read(&store));
    let fates = fate::of(&acknowledged, &past, &store);
    assert!(fates.lost.is_empty(), "updates that were acknowledged are gone: {:#?}", fates.lost);
    fates
}

/// Starts everything once more, ends the runs and then the processes, in order.
fn end(world: &mut World, long: &[String]) {
    world.note("everything is started again");
    (0..world.coordinators.len()).for_each(|index| world.start_coordinator(index));
    world.workers.iter_mut().for_each(|worker| worker.start(|_| ()));
    for run in long {
        world.eventually("the run is stopped", |world| world.ask(&["run", "stop", run]).map(drop));
        let ended = world.eventually("the run is shown", |world| world.show(run));
        assert_eq!(ended["status"], "stopped", "{ended}");
    }
    let left = world.stop();
    assert!(left.is_empty(), "processes that nobody ended: {left:?}");
}

fn print_figures(world: &World, past: &Past, fates: &fate::Fates, rounds: usize, updates: usize) {
    let abandoned: usize = past.runs.values().map(|run| run.abandoned.len()).sum();
    eprintln!(
        "chaos: {} acts; the coordinator started {} times; {} runs, {rounds} rounds committed, {abandoned} abandoned; {fates}\n\
         chaos: the same without faults, bit for bit: {rounds} models, {updates} updates",
        world.history.len(),
        past.starts,
        past.runs.len(),
    );
    recovery::print(&world.kills, past, "with other faults beside it and the time that it was down");
}
