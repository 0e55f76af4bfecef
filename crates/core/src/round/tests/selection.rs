use super::super::selection::RETRY_MS;
use super::*;

fn waited(candidates: u32) -> RoundEvent {
    RoundEvent::Waited { candidates, reason: "more workers".into() }
}

#[test]
fn a_chosen_cohort_is_assigned_and_the_clock_starts() {
    let play = round_of(2, 1, 2).placed(&["a", "b", "c"]).phase_is("configuration");
    assert_eq!(play.round.deadline, Some(Timestamp(1_000 + ROUND_MS)));
    let assigned = play.asked.iter().filter(|effect| matches!(effect, RoundEffect::Assign { .. })).count();
    assert_eq!(assigned, 3);
}

#[test]
fn the_selection_window_opens_with_the_first_quorum_and_closes_when_it_is_lost() {
    let play = round_of(3, 0, 2).event(waited(1));
    assert_eq!(play.wakes_at(), None, "too few for a quorum: only an event can help");
    let mut play = play.event(waited(2));
    assert_eq!(play.wakes_at(), Some(1_500));
    play.now = Timestamp(1_200);
    let play = play.event(waited(2));
    assert_eq!(play.wakes_at(), Some(1_500), "the window does not move while the quorum holds");
    assert_eq!(play.event(waited(1)).wakes_at(), None);
}

#[test]
fn a_selection_window_of_zero_is_over_at_once() {
    let mut play = round_of(3, 0, 2);
    play.terms.selection_ms = 0;
    let Phase::Selection(selection) = &play.round.phase else { panic!("a new round selects") };
    assert!(selection.window_is_over(play.now, &play.terms));
}

#[test]
fn a_policy_that_declines_is_left_alone_for_a_while() {
    let mut play = round_of(2, 0, 1).event(RoundEvent::PlacementDeclined { reason: "power is dear".into() });
    assert_eq!(play.wakes_at(), Some(1_000 + RETRY_MS));
    assert!(play.round.is_quiet(Timestamp(1_000 + RETRY_MS - 1)));
    assert!(!play.round.is_quiet(Timestamp(1_000 + RETRY_MS)));
    assert_eq!(play.wakes_at(), None, "a silence that is over wakes nobody");
    assert!(play.round.waits(&play.terms).unwrap().reason.contains("power is dear"));
}

#[test]
fn a_policy_that_fails_is_replaced_by_the_builtin_for_this_round() {
    let play = round_of(2, 0, 1).event(RoundEvent::PlacementFailed { reason: "trap".into() });
    assert_eq!(play.round.placement, PolicyChoice::Builtin);
    play.phase_is("selection").says("least-loaded").says("trap");
}

#[test]
fn a_builtin_that_fails_too_ends_the_round() {
    let failed = || RoundEvent::PlacementFailed { reason: "trap".into() };
    round_of(2, 0, 1).event(failed()).event(failed()).phase_is("abandoned").says("placement failed: trap");
}

#[test]
fn nobody_is_placed_in_a_round_that_needs_nobody() {
    let mut play = round_of(1, 0, 1).placed(&["a"]);
    let again = RoundEvent::Placed { chosen: Vec::new(), by: Digest::sha256([9; 32]), reason: "again".into() };
    assert!(matches!(play.refused(again), RoundRefusal::WrongPhase { .. }));
    assert!(matches!(play.refused(waited(3)), RoundRefusal::WrongPhase { .. }));
}
