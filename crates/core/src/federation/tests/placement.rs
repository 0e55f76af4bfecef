use super::world::{SELECTION_MS, World, policy, run, wants, worker};
use crate::policy::{Placed, PlacementAnswer, PolicyChoice};
use crate::round::selection::RETRY_MS;
use crate::spec::RunSpec;
use crate::{Digest, Event};

/// One run that wants two of three workers, with the question asked.
fn asked() -> World {
    let spec = wants(2, 1);
    World::with(&["a", "b", "c"]).submitted("r", spec)
}

#[track_caller]
fn fails_the_policy(world: World, chosen: &[(&str, &[&str])], because: &str) {
    let world = world.chosen(chosen);
    let round = world.round("r");
    assert_eq!(round.placement, PolicyChoice::Builtin);
    assert!(round.seats.is_empty());
    assert!(round.reasons[0].contains(because), "{:?}", round.reasons);
    assert_eq!(world.asked().1, PolicyChoice::Builtin, "the built-in is asked at once");
    world.replays();
}

#[test]
fn a_full_cohort_is_asked_for_at_once() {
    let (_, policy, ask) = asked().asked();
    assert_eq!(policy, PolicyChoice::Pinned(super::world::policy("least-loaded")));
    assert_eq!((ask.demands[0].seats, ask.demands[0].seats_min), (2, 1));
    assert_eq!(ask.demands[0].candidates.len(), 3);
}

#[test]
fn a_smaller_cohort_is_asked_for_when_the_window_is_over() {
    let world = World::with(&["a"]).submitted("r", wants(2, 1));
    assert!(!world.asks());
    assert_eq!(world.federation.next_wake(), Some(world.now.plus_ms(SELECTION_MS)));
    assert!(world.after_ms(SELECTION_MS).asks());
}

#[test]
fn a_window_of_zero_waits_for_nobody() {
    let mut spec = wants(2, 1);
    spec.deadlines.selection_ms = 0;
    assert!(World::with(&["a"]).submitted("r", spec).asks());
}

#[test]
fn an_answer_that_names_an_unknown_worker_fails_the_policy() {
    fails_the_policy(asked(), &[("r", &["a", "nobody"])], "worker `nobody`");
}

#[test]
fn an_answer_that_repeats_a_worker_fails_the_policy() {
    fails_the_policy(asked(), &[("r", &["a", "a"])], "twice");
}

#[test]
fn an_answer_that_chooses_too_many_fails_the_policy() {
    fails_the_policy(asked(), &[("r", &["a", "b", "c"])], "wants 2");
}

#[test]
fn an_answer_for_a_run_that_was_not_asked_fails_the_policy() {
    fails_the_policy(asked(), &[("r", &["a"]), ("other", &["b"])], "not asked");
}

#[test]
fn an_answer_that_chooses_a_worker_that_was_no_candidate_fails_the_policy() {
    let world = World::with(&["a", "b"]).enrolled("idle").submitted("r", wants(2, 1));
    fails_the_policy(world, &[("r", &["idle"])], "not among its candidates");
}

#[test]
fn an_answer_that_overcommits_a_worker_across_runs_fails_the_policy_for_both() {
    let spec = || wants(1, 1);
    let world = World::with(&[]).submitted("r", spec()).submitted("s", spec()).enrolled("a").connected("a");
    let world = world.chosen(&[("r", &["a"]), ("s", &["a"])]);
    for name in ["r", "s"] {
        assert_eq!(world.round(name).placement, PolicyChoice::Builtin);
        assert!(world.round(name).seats.is_empty());
    }
}

#[test]
fn a_builtin_that_fails_too_abandons_the_round_and_the_next_one_tries_the_policy_again() {
    let world = asked().policy_fails().policy_fails().rested("r");
    assert_eq!(world.round("r").number, 2);
    assert!(matches!(world.asked().1, PolicyChoice::Pinned(_)));
}

#[test]
fn a_policy_that_always_fails_ends_the_run_and_not_the_coordinator() {
    let mut world = asked();
    for round in 1..=5 {
        assert!(world.asks());
        world = world.policy_fails().policy_fails();
        if round < 5 {
            world = world.rested("r");
        }
    }
    assert_eq!(world.run("r").status.name(), "failed");
    assert_eq!(world.federation.next_wake(), None);
}

#[test]
fn a_policy_that_always_declines_is_asked_once_a_second() {
    let mut world = asked();
    for _ in 0..5 {
        world = world.policy_declines("r");
        assert!(!world.asks());
        assert_eq!(world.federation.next_wake(), Some(world.now.plus_ms(RETRY_MS)));
        world = world.connected("c");
        assert!(!world.asks(), "no event breaks the silence");
        world = world.after_ms(RETRY_MS - 1);
        assert!(!world.asks());
        world = world.after_ms(1);
    }
    assert!(world.run("r").waiting_for().unwrap().contains("the placement policy"));
    world.replays();
}

