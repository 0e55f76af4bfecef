use super::world::{GRACE_MS, World, run, wants, worker};
use crate::{Event, Timestamp};

fn drained(name: &str, is_draining: bool) -> Event {
    Event::WorkerDrained { worker: worker(name), is_draining }
}

#[test]
fn a_worker_that_returns_in_time_keeps_its_seat() {
    let world = World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).disconnected("a");
    assert_eq!(world.federation.next_wake(), Some(world.now.plus_ms(GRACE_MS)));
    let world = world.after_ms(GRACE_MS - 1).seat_is("r", "a", "assigned").connected_with("a", 1, &["r"]);
    assert!(world.sent("a").is_empty(), "it still has the assignment");
    world.seat_is("r", "a", "accepted").replays();
}

#[test]
fn a_worker_that_forgot_its_assignment_gets_it_again() {
    let world =
        World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).disconnected("a").connected("a");
    assert_eq!(world.sent("a"), ["r"]);
}

#[test]
fn a_worker_that_stays_away_loses_its_seat_until_it_returns() {
    let world = World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).lost("a");
    let world = world.seat_is("r", "a", "lost").connected("a").seat_is("r", "a", "assigned");
    assert_eq!(world.sent("a"), ["r"]);
    world.replays();
}

#[test]
fn the_end_of_an_old_stream_does_not_end_the_new_one() {
    let world = World::with(&["a"]).connected("a");
    let old = Event::WorkerDisconnected { worker: worker("a"), session: 1, grace_ms: GRACE_MS, reason: "eof".into() };
    world.refuses(old, "stale_session");
}

#[test]
fn a_worker_is_told_what_is_no_longer_wanted_of_it() {
    let world = World::with(&["a", "b"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).disconnected("a");
    let stop = Event::RunStopped { run: run("r"), reason: "enough".into() };
    let world = world.event(stop).connected_with("a", 1, &["r"]);
    assert_eq!(world.cancelled("a").len(), 1);
    assert!(world.sent("a").is_empty());
}

#[test]
fn a_worker_that_comes_back_with_fewer_slots_keeps_what_it_holds_and_gives_up_the_rest() {
    let world = World::with(&["a", "b"]).connected_with("a", 2, &[]);
    let world = world.submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]);
    let world = world.submitted("s", wants(1, 1)).chosen(&[("s", &["a"])]);
    let world = world.connected_with("a", 1, &["s"]);
    assert!(world.sent("a").is_empty());
    let world = world.seat_is("s", "a", "accepted").seat_is("r", "a", "failed");
    assert_eq!(world.asked().2.demands[0].candidates, [worker("b")], "a stand-in is looked for");
    world.replays();
}

#[test]
fn a_lost_worker_that_comes_back_with_fewer_slots_does_not_overcommit_itself() {
    let world = World::with(&[]).enrolled("a").connected_with("a", 2, &[]);
    let world = world.submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]);
    let world = world.submitted("s", wants(1, 1)).chosen(&[("s", &["a"])]).lost("a").connected_with("a", 1, &[]);
    assert_eq!(world.sent("a"), ["r"], "first come, first served");
    // Nobody can stand in for the second, so its round is given up and the next one waits for a free slot.
    assert_eq!(world.round("s").number, 2);
    world.phase_is("s", "selection").replays();
}

#[test]
fn a_held_assignment_that_no_longer_fits_is_cancelled() {
    let world = World::with(&["b"]).enrolled("a").connected_with("a", 2, &[]);
    let world = world.submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]);
    let world = world.submitted("s", wants(1, 1)).chosen(&[("s", &["a"])]).connected_with("a", 1, &["r", "s"]);
    assert_eq!(world.cancelled("a").len(), 1);
    world.seat_is("r", "a", "accepted").seat_is("s", "a", "failed");
}

#[test]
fn a_draining_worker_finishes_and_gets_nothing_new() {
    let world = World::with(&["a", "b"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]);
    let world = world.event(drained("a", true)).reported("r", "a").aggregated("r");
    let (_, _, ask) = world.asked();
    assert_eq!(ask.demands[0].candidates, [worker("b")]);
    assert_eq!(ask.workers.len(), 1, "the policy does not see workers that drain");
}

#[test]
fn a_run_whose_workers_all_drain_waits_and_says_so() {
    let world = World::with(&["a"]).event(drained("a", true)).submitted("r", wants(1, 1)).phase_is("r", "selection");
    assert!(!world.asks());
    assert!(world.run("r").waiting_for().unwrap().contains("1 are draining"));
    assert!(world.event(drained("a", false)).asks());
}

#[test]
fn a_run_waits_for_workers_and_goes_on_when_they_return() {
    let world = World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).lost("a");
    let deadline = world.round("r").deadline.unwrap();
    let world = world.after_ms(deadline.ms_since(Timestamp(3_000)));
    assert_eq!(world.round("r").number, 2);
    let world = world.rested("r");
    assert_eq!(world.federation.next_wake(), None, "nothing to do but wait");
    assert!(world.run("r").waiting_for().unwrap().contains("0 are connected"));
    world.connected("a").chosen(&[("r", &["a"])]).phase_is("r", "configuration").replays();
}
