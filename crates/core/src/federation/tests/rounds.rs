use super::world::{GRACE_MS, ROUND_MS, World, run, update_of, wants};
use crate::id::AssignmentId;
use crate::policy::AggregationTraits;
use crate::round::UpdateReceipt;
use crate::{Digest, Effect, Event};

fn declined(world: &World, by: &str) -> Event {
    Event::AssignmentDeclined { assignment: world.assignment("r", by), reason: "night shift".into() }
}

/// Two workers are at it; both updates are needed.
fn reporting() -> World {
    World::with(&["a", "b"]).submitted("r", wants(2, 2)).chosen(&[("r", &["a", "b"])])
}

#[test]
fn two_rounds_make_a_run() {
    let world = reporting().reported("r", "a").reported("r", "b").aggregated("r");
    assert!(world.effects.contains(&Effect::ReleaseSpool { run: run("r"), round: 1 }));
    let world = world.chosen(&[("r", &["b", "a"])]).reported("r", "b").reported("r", "a").aggregated("r");
    assert_eq!(world.run("r").status.name(), "completed");
    assert_eq!(world.federation.next_wake(), None);
    world.replays();
}

#[test]
fn updates_are_summed_in_one_order_whatever_the_order_of_arrival() {
    let order = |first: &str, second: &str| {
        let world = reporting().reported("r", first).reported("r", second);
        let Some(Effect::Aggregate(task)) = world.effects.iter().find(|e| matches!(e, Effect::Aggregate(_))) else {
            panic!("both are in");
        };
        task.clone()
    };
    assert_eq!(order("a", "b"), order("b", "a"));
}

#[test]
fn a_second_update_is_refused_and_the_first_one_counts() {
    let world = reporting().reported("r", "a");
    let assignment = world.assignment("r", "a");
    let other = UpdateReceipt { update: Digest::blake3([77; 32]), ..update_of("a") };
    let world =
        world.refuses(Event::UpdateReceived { assignment: assignment.clone(), receipt: other }, "duplicate_update");
    assert_eq!(world.federation.reported(&assignment), Some(update_of("a").update));
}

#[test]
fn updates_from_elsewhere_are_refused() {
    let world = World::with(&["a", "b", "c"]).submitted("r", wants(2, 2)).chosen(&[("r", &["a", "b"])]);
    let outside = world.report("r", "c");
    let mut unknown_run = world.assignment("r", "a");
    unknown_run.run = run("nowhere");
    let ahead = AssignmentId { round: 2, ..world.assignment("r", "a") };
    let world = world.refuses(outside, "not_in_cohort");
    let world =
        world.refuses(Event::UpdateReceived { assignment: unknown_run, receipt: update_of("a") }, "unknown_run");
    world.refuses(Event::UpdateReceived { assignment: ahead, receipt: update_of("a") }, "unknown_round");
}

#[test]
fn an_update_for_a_closed_round_is_refused() {
    let world = World::with(&["a", "b"]).submitted("r", wants(2, 1)).chosen(&[("r", &["a", "b"])]).reported("r", "a");
    let stale = world.report("r", "b");
    let world = world.after_ms(ROUND_MS).phase_is("r", "aggregation").refuses(stale.clone(), "round_closed");
    let world = world.aggregated("r").refuses(stale.clone(), "round_closed");
    world.event(Event::RunStopped { run: run("r"), reason: "enough".into() }).refuses(stale, "run_ended");
}

#[test]
fn impossible_reports_are_refused() {
    let world = reporting();
    let assignment = world.assignment("r", "a");
    let none = UpdateReceipt { examples: 0, ..update_of("a") };
    let infinite = UpdateReceipt { loss: Some(f64::NEG_INFINITY), ..update_of("a") };
    let world = world.refuses(Event::UpdateReceived { assignment: assignment.clone(), receipt: none }, "bad_report");
    world.refuses(Event::UpdateReceived { assignment, receipt: infinite }, "bad_report").reported("r", "a");
}

