//! Every coordinator is restarted, one after the other, while a run goes on.

use crate::world::{COORDINATORS, World, shared};

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
}
