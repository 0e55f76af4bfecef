//! Standbys take the places of those that were lost, declined or failed, while that helps and not for ever.

use super::world::{GRACE_MS, ROUND_MS, World, wants, worker};
use crate::spec::RunSpec;
use crate::{Event, WorkerName};

fn with_standbys(size: u32, quorum: u32, standbys: u32) -> RunSpec {
    let mut spec = wants(size, quorum);
    spec.cohort.standbys = standbys;
    spec
}

/// Three of six work on a round that needs two.
fn at_work(standbys: u32) -> World {
    let world = World::with(&["a", "b", "c", "d", "e", "f"]).submitted("r", with_standbys(3, 2, standbys));
    world.chosen(&[("r", &["a", "b", "c"])])
}

fn failed(world: World, name: &str) -> World {
    let reason = "the trainer panicked".into();
    let event = Event::AssignmentFailed { assignment: world.assignment("r", name), reason };
    world.event(event)
}

#[test]
fn whoever_fails_is_replaced_before_a_quorum_has_reported() {
    let world = failed(at_work(2), "b");
    let (_, _, ask) = world.asked();
    assert_eq!((ask.demands[0].seats, ask.demands[0].seats_min), (1, 1));
    let candidates: Vec<_> = ask.demands[0].candidates.iter().map(WorkerName::as_str).collect();
    assert_eq!(candidates, ["d", "e", "f"]);
    let world = world.chosen(&[("r", &["e"])]);
    assert_eq!(world.sent("e"), ["r"]);
    let seat = &world.round("r").seats[&worker("e")];
    assert_eq!((seat.reason.as_str(), &seat.replaces), ("replaces worker b: it is free", &Some(worker("b"))));
    let world = world.reported("r", "a").reported("r", "c").phase_is("r", "configuration");
    world.reported("r", "e").phase_is("r", "aggregation").replays();
}

#[test]
fn whoever_is_lost_is_replaced_and_may_return_all_the_same() {
    let world = at_work(1).lost("a");
    assert!(world.asks());
    let world = world.chosen(&[("r", &["d"])]).connected("a").seat_is("r", "a", "assigned");
    let world = world.reported("r", "a").reported("r", "b").reported("r", "d").phase_is("r", "aggregation");
    assert_eq!(world.cancelled("c"), ["the round closed without it"]);
    world.replays();
}

#[test]
fn nobody_is_replaced_once_a_quorum_has_reported() {
    let world = failed(at_work(2).reported("r", "a").reported("r", "b"), "c");
    assert_eq!(world.round("r").phase.name(), "aggregation");
    let over = World::with(&["a", "b", "c", "d"]).submitted("r", with_standbys(3, 1, 2));
    let over = failed(over.chosen(&[("r", &["a", "b", "c"])]).reported("r", "a"), "b");
    assert!(!over.asks());
}

#[test]
fn nobody_is_replaced_when_the_deadline_is_near_but_for_a_quorum() {
    let near = ROUND_MS - ROUND_MS / 4 + 1;
    let world = failed(at_work(2).after_ms(near), "a");
    assert!(!world.asks(), "two are at it and may still be a quorum");
    let world = failed(world, "b");
    assert!(world.asks(), "without a standby there is none");
    world.replays();
}

#[test]
fn a_place_is_filled_so_many_times_and_no_more() {
    let mut world = failed(at_work(1), "a");
    world = failed(world.chosen(&[("r", &["d"])]), "d");
    assert!(!world.asks(), "a's place was filled once");
    // b's has not been.
    world = failed(world, "b");
    assert!(world.asks());
    // With it gone, too, c alone is no quorum, and f is not asked.
    world = failed(world.chosen(&[("r", &["e"])]), "e");
    let abandoned = &world.run("r").history[0];
    assert_eq!(abandoned.phase.name(), "abandoned");
    assert!(
        abandoned.reasons.last().unwrap().contains("a quorum can no longer come together"),
        "{:?}",
        abandoned.reasons
    );
    world.replays();
}

#[test]
fn a_run_without_standbys_asks_for_nobody_until_a_quorum_is_out_of_reach() {
    let world = failed(at_work(0), "a");
    assert!(!world.asks());
    let world = failed(world, "b");
    assert!(world.asks());
    let world = world.chosen(&[("r", &["d"])]).lost("d").after_ms(GRACE_MS);
    assert!(world.round("r").is_open());
    world.replays();
}