#[test]
fn a_stand_in_takes_over_when_a_quorum_is_lost() {
    let world = World::with(&["a", "b", "c"]).submitted("r", wants(2, 2)).chosen(&[("r", &["a", "b"])]);
    let event = declined(&world, "a");
    let world = world.event(event);
    let (_, _, ask) = world.asked();
    assert_eq!((ask.demands[0].seats, ask.demands[0].seats_min), (1, 1));
    let world = world.chosen(&[("r", &["c"])]);
    assert_eq!(world.sent("c"), ["r"]);
    world.reported("r", "b").reported("r", "c").phase_is("r", "aggregation").replays();
}

#[test]
fn a_quorum_that_cannot_come_together_any_more_abandons_the_round_at_once() {
    let world = reporting();
    let event = declined(&world, "a");
    let world = world.event(event);
    assert_eq!(world.run("r").history[0].phase.name(), "abandoned");
    assert_eq!(world.cancelled("b").len(), 1);
    assert_eq!(world.round("r").number, 2);
    assert!(world.rested("r").asks(), "the next round starts with the workers that this one set free");
}

#[test]
fn a_round_that_only_lost_workers_waits_for_them_until_its_deadline() {
    let world = reporting().lost("a").seat_is("r", "a", "lost").phase_is("r", "configuration");
    assert!(world.run("r").waiting_for().unwrap().contains("1 lost that may return"));
    let world = world.after_ms(ROUND_MS - GRACE_MS);
    assert_eq!(world.run("r").history[0].phase.name(), "abandoned");
}

#[test]
fn five_rounds_given_up_in_a_row_fail_the_run() {
    let mut world = reporting();
    for round in 1..=5 {
        assert_eq!(world.round("r").number, round);
        let event = declined(&world, "a");
        world = world.event(event);
        if round < 5 {
            world = world.rested("r").chosen(&[("r", &["a", "b"])]);
        }
    }
    assert_eq!(world.run("r").status.name(), "failed");
    world.replays();
}

#[test]
fn a_stopped_run_cancels_its_workers_and_takes_no_more() {
    let stop = || Event::RunStopped { run: run("r"), reason: "enough".into() };
    let world = reporting().reported("r", "a").event(stop());
    assert_eq!(world.cancelled("b").len(), 1);
    assert!(world.effects.contains(&Effect::ReleaseSpool { run: run("r"), round: 1 }));
    let world = world.refuses(stop(), "run_ended");
    assert!(world.federation.slots_taken().is_empty());
    let late = world.report("r", "b");
    world.refuses(late, "run_ended").replays();
}

#[test]
fn a_stopped_run_frees_its_slots_for_the_next() {
    let world = reporting().submitted("s", wants(2, 2));
    assert!(!world.asks());
    let world = world.event(Event::RunStopped { run: run("r"), reason: "enough".into() });
    assert_eq!(world.asked().2.demands[0].run, run("s"));
}

#[test]
fn a_run_is_submitted_once_and_must_make_sense() {
    let bad = Event::RunSubmitted { run: run("s"), spec: Box::new(wants(1, 2)), traits: AggregationTraits::default() };
    let again =
        Event::RunSubmitted { run: run("r"), spec: Box::new(wants(1, 1)), traits: AggregationTraits::default() };
    reporting().refuses(bad, "bad_spec").refuses(again, "run_exists");
}

#[test]
fn the_metrics_of_a_run_come_back_from_the_journal_bit_for_bit() {
    let awkward = [0.1 + 0.2, 1.0 / 3.0, 2.225_073_858_507_201e-308, 9_007_199_254_740_993.1, 0.306_274_443_1e-5];
    let world = World::with(&["a"]).submitted("r", crate::spec::RunSpec { rounds: 5, ..wants(1, 1) });
    let mut world = world.chosen(&[("r", &["a"])]);
    for loss in awkward {
        let receipt = UpdateReceipt { loss: Some(loss), ..update_of("a") };
        let assignment = world.assignment("r", "a");
        world = world.event(Event::UpdateReceived { assignment, receipt }).aggregated("r");
        if world.asks() {
            world = world.chosen(&[("r", &["a"])]);
        }
    }
    world.replays();
}
