use super::*;

#[test]
fn an_over_selected_round_closes_at_its_size_and_cancels_stragglers() {
    let play = round_of(2, 1, 1).placed(&["a", "b", "c"]).reported("c").reported("a").phase_is("aggregation");
    assert_eq!(play.cancelled(), ["b"]);
    play.seat_is("b", "straggled").says("2 of 2 wanted updates are in");
}

#[test]
fn a_round_with_quorum_closes_when_no_more_can_come() {
    let play = round_of(3, 0, 2).placed(&["a", "b", "c"]).reported("a").declined("b").phase_is("configuration");
    play.reported("c").phase_is("aggregation").says("no more will come");
}

#[test]
fn a_round_below_quorum_does_not_close_early() {
    round_of(3, 0, 2).placed(&["a", "b", "c"]).reported("a").declined("b").lost("c").phase_is("reporting");
}

#[test]
fn the_deadline_closes_a_round_with_quorum_and_cancels_stragglers() {
    let play = round_of(3, 0, 2).placed(&["a", "b", "c"]).reported("a").reported("b").phase_is("configuration");
    let play = play.at_the_deadline().phase_is("aggregation");
    assert_eq!(play.cancelled(), ["c"]);
}

#[test]
fn the_deadline_abandons_a_round_below_quorum() {
    let play = round_of(3, 0, 2).placed(&["a", "b", "c"]).accepted("b").reported("a").at_the_deadline();
    assert_eq!(play.cancelled(), ["b", "c"]);
    play.phase_is("abandoned").says("1 of 2 updates that a quorum needs");
}

#[test]
fn a_moment_before_the_deadline_nothing_happens() {
    let mut play = round_of(2, 0, 1).placed(&["a", "b"]).reported("a");
    play.now = Timestamp(1_000 + ROUND_MS - 1);
    play.event(RoundEvent::TimePassed).phase_is("configuration");
}

#[test]
fn one_update_a_worker_counts() {
    let mut play = round_of(2, 0, 2).placed(&["a", "b"]).reported("a");
    let other = UpdateReceipt { update: Digest::blake3([99; 32]), ..receipt_of("a") };
    let refusal = play.refused(RoundEvent::Reported { worker: worker("a"), receipt: other });
    assert_eq!(refusal, RoundRefusal::AlreadyReported { worker: worker("a"), round: 7 });
    play.reported("b").phase_is("aggregation");
}

#[test]
fn only_the_cohort_reports() {
    let mut play = round_of(2, 0, 2).placed(&["a", "b"]);
    assert_eq!(play.refused(report("z")), RoundRefusal::NotInCohort { worker: worker("z") });
}

#[test]
fn a_closed_round_takes_no_update() {
    let mut play = round_of(1, 1, 1).placed(&["a", "b"]).reported("a").phase_is("aggregation");
    assert_eq!(play.refused(report("b")), RoundRefusal::Closed { round: 7, phase: "aggregation" });
}

#[test]
fn a_training_round_takes_no_bare_evaluation() {
    let mut play = round_of(1, 0, 1).placed(&["a"]);
    let evaluation = RoundEvent::Evaluated { worker: worker("a"), evaluation: metrics(10, 0.5) };
    assert_eq!(play.refused(evaluation), RoundRefusal::WrongTask { round: 7, wanted: "updates" });
}

#[test]
fn a_round_that_lost_its_quorum_wants_stand_ins_and_no_more_of_them_than_that() {
    let play = round_of(3, 0, 3).placed(&["a", "b", "c"]).reported("a");
    assert_eq!(play.round.open_seats(&play.terms), None);
    let play = play.lost("b").declined("c");
    assert_eq!(play.round.open_seats(&play.terms), Some((2, 1)));
    let deadline = play.round.deadline;
    let play = play.placed(&["d"]).phase_is("reporting");
    assert_eq!(play.round.open_seats(&play.terms), Some((1, 1)));
    assert_eq!(play.round.deadline, deadline, "a stand-in does not move the deadline");
    play.placed(&["e"]).reported("d").reported("e").phase_is("aggregation");
}

#[test]
fn a_policy_that_declined_a_stand_in_wakes_nobody_once_the_lost_worker_is_back() {
    let play = round_of(2, 0, 2).placed(&["a", "b"]).lost("a");
    let play = play.event(RoundEvent::PlacementDeclined { reason: "not now".into() });
    assert_eq!(play.wakes_at(), Some(1_000 + super::super::selection::RETRY_MS));
    let play = play.event(RoundEvent::Returned { worker: worker("a") });
    assert_eq!(play.wakes_at(), Some(1_000 + ROUND_MS), "the silence is over, only the deadline counts");
}
