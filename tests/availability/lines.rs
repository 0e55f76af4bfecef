//! The lines between coordinators and what they share are cut, or fall silent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use polder_tests::proxy::{Line, Proxy};
use polder_tests::s3::S3;
use polder_tests::{Polder, Postgres};
use tokio::runtime::Runtime;

use crate::takeover::{commits_once_each, next_commit};
use crate::world::{PROGRAM, World, say, shared, wait_until};

const ROUNDS: usize = 8;
const DELAY_MS: u32 = 400;
/// How long the object store is away: longer than one request is tried.
const AWAY: Duration = Duration::from_secs(10);

/// A line to `target` (`HOST:PORT`).
fn line_to(runtime: &Runtime, target: &str) -> Proxy {
    let proxy = Proxy::start(runtime.handle());
    proxy.lead_to(target.parse::<SocketAddr>().unwrap());
    proxy
}

/// The leader alone loses the database, in the middle of a round; the others have it still.
fn the_leader_alone_loses_the_database(postgres: &Postgres, how: Line) {
    let runtime = Runtime::new().unwrap();
    let database = postgres.database();
    let direct = postgres.over_tcp(&database);
    let server = direct.rsplit_once('@').unwrap().1.split('/').next().unwrap();
    let line = line_to(&runtime, server);
    let way = direct.replace(server, &line.address.to_string());
    let polder = Polder::new(PROGRAM);
    let blobs = format!("file://{}", polder.path("objects").display());
    let world = World::over(polder, &database, &way, blobs).with_workers(1);

    let run = world.submit(ROUNDS as u32, DELAY_MS);
    world.until_committed(&run, 2);
    let first = world.shown();
    assert_eq!(world.leader(&first), 0);
    line.set(how);
    let lost = Instant::now();
    let second = world.shown_when("another leads", |view| view["epoch"].as_u64() > first["epoch"].as_u64());
    assert_ne!(world.leader(&second), 0);
    next_commit(&world, &run, world.committed(&run), lost, "the loss of the leader's line to the database");
    // What the old leader still had on its way arrives now, if anything: in a term that is over.
    line.set(Line::Open);
    wait_until(&world, "the old leader follows", || {
        world.coordinators[0].as_ref().unwrap().log().contains("leads no more; it follows")
    });
    world.completed_without_loss(&run, ROUNDS);
    let last = world.shown();
    assert_eq!((&last["epoch"], &last["endpoint"]), (&second["epoch"], &second["endpoint"]), "one takeover is enough");
    commits_once_each(postgres, &world, ROUNDS);
    // Whoever dials the old leader is passed on.
    world.operate_through(0);
    assert_eq!(world.run(&run)["status"], "completed");
}

#[test]
fn a_leader_whose_line_to_the_database_is_cut_is_replaced() {
    let Some(postgres) = shared() else { return };
    the_leader_alone_loses_the_database(postgres, Line::Cut);
}

#[test]
fn a_leader_whose_line_to_the_database_falls_silent_is_replaced() {
    let Some(postgres) = shared() else { return };
    the_leader_alone_loses_the_database(postgres, Line::Silent);
}

#[test]
fn an_object_store_that_is_away_in_the_middle_of_a_round_costs_time_only() {
    let Some(postgres) = shared() else { return };
    let Some(s3) = S3::start() else { return say("skipped: no S3 server here; `pip install moto[server]`") };
    s3.make_bucket("federation");
    let runtime = Runtime::new().unwrap();
    let server = format!("127.0.0.1:{}", s3.port());
    let line = line_to(&runtime, &server);
    let mut polder = Polder::new(PROGRAM);
    for (name, value) in s3.environment() {
        polder.set_environment(name, value.replace(&server, &line.address.to_string()));
    }
    let database = postgres.database();
    let world = World::over(polder, &database, &database, "s3://federation/polder".into()).with_workers(1);

    let run = world.submit(ROUNDS as u32, DELAY_MS);
    world.until_committed(&run, 2);
    let before = world.committed(&run);
    line.set(Line::Cut);
    let cut = Instant::now();
    std::thread::sleep(AWAY);
    line.set(Line::Open);
    next_commit(&world, &run, before + 1, cut, "the loss of the object store");
    world.completed_without_loss(&run, ROUNDS);
    commits_once_each(postgres, &world, ROUNDS);
    assert_eq!(world.leader(&world.shown()), 0, "nobody else could do better");
}
