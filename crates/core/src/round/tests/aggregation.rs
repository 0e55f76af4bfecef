use super::*;
use crate::policy::STATE_BYTES_MAX;

fn two_reported() -> Play {
    let play = round_of(2, 0, 2).placed(&["a", "b"]).reported("a").reported("b").phase_is("aggregation");
    assert!(play.asked.contains(&RoundEffect::Aggregate));
    play
}

fn failed() -> RoundEvent {
    RoundEvent::AggregationFailed { reason: "time limit".into() }
}

#[test]
fn a_stored_model_commits_the_round() {
    let play = two_reported().event(RoundEvent::Aggregated { receipt: aggregate_of(2) });
    play.phase_is("committed").says("weighted by examples");
}

#[test]
fn a_round_commits_at_most_once() {
    let mut play = two_reported().event(RoundEvent::Aggregated { receipt: aggregate_of(2) });
    let again = play.refused(RoundEvent::Aggregated { receipt: aggregate_of(2) });
    assert_eq!(again, RoundRefusal::WrongPhase { round: 7, phase: "committed" });
}

#[test]
fn nothing_is_committed_before_reporting_has_closed() {
    let mut play = round_of(2, 0, 1).placed(&["a", "b"]).reported("a");
    assert!(matches!(
        play.refused(RoundEvent::Aggregated { receipt: aggregate_of(1) }),
        RoundRefusal::WrongPhase { .. }
    ));
    assert!(matches!(play.refused(failed()), RoundRefusal::WrongPhase { .. }));
}

#[test]
fn an_aggregation_that_fails_is_retried_with_the_builtin() {
    let play = two_reported().event(failed()).phase_is("aggregation");
    assert_eq!(play.round.aggregation, PolicyChoice::Builtin);
    assert!(play.asked.contains(&RoundEffect::Aggregate));
    play.event(RoundEvent::Aggregated { receipt: aggregate_of(2) }).phase_is("committed");
}

#[test]
fn a_builtin_that_fails_too_abandons_the_round() {
    two_reported().event(failed()).event(failed()).phase_is("abandoned").says("aggregation failed: time limit");
}

#[test]
fn weights_that_do_not_fit_the_updates_fail_the_policy() {
    let not_all = RoundEvent::Aggregated { receipt: aggregate_of(1) };
    let play = two_reported().event(not_all).phase_is("aggregation").says("1 weights for 2 updates");
    assert_eq!(play.round.aggregation, PolicyChoice::Builtin);
}

#[test]
fn what_a_policy_keeps_and_notes_is_held_to_what_it_said() {
    let tensor = StateTensor { digest: Digest::blake3([5; 32]), bytes: 400 };
    let kept = |tensors: usize, state: usize| Kept { tensors: vec![tensor; tensors], state: vec![0; state] };
    let with = |kept, notes: &[&str]| {
        let mut play = two_reported();
        play.round.traits.state_tensors = 2;
        let notes = notes.iter().map(|note| (*note).into()).collect();
        play.event(RoundEvent::Aggregated { receipt: AggregateReceipt { kept, notes, ..aggregate_of(2) } })
    };
    with(kept(0, 0), &[]).phase_is("committed");
    with(kept(2, STATE_BYTES_MAX), &["a", "b"]).phase_is("committed");
    with(kept(1, 0), &[]).phase_is("aggregation").says("keeps 1 state tensors and said 2");
    with(kept(2, STATE_BYTES_MAX + 1), &[]).phase_is("aggregation").says("its state has 65537 bytes");
    with(kept(0, 0), &["only one"]).phase_is("aggregation").says("1 notes for 2 updates");
    let play = with(kept(0, 0), &["a\nb", "c"]);
    assert_eq!(play.round.committed().unwrap().notes, ["a b", "c"]);
}

#[test]
fn weights_that_no_journal_could_hold_are_refused() {
    for weight in [f32::NAN, f32::INFINITY, -1.0] {
        let mut receipt = aggregate_of(2);
        receipt.weights[1] = weight;
        let refusal = two_reported().refused(RoundEvent::Aggregated { receipt });
        assert_eq!(refusal, RoundRefusal::BadWeight { round: 7, weight: weight.to_string() });
    }
}

#[test]
fn a_cancelled_round_is_abandoned_in_any_phase() {
    let cancelled = || RoundEvent::Cancelled { reason: "the run was stopped".into() };
    round_of(2, 0, 2).event(cancelled()).phase_is("abandoned");
    let play = round_of(2, 0, 2).placed(&["a", "b"]).reported("a").event(cancelled());
    assert_eq!(play.cancelled(), ["b"]);
    play.phase_is("abandoned");
    let mut play = two_reported().event(cancelled()).phase_is("abandoned");
    assert!(matches!(play.refused(cancelled()), RoundRefusal::Closed { .. }));
}

#[test]
fn an_update_that_is_lost_is_left_out_if_the_others_are_a_quorum() {
    let lost = |name: &str| RoundEvent::UpdateLost { worker: worker(name), reason: "its file is damaged".into() };
    let three = || round_of(3, 0, 2).placed(&["a", "b", "c"]).reported("a").reported("b").reported("c");
    let play = three().event(lost("b")).phase_is("aggregation").says("the update of b was lost: its file is damaged");
    assert!(play.asked.contains(&RoundEffect::Aggregate));
    let mut play = play.event(RoundEvent::Aggregated { receipt: aggregate_of(2) }).phase_is("committed");
    assert!(matches!(play.refused(lost("a")), RoundRefusal::WrongPhase { .. }), "what was counted stays counted");

    let mut play = three().event(lost("b"));
    assert!(matches!(play.refused(lost("b")), RoundRefusal::NothingNew { .. }));
    assert!(matches!(play.refused(lost("d")), RoundRefusal::NotInCohort { .. }));
    play.event(lost("c")).phase_is("abandoned").says("1 of 2 updates that a quorum needs are left");
}
