//! Every coordinator is restarted, one after the other, while a run goes on.

use crate::world::{COORDINATORS, World, shared, wait_until};

const ROUNDS: usize = 12;

#[test]
fn a_rolling_restart_loses_no_round() {
    let Some(postgres) = shared() else { return };
    let mut world = World::new(postgres, 1);
    let run = world.submit(ROUNDS as u32, 400);
    for index in 0..COORDINATORS {
        let through = (index + 1) % COORDINATORS;
        world.operate_through(through);
        let committed = world.committed(&run);
        world.until_committed(&run, committed + 1);
        world.stop(index);
        world.shown_when("another leads", |view| world.leader(view) != index);
        world.start(index);
    }
    world.operate_through(0);
    world.completed_without_loss(&run, ROUNDS);
    let epoch = world.shown()["epoch"].as_u64().unwrap();
    assert!(epoch > 1, "somebody else led in between");
    let logs = world.logs();
    assert!(!logs.contains("sqlx"), "the database's remarks are in the log:\n{logs}");
}

/// As a newer version would leave the database, once it has started over it.
const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (999, 'from the future', true, '', 0)";

#[test]
fn a_coordinator_that_is_too_old_for_the_database_follows_and_never_leads() {
    let Some(postgres) = shared() else { return };
    let mut world = World::of_coordinators(postgres);
    let before = world.shown();
    postgres.sql(&world.database, NEWER);
    world.kill(0);
    wait_until(&world, "the others say that they are too old", || {
        world.logs().matches("start the newer version").count() >= 2
    });
    let epoch = postgres.sql(&world.database, "SELECT epoch FROM lease");
    assert_eq!(epoch, before["epoch"].to_string(), "one of them led");
    // The newer version is gone again, and with it the reason.
    postgres.sql(&world.database, "DELETE FROM _sqlx_migrations WHERE version = 999");
    world.shown_when("one of them leads", |view| view["epoch"].as_u64() > before["epoch"].as_u64());
}
