use super::world::{ROUND_MS, World, run, update_of, wants, worker};
use crate::effect::AggregationTask;
use crate::id::AssignmentId;
use crate::policy::{AggregationTraits, Correction, PolicyRef, TrainingNeeds};
use crate::round::SeatState;
use crate::spec::{CohortSpec, RunSpec};
use crate::{Effect, Event};

/// A run of many rounds that close with `size` updates, while `at_work` workers are asked.
fn buffers(size: u32, at_work: u32, staleness_max: u32) -> RunSpec {
    let cohort = CohortSpec { size, over_selection: at_work - size, quorum: size, staleness_max, standbys: 0 };
    RunSpec { rounds: 20, cohort, ..wants(size, size) }
}

/// `a` has reported, which closed round 1 of a run that asks for one update; `b` is still at it.
fn one_behind(staleness_max: u32) -> World {
    let world = World::with(&["a", "b"]).submitted("r", buffers(1, 2, staleness_max));
    world.chosen(&[("r", &["a", "b"])]).reported("r", "a").phase_is("r", "aggregation")
}

impl World {
    fn of_round(&self, round: u32, by: &str) -> AssignmentId {
        AssignmentId { round, ..self.assignment("r", by) }
    }

    fn arrives(&self, round: u32, by: &str) -> Event {
        Event::UpdateReceived { assignment: self.of_round(round, by), receipt: update_of(by) }
    }

    fn task(&self) -> AggregationTask {
        let task = self.effects.iter().find_map(|effect| match effect {
            Effect::Aggregate(task) => Some((**task).clone()),
            _ => None,
        });
        task.expect("the last event asks for an aggregation")
    }

    fn released(&self) -> Vec<u32> {
        let released = self.effects.iter().filter_map(|effect| match effect {
            Effect::ReleaseSpool { round, .. } => Some(*round),
            _ => None,
        });
        released.collect()
    }
}

#[test]
fn without_staleness_whoever_is_late_is_cancelled_as_ever() {
    let world = one_behind(0);
    assert_eq!(world.cancelled("b"), ["the round closed without it"]);
    let late = world.arrives(1, "b");
    let world = world.refuses(late.clone(), "round_closed").aggregated("r");
    assert_eq!(world.released(), [1]);
    world.refuses(late, "round_closed").replays();
}

#[test]
fn a_late_update_counts_in_the_next_round_and_says_how_stale_it_is() {
    let world = one_behind(2);
    assert!(world.cancelled("b").is_empty());
    let world = world.aggregated("r").seat_is("r", "b", "assigned");
    assert!(world.cancelled("b").is_empty() && world.released().is_empty(), "its update may still come");
    assert_eq!(world.asked().2.demands[0].candidates, [worker("a")], "b is busy");
    let event = world.arrives(1, "b");
    let world = world.event(event).phase_is("r", "aggregation");
    let inputs = world.task().inputs;
    assert_eq!((inputs.len(), inputs[0].round, inputs[0].summary.staleness), (1, 1, 1));
    let world = world.aggregated("r");
    assert_eq!(world.released(), [1, 2]);
    let view = crate::view::RoundView::of(world.run("r"), &world.run("r").history[1], &world.federation);
    assert_eq!((view.cohort[0].staleness, view.cohort[0].assigned_in), (1, Some(1)));
    world.replays();
}

#[test]
fn an_update_that_comes_during_aggregation_waits_for_the_next_round() {
    let world = one_behind(1);
    let arrives = world.arrives(1, "b");
    let world = world.event(arrives.clone()).seat_is("r", "b", "held").refuses(arrives, "duplicate_update");
    assert!(world.federation.slots_taken().is_empty());
    let id = world.of_round(1, "b");
    let world = world.aggregated("r").phase_is("r", "aggregation");
    assert_eq!(world.task().inputs[0].summary.staleness, 1, "it is enough for round 2, which closes at once");
    assert_eq!(world.federation.reported(&id), Some(update_of("b").update));
    let world = world.aggregated("r");
    assert_eq!(world.federation.reported(&id), Some(update_of("b").update), "whatever became of its round");
    world.replays();
}

