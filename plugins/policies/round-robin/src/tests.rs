use super::*;
use polder_policy_sdk::placement::{Demand, Worker};

fn workers(names: &[&str]) -> Vec<Worker> {
    names.iter().map(|name| Worker::idle(name, 1)).collect()
}

/// Whom a demand of `seats` seats gets after `last`, and the new state.
fn turn(seats: u32, workers: Vec<Worker>, last: &str) -> (Vec<String>, String) {
    let everyone: Vec<u32> = (0..workers.len() as u32).collect();
    let mut question = Question::new(vec![Demand::new(seats, 1, &everyone)], workers.clone());
    question.state = last.into();
    let answer = RoundRobin::place(question, Parameters {}).unwrap();
    let names = answer.assignments.iter().map(|seat| workers[seat.worker as usize].name.clone()).collect();
    (names, String::from_utf8(answer.state).unwrap())
}

#[test]
fn the_circle_goes_on_where_it_stopped() {
    let names = ["a", "b", "c"];
    assert_eq!(turn(2, workers(&names), ""), (vec!["a".into(), "b".into()], "b".into()));
    assert_eq!(turn(2, workers(&names), "b"), (vec!["c".into(), "a".into()], "a".into()));
}

#[test]
fn who_comes_or_goes_moves_nobodys_turn() {
    assert_eq!(turn(1, workers(&["a", "c"]), "b").0, ["c"]);
    assert_eq!(turn(1, workers(&["a", "b", "bb", "c"]), "b").0, ["bb"]);
    assert_eq!(turn(1, workers(&["a", "b"]), "zz").0, ["a"]);
}

#[test]
fn who_is_busy_misses_the_turn() {
    let mut all = workers(&["a", "b", "c"]);
    all[1].slots_free = 0;
    assert_eq!(turn(1, all, "a"), (vec!["c".into()], "c".into()));
}

#[test]
fn a_state_that_is_no_name_is_survived() {
    let mut question = Question::new(vec![Demand::new(1, 1, &[0])], workers(&["a"]));
    question.state = vec![0xff, 0, 0xfe];
    assert_eq!(RoundRobin::place(question, Parameters {}).unwrap().assignments.len(), 1);
}

#[test]
fn reasons_name_who_was_before() {
    let question = Question::new(vec![Demand::new(2, 1, &[0, 1])], workers(&["a", "b"]));
    let answer = RoundRobin::place(question, Parameters {}).unwrap();
    assert_eq!(answer.assignments[0].reason, "its turn, 1 of 2: the first seat of all");
    assert_eq!(answer.assignments[1].reason, "its turn, 2 of 2: the seat before went to a");
}
