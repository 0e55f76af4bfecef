use super::*;
use polder_policy_sdk::release::Verdict;

/// What is said to a round of three workers with a quorum of two.
fn review(cohort_min: u32, quorum_min: u32) -> Answer {
    MinCohort::review(Question::new(1.0), Parameters { cohort_min, quorum_min }).unwrap()
}

#[test]
fn small_rounds_get_nothing() {
    assert_eq!(review(3, 2).verdict, Verdict::Release(Treatment::none()));
    assert_eq!(review(3, 2).reason, "the round has 3 workers of at least 3, and counts from 2 updates on");
    assert_eq!(review(4, 1), Answer::withhold("the round has 3 workers; this region wants at least 4"));
    assert_eq!(review(3, 3), Answer::withhold("the round counts from 2 updates on; this region wants at least 3"));
}

#[test]
fn both_are_at_least_1() {
    let check = |cohort_min, quorum_min| MinCohort::check(Parameters { cohort_min, quorum_min });
    assert!(check(1, 1).is_ok());
    assert_eq!(check(0, 1), Err(Error::Parameters("cohort_min is 0; it must be at least 1".into())));
    assert!(check(1, 0).is_err());
}