#[test]
fn what_would_be_too_stale_in_the_next_round_does_not_wait_for_it() {
    let world = one_behind(1).aggregated("r").chosen(&[("r", &["a"])]).reported("r", "a");
    let late = world.arrives(1, "b");
    let world = world.refuses(late, "round_closed").aggregated("r");
    assert_eq!(world.cancelled("b"), ["it started from version 0, and version 2 is 2 ahead"]);
    assert_eq!(world.released(), [1, 2]);
    let late = world.arrives(1, "b");
    world.refuses(late, "round_closed").replays();
}

#[test]
fn a_seat_that_is_carried_keeps_its_deadline_and_its_slot() {
    let world = one_behind(9).after_ms(500).aggregated("r").chosen(&[("r", &["a"])]);
    assert_eq!(world.federation.slots_taken()[&worker("b")], 1);
    let deadline = world.federation.next_wake().unwrap();
    let world = world.after_ms(ROUND_MS - 500);
    assert_eq!(world.now, deadline);
    assert_eq!(world.cancelled("b"), ["its deadline came"]);
    let world = world.phase_is("r", "configuration").seat_is("r", "b", "straggled");
    let late = world.arrives(1, "b");
    world.refuses(late, "seat_given_up").replays();
}

#[test]
fn a_worker_that_comes_back_goes_on_with_what_an_earlier_round_asked() {
    let world = one_behind(3).aggregated("r").chosen(&[("r", &["a"])]).lost("b").seat_is("r", "b", "lost");
    let world = world.connected("b").seat_is("r", "b", "assigned");
    let sent = world.effects.iter().find_map(|effect| match effect {
        Effect::SendAssignment(assignment) => Some((assignment.id.round, assignment.model_version)),
        _ => None,
    });
    assert_eq!(sent, Some((1, 0)), "the same assignment of the same model");
    let base = world.run("r").history[0].base.digest;
    assert!(world.federation.starts_from(&worker("b"), &base));
    let accepted = Event::AssignmentAccepted { assignment: world.of_round(1, "b") };
    let arrives = world.arrives(1, "b");
    world.event(accepted).seat_is("r", "b", "accepted").event(arrives).phase_is("r", "aggregation").replays();
}

#[test]
fn a_worker_cannot_report_for_a_round_that_did_not_ask_it() {
    let world = one_behind(3).aggregated("r").chosen(&[("r", &["a"])]);
    let (of_this, of_a) = (world.arrives(2, "b"), world.arrives(1, "a"));
    world.refuses(of_this, "not_in_cohort").refuses(of_a, "round_closed").seat_is("r", "b", "assigned");
}

#[test]
fn one_that_declined_after_all_may_be_chosen_anew() {
    let world = one_behind(3).aggregated("r");
    let declined = Event::AssignmentDeclined { assignment: world.of_round(1, "b"), reason: "night shift".into() };
    let (question, ..) = world.asked();
    let world = world.event(declined).answered(question, &[]).after_ms(1_000);
    assert_eq!(world.asked().2.demands[0].candidates, [worker("a"), worker("b")]);
    let world = world.chosen(&[("r", &["a", "b"])]).seat_is("r", "b", "assigned");
    let late = world.arrives(1, "b");
    world.refuses(late, "round_closed").reported("r", "b").phase_is("r", "aggregation").replays();
}

