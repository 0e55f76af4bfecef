//! How long a kill holds up the rounds, where nothing else is wrong.

use crate::past::Past;
use crate::runs;
use crate::schedule::{Fault, Planned};
use crate::world::{Kill, Shared, WORKERS, World};

const KILLS: usize = 4;

#[test]
fn rounds_go_on_after_a_kill() {
    let _turn = crate::turn();
    let mut world = World::start(1, &Shared::default());
    let file = world.polder.file("run.toml", &runs::trained());
    let run = world.polder.submit(&file);
    for index in 0..KILLS {
        let worker = index % WORKERS.len();
        for fault in [Fault::KillCoordinator { coordinator: 0, down_ms: 0 }, Fault::KillWorker { worker, down_ms: 0 }] {
            world.gets_on(&run, 3);
            world.all_are_connected();
            world.suffer(&[Planned { at_ms: 0, fault }]);
        }
    }
    world.gets_on(&run, 3);
    world.ask(&["run", "stop", &run]).unwrap();
    let left = world.stop();
    assert!(left.is_empty(), "processes that nobody ended: {left:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let past = runtime.block_on(Past::read(&world.store()));
    assert!(past.broken.is_empty(), "what must never be: {:#?}", past.broken);
    print(&world.kills, &past, "nothing else being wrong");
}

/// Says how long it took from each kill to the next commit of any run, and what else was going on.
pub(crate) fn print(kills: &[Kill], past: &Past, beside: &str) {
    for (who, is_coordinator) in [("coordinator", true), ("worker", false)] {
        let kills = kills.iter().filter(|kill| kill.is_coordinator == is_coordinator);
        let mut waits: Vec<u64> = kills.filter_map(|kill| past.next_commit_after(kill.at_ms)).collect();
        waits.sort_unstable();
        let (Some(most), Some(median)) = (waits.last(), waits.get(waits.len() / 2)) else { continue };
        eprintln!(
            "chaos: from the kill of a {who} to the next commit, {beside}: median {median} ms, at most {most} ms, of {} \
             kills",
            waits.len()
        );
    }
}
