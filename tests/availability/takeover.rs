//! The leader goes, one way or another, and another one leads.

use std::time::Instant;

use polder_tests::Postgres;
use serde_json::Value;

use crate::world::{World, say, shared, wait_until};

const ROUNDS: usize = 8;
const DELAY_MS: u32 = 400;

/// Says how long it took until a round committed that had not when `since` was.
pub(crate) fn next_commit(world: &World, run: &str, before: u64, since: Instant, after_what: &str) {
    world.until_committed(run, before + 1);
    say(&format!("{} ms from {after_what} to the next commit", since.elapsed().as_millis()));
}

#[test]
fn a_killed_leaders_rounds_go_on_with_another() {
    let Some(postgres) = shared() else { return };
    let mut world = World::new(postgres, 1);
    let run = world.submit(ROUNDS as u32, DELAY_MS);
    world.until_committed(&run, 2);
    let first = world.shown();
    assert_eq!(world.leader(&first), 0);

    world.kill(0);
    let killed = Instant::now();
    next_commit(&world, &run, world.committed(&run), killed, "kill -9 of the leader");
    let second = world.shown();
    assert_ne!(world.leader(&second), 0);
    assert!(second["epoch"].as_u64() > first["epoch"].as_u64(), "{second}");
    world.completed_without_loss(&run, ROUNDS);
}

#[test]
fn a_leader_that_stops_in_order_is_missed_for_a_moment() {
    let Some(postgres) = shared() else { return };
    let mut world = World::new(postgres, 1);
    let run = world.submit(ROUNDS as u32, DELAY_MS);
    world.until_committed(&run, 2);
    let stopped = Instant::now();
    world.stop(0);
    world.shown_when("another leads", |view| world.leader(view) != 0);
    say(&format!("{} ms from SIGTERM to an answer of the next leader", stopped.elapsed().as_millis()));
    next_commit(&world, &run, world.committed(&run), stopped, "SIGTERM of the leader");
    world.completed_without_loss(&run, ROUNDS);
}

#[test]
fn a_leader_that_slept_through_its_lease_writes_nothing_more_and_follows() {
    let Some(postgres) = shared() else { return };
    let mut world = World::new(postgres, 1);
    let run = world.submit(ROUNDS as u32, DELAY_MS);
    world.until_committed(&run, 2);
    let first = world.shown();

    world.coordinator(0).pause();
    let paused = Instant::now();
    let second = world.shown_when("another leads", |view| view["epoch"].as_u64() > first["epoch"].as_u64());
    next_commit(&world, &run, world.committed(&run), paused, "SIGSTOP of the leader");
    // It wakes in the middle of a round that another one leads.
    world.coordinator(0).resume();
    wait_until(&world, "the sleeper follows", || {
        world.coordinators[0].as_ref().unwrap().log().contains("leads no more; it follows")
    });
    world.completed_without_loss(&run, ROUNDS);
    let last = world.shown();
    assert_eq!((&last["epoch"], &last["endpoint"]), (&second["epoch"], &second["endpoint"]), "one takeover is enough");
    commits_once_each(postgres, &world, ROUNDS);

    // Whoever dials the sleeper now is passed on.
    world.operate_through(0);
    assert_eq!(world.run(&run)["status"], "completed");
    let members = world.shown()["coordinators"].as_array().unwrap().clone();
    assert_eq!(members.len(), 3, "{members:?}");
    assert_eq!(members.iter().filter(|member| member["leads"] == true).count(), 1, "{members:?}");
}

/// What the journal itself says: one aggregate a round, and no number left out.
pub(crate) fn commits_once_each(postgres: &Postgres, world: &World, rounds: usize) {
    let events = postgres.sql(&world.database, "SELECT event FROM journal WHERE kind = 'aggregated' ORDER BY seq");
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let committed: Vec<_> = events.iter().map(|event| event["round"].as_u64().unwrap()).collect();
    assert_eq!(committed, (1..=rounds as u64).collect::<Vec<_>>());
    let holes = postgres.sql(&world.database, "SELECT count(*), max(seq) FROM journal");
    let (count, last) = holes.split_once('|').unwrap();
    assert_eq!(count, last, "the journal has a hole");
}

#[test]
fn a_database_that_restarts_loses_nothing() {
    let Some(mut postgres) = Postgres::start() else { return };
    let world = World::new(&postgres, 1);
    let run = world.submit(ROUNDS as u32, DELAY_MS);
    world.until_committed(&run, 2);
    postgres.crash();
    let crashed = Instant::now();
    // Longer than the lease holds: the leader stops serving, and nobody can take its place.
    wait_until(&world, "the leader gives up", || world.logs().contains("leads no more; it follows"));
    postgres.resume();
    say(&format!("the database was away for {} ms", crashed.elapsed().as_millis()));
    next_commit(&world, &run, world.committed(&run), crashed, "the database's crash");
    world.completed_without_loss(&run, ROUNDS);
    commits_once_each(&postgres, &world, ROUNDS);
}

#[test]
fn a_database_that_is_back_at_once_is_hardly_noticed() {
    let Some(mut postgres) = Postgres::start() else { return };
    let world = World::new(&postgres, 1);
    let run = world.submit(ROUNDS as u32, DELAY_MS);
    world.until_committed(&run, 2);
    let before = world.committed(&run);
    let stopped = Instant::now();
    postgres.stop();
    postgres.resume();
    next_commit(&world, &run, before, stopped, "the database's restart");
    world.completed_without_loss(&run, ROUNDS);
    commits_once_each(&postgres, &world, ROUNDS);
}

#[test]
fn workers_find_another_coordinator_when_the_one_they_know_is_killed() {
    let Some(postgres) = shared() else { return };
    // They were told of the leader alone; the others they learned of from it.
    let mut world = World::new(postgres, 0);
    world.until_workers_know_all();
    let run = world.submit(ROUNDS as u32, DELAY_MS);
    world.until_committed(&run, 2);
    world.kill(0);
    let killed = Instant::now();
    next_commit(
        &world,
        &run,
        world.committed(&run),
        killed,
        "kill -9 of the only coordinator that workers were told of",
    );
    world.completed_without_loss(&run, ROUNDS);
}