#[test]
fn an_abandoned_round_carries_over_too_and_costs_no_staleness() {
    let world = World::with(&["a", "b"]).submitted("r", buffers(2, 2, 1)).chosen(&[("r", &["a", "b"])]);
    let declined = Event::AssignmentDeclined { assignment: world.of_round(1, "a"), reason: "night shift".into() };
    let world = world.event(declined);
    assert_eq!(world.run("r").history[0].phase.name(), "abandoned");
    assert_eq!(*world.seat("r", "b"), SeatState::Assigned);
    let arrives = world.arrives(1, "b");
    let world = world.event(arrives).rested("r").chosen(&[("r", &["a"])]).reported("r", "a");
    let stale: Vec<_> = world.task().inputs.iter().map(|input| (input.round, input.summary.staleness)).collect();
    assert_eq!(stale, [(2, 0), (1, 0)]);
    world.replays();
}

#[test]
fn a_quorum_that_was_carried_over_does_not_wait_for_others_for_ever() {
    let mut spec = buffers(2, 3, 4);
    spec.cohort.quorum = 1;
    let world = World::with(&["a", "b", "c"]).submitted("r", spec).chosen(&[("r", &["a", "b", "c"])]);
    let world = world.reported("r", "a").reported("r", "b").disconnected("a").disconnected("b").aggregated("r");
    let arrives = world.arrives(1, "c");
    let world = world.event(arrives).phase_is("r", "selection");
    let wake = world.federation.next_wake().unwrap();
    let ms = wake.ms_since(world.now);
    world.after_ms(ms).phase_is("r", "aggregation").replays();
}

#[test]
fn a_run_that_ends_or_is_stopped_cancels_whoever_is_at_it() {
    let stop = Event::RunStopped { run: run("r"), reason: "enough".into() };
    let world = one_behind(3).aggregated("r").event(stop.clone());
    assert_eq!(world.cancelled("b").len(), 1);
    assert_eq!(world.released(), [1, 2]);
    assert!(world.federation.slots_taken().is_empty());
    assert_eq!(one_behind(3).event(stop).cancelled("b").len(), 1);
    let last = RunSpec { rounds: 1, ..buffers(1, 2, 3) };
    let world = World::with(&["a", "b"]).submitted("r", last).chosen(&[("r", &["a", "b"])]).reported("r", "a");
    let world = world.aggregated("r");
    assert_eq!((world.run("r").status.name(), world.cancelled("b").len()), ("completed", 1));
    assert_eq!(world.released(), [1]);
    world.replays();
}

#[test]
fn staleness_is_bounded() {
    let event = Event::RunSubmitted { run: run("r"), spec: buffers(1, 1, 65).into(), traits: Default::default() };
    World::with(&[]).refuses(event, "bad_spec").submitted("s", buffers(1, 1, 64));
}

#[test]
fn corrected_gradients_and_late_updates_do_not_go_together() {
    let correction = Some(Correction::DynamicRegularizer { alpha: 0.1 });
    let traits = AggregationTraits {
        training: TrainingNeeds { correction, ..TrainingNeeds::default() },
        ..AggregationTraits::default()
    };
    let submit = |staleness_max| Event::RunSubmitted {
        run: run("s"),
        spec: Box::new(buffers(1, 1, staleness_max)),
        traits: traits.clone(),
    };
    let aggregation = Some((wants(1, 1).aggregation, traits.clone()));
    let swap = Event::PoliciesSet { run: run("r"), placement: None, aggregation };
    let world = one_behind(1).refuses(submit(1), "unfit_policy").refuses(swap, "unfit_policy");
    world.event(submit(0)).replays();
}

#[test]
fn a_late_update_is_not_given_to_a_policy_that_its_region_was_not_asked_for() {
    let mut other: PolicyRef = wants(1, 1).aggregation;
    other.digest = crate::Digest::sha256([0xee; 32]);
    let swap =
        Event::PoliciesSet { run: run("r"), placement: None, aggregation: Some((other, AggregationTraits::default())) };
    let world = one_behind(2).event(swap).aggregated("r");
    assert_eq!(world.cancelled("b"), ["the round closed without it"]);
    world.replays();
}
