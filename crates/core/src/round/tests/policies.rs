use super::*;
use crate::policy::{ATTEMPTS_MAX, OnFailure, PolicyKind};

fn on_failure(on_failure: OnFailure) -> Play {
    let mut play = round_of(1, 0, 1);
    for choice in [&mut play.round.placement, &mut play.round.aggregation] {
        let PolicyChoice::Pinned(policy) = choice else { panic!("a round begins with the run's policies") };
        policy.on_failure = on_failure;
    }
    play
}

fn placement_fails() -> RoundEvent {
    RoundEvent::PlacementFailed { reason: "trap".into() }
}

fn aggregation_fails() -> RoundEvent {
    RoundEvent::AggregationFailed { reason: "trap".into() }
}

impl Play {
    fn aggregating(self) -> Self {
        self.placed(&["a"]).reported("a").phase_is("aggregation")
    }

    fn announces_failure(self) -> Self {
        let is_it = |effect: &RoundEffect| matches!(effect, RoundEffect::Announce { kind: "policy-failed", .. });
        assert!(self.asked.iter().any(is_it), "{:?}", self.asked);
        self
    }
}

#[test]
fn retry_asks_the_same_policy_a_few_times_and_then_abandons() {
    let mut play = on_failure(OnFailure::Retry).aggregating();
    for attempt in 2..=ATTEMPTS_MAX {
        play = play.event(aggregation_fails()).phase_is("aggregation").announces_failure();
        assert!(play.asked.contains(&RoundEffect::Aggregate));
        play = play.says(&format!("asked again, attempt {attempt} of 3"));
    }
    play.event(aggregation_fails()).announces_failure().phase_is("abandoned").says("the round is abandoned");
}

#[test]
fn retry_counts_failures_in_a_row() {
    let mut play = on_failure(OnFailure::Retry);
    for _ in 1..ATTEMPTS_MAX {
        play = play.event(placement_fails()).phase_is("selection");
    }
    let play = play.placed(&["a"]).event(placement_fails()).phase_is("configuration");
    assert_ne!(play.round.placement, PolicyChoice::Builtin);
}

#[test]
fn abandon_gives_the_round_up_at_once() {
    on_failure(OnFailure::Abandon).event(placement_fails()).announces_failure().phase_is("abandoned");
    on_failure(OnFailure::Abandon).aggregating().event(aggregation_fails()).phase_is("abandoned").says("trap");
}

#[test]
fn previous_asks_the_run_and_takes_the_policy_it_names() {
    let play = on_failure(OnFailure::Previous).aggregating().event(aggregation_fails());
    let asks = RoundEffect::AskPrevious { kind: PolicyKind::Aggregation, reason: "trap".into() };
    assert_eq!(play.asked, [asks]);
    let traits = AggregationTraits { updates_min: 7, ..AggregationTraits::default() };
    let by = Some((policy("median"), traits.clone()));
    let play = play.event(RoundEvent::AggregationReplaced { reason: "trap".into(), by }).announces_failure();
    assert!(play.asked.contains(&RoundEffect::Aggregate));
    assert_eq!((&play.round.aggregation, &play.round.traits), (&PolicyChoice::Pinned(policy("median")), &traits));
    play.event(RoundEvent::Aggregated { receipt: aggregate_of(1) }).phase_is("committed").says("median");
}

#[test]
fn previous_without_one_falls_back_to_the_builtin() {
    let play = on_failure(OnFailure::Previous).event(placement_fails());
    let play = play.event(RoundEvent::PlacementReplaced { reason: "trap".into(), by: None }).announces_failure();
    assert_eq!(play.round.placement, PolicyChoice::Builtin);
    play.event(placement_fails()).phase_is("abandoned").says("placement failed: trap");
}

#[test]
fn a_builtin_that_fails_is_asked_no_more_whatever_the_run_wanted() {
    for wanted in [OnFailure::Retry, OnFailure::Previous, OnFailure::Builtin, OnFailure::Abandon] {
        let mut play = on_failure(wanted).aggregating();
        play.round.aggregation = PolicyChoice::Builtin;
        play.event(aggregation_fails()).phase_is("abandoned");
    }
}