#[test]
fn a_policy_that_chooses_too_few_has_declined() {
    let world = World::with(&["a", "b", "c"]).submitted("r", wants(3, 2)).chosen(&[("r", &["a"])]);
    assert!(world.round("r").seats.is_empty() && !world.asks());
    assert_eq!(world.federation.next_wake(), Some(world.now.plus_ms(RETRY_MS)));
}

#[test]
fn workers_that_left_before_the_answer_are_dropped_and_the_rest_counts() {
    let world = asked();
    let (question, ..) = world.asked();
    let world = world.disconnected("a").answered(question, &[("r", &["a", "b"])]).phase_is("r", "configuration");
    assert_eq!(world.round("r").seats.keys().collect::<Vec<_>>(), [&worker("b")]);
}

#[test]
fn too_few_left_of_an_answer_asks_anew() {
    let world = World::with(&["a", "b", "c"]).submitted("r", wants(2, 2));
    let (question, ..) = world.asked();
    let world = world.disconnected("a").answered(question, &[("r", &["a", "b"])]).phase_is("r", "selection");
    assert!(matches!(world.asked().1, PolicyChoice::Pinned(_)), "the policy is not to blame");
    assert_eq!(world.asked().2.demands[0].candidates, [worker("b"), worker("c")]);
}

#[test]
fn an_answer_for_stand_ins_that_are_no_longer_all_needed_is_taken_as_far_as_it_is() {
    let world = World::with(&["a", "b", "c", "d"]).submitted("r", wants(2, 2)).chosen(&[("r", &["a", "b"])]);
    let world = world.disconnected("a").disconnected("b").after_ms(super::world::GRACE_MS);
    let (question, _, ask) = world.asked();
    assert_eq!(ask.demands[0].seats, 2);
    let world = world.connected("a").answered(question, &[("r", &["c", "d"])]);
    assert!(matches!(world.round("r").placement, PolicyChoice::Pinned(_)), "the policy is not to blame");
    assert_eq!(world.round("r").seats.len(), 3);
}

#[test]
fn a_slot_that_vanished_before_the_answer_is_not_the_policys_fault() {
    let world = World::with(&["b"]).enrolled("a").connected_with("a", 2, &[]);
    let world = world.submitted("first", wants(1, 1)).chosen(&[("first", &["a"])]).submitted("r", wants(1, 1));
    let (question, ..) = world.asked();
    let world = world.connected_with("a", 1, &["first"]).answered(question, &[("r", &["a"])]);
    assert!(matches!(world.asked().1, PolicyChoice::Pinned(_)));
    assert_eq!(world.asked().2.demands[0].candidates, [worker("b")]);
}

#[test]
fn runs_that_share_a_policy_are_asked_about_together_in_the_order_of_submission() {
    let world = World::with(&[]).submitted("z", wants(1, 1)).submitted("a", wants(1, 1)).enrolled("w").connected("w");
    let (_, _, ask) = world.asked();
    assert_eq!(ask.demands.iter().map(|demand| &demand.run).collect::<Vec<_>>(), [&run("z"), &run("a")]);
}

#[test]
fn two_runs_share_one_worker_without_overcommitting_it() {
    let other = RunSpec { placement: policy("greedy"), ..wants(1, 1) };
    let world = World::with(&["a"]).submitted("r", wants(1, 1));
    let (question, ..) = world.asked();
    let world = world.submitted("s", other).answered(question, &[("r", &["a"])]);
    assert!(!world.asks(), "one question at a time, and the slot is taken");
    assert!(world.run("s").waiting_for().unwrap().contains("0 are free"));
    let world = world.reported("r", "a");
    assert_eq!(world.asked().2.demands[0].run, run("s"), "a slot is free once the update is in");
    let world = world.chosen(&[("s", &["a"])]).aggregated("r");
    assert!(!world.asks());
    assert_eq!(world.federation.slots_taken()[&worker("a")], 1);
    world.reported("s", "a").replays();
}

#[test]
fn an_answer_to_an_old_question_is_refused() {
    let world = asked();
    let (question, ..) = world.asked();
    let again = Event::PlacementFailed { question, reason: "late".into() };
    world.chosen(&[("r", &["a", "b"])]).refuses(again, "stale_question");
}

#[test]
fn reasons_from_outside_are_cut_and_cleaned() {
    let world = asked();
    let (question, ..) = world.asked();
    let reason = format!("free\u{1b}[2J{}", "x".repeat(2_000));
    let placed = Placed { run: run("r"), worker: worker("a"), gpu: None, reason };
    let answer = PlacementAnswer { assignments: vec![placed], ..PlacementAnswer::default() };
    let world = world.event(Event::PlacementAnswered { question, policy: Digest::sha256([1; 32]), answer });
    let kept = &world.round("r").seats[&worker("a")].reason;
    assert!(kept.len() <= crate::policy::REASON_BYTES_MAX && kept.starts_with("free [2J"), "{kept}");
}
