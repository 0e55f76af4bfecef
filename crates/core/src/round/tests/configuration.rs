use super::*;

fn accepts(name: &str) -> RoundEvent {
    RoundEvent::Accepted { worker: worker(name) }
}

#[test]
fn reporting_begins_when_all_have_answered() {
    let play = round_of(3, 0, 1).placed(&["a", "b", "c"]).accepted("a").declined("b").phase_is("configuration");
    play.failed("c").phase_is("reporting").seat_is("a", "accepted").seat_is("b", "declined").seat_is("c", "failed");
}

#[test]
fn an_update_counts_before_everybody_has_answered() {
    round_of(2, 0, 2).placed(&["a", "b"]).reported("a").phase_is("configuration").seat_is("a", "reported");
}

#[test]
fn an_answer_that_comes_after_the_update_changes_nothing() {
    let mut play = round_of(2, 0, 2).placed(&["a", "b"]).reported("a");
    assert!(matches!(play.refused(accepts("a")), RoundRefusal::NothingNew { .. }));
    let mut play = play.seat_is("a", "reported").accepted("b");
    assert!(matches!(play.refused(accepts("b")), RoundRefusal::NothingNew { .. }), "nor does one that comes twice");
}

#[test]
fn a_seat_is_given_up_once() {
    let mut play = round_of(3, 0, 1).placed(&["a", "b", "c"]).declined("a");
    assert!(matches!(play.refused(lost("a")), RoundRefusal::SeatGivenUp { state: "declined", .. }));
    assert!(matches!(play.refused(lost("z")), RoundRefusal::NotInCohort { .. }));
    assert!(matches!(play.refused(report("a")), RoundRefusal::SeatGivenUp { .. }));
}

#[test]
fn a_lost_worker_that_returns_is_asked_again() {
    let play = round_of(2, 0, 2).placed(&["a", "b"]).accepted("a").lost("a").seat_is("a", "lost");
    let play = play.event(RoundEvent::Returned { worker: worker("a") }).seat_is("a", "assigned");
    play.reported("a").reported("b").phase_is("aggregation");
}

#[test]
fn a_late_answer_brings_no_lost_worker_back() {
    let mut play = round_of(2, 0, 2).placed(&["a", "b"]).lost("a");
    assert!(matches!(play.refused(accepts("a")), RoundRefusal::NothingNew { .. }));
    play.seat_is("a", "lost");
}

#[test]
fn the_update_of_a_lost_worker_counts_while_the_round_is_open() {
    round_of(2, 0, 2).placed(&["a", "b"]).lost("a").reported("a").reported("b").phase_is("aggregation");
}

#[test]
fn nobody_returns_to_a_round_that_is_aggregating() {
    let play = round_of(2, 0, 1).placed(&["a", "b"]).lost("a").reported("b").phase_is("aggregation");
    let mut play = play.event(RoundEvent::Returned { worker: worker("a") });
    assert_eq!(play.round.active(), 0, "no seat may take a slot for work that is no longer wanted");
    assert!(matches!(play.refused(accepts("a")), RoundRefusal::NothingNew { .. }));
    assert_eq!(play.round.active(), 0);
}
