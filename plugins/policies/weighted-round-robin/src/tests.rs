use super::*;
use polder_policy_sdk::placement::{Demand, Worker};

fn parameters(weights: &[(&str, u32)]) -> Parameters {
    Parameters { weights: weights.iter().map(|(name, weight)| ((*name).into(), *weight)).collect() }
}

/// One seat a round, `rounds` rounds, among idle workers.
fn turns(rounds: usize, workers: &[Worker], weights: &[(&str, u32)]) -> String {
    let everyone: Vec<u32> = (0..workers.len() as u32).collect();
    let mut state = Vec::new();
    let mut names = String::new();
    for _ in 0..rounds {
        let mut question = Question::new(vec![Demand::new(1, 1, &everyone)], workers.to_vec());
        question.state = state;
        let answer = WeightedRoundRobin::place(question, parameters(weights)).unwrap();
        names += &workers[answer.assignments[0].worker as usize].name;
        state = answer.state;
    }
    names
}

#[test]
fn turns_are_as_smooth_as_nginxs() {
    let workers = ["a", "b", "c"].map(|name| Worker::idle(name, 1));
    assert_eq!(turns(14, &workers, &[("a", 5)]), "aabacaaaabacaa");
}

#[test]
fn slots_are_the_weights_of_who_is_not_named() {
    let workers = [Worker::idle("a", 1), Worker::idle("b", 3)];
    assert_eq!(turns(8, &workers, &[]), "babbbabb");
    assert_eq!(turns(4, &workers, &[("a", 1), ("b", 1)]), "abab");
}

#[test]
fn a_round_gives_nobody_two_of_its_seats() {
    let workers = vec![Worker::idle("a", 9), Worker::idle("b", 1), Worker::idle("c", 1)];
    let question = Question::new(vec![Demand::new(3, 1, &[0, 1, 2])], workers);
    let answer = WeightedRoundRobin::place(question, parameters(&[])).unwrap();
    let mut seated: Vec<_> = answer.assignments.iter().map(|seat| seat.worker).collect();
    seated.sort_unstable();
    assert_eq!(seated, [0, 1, 2]);
    assert_eq!(answer.assignments[0].reason, "always in a round of 3 seats: weight 9");
}

#[test]
fn any_state_is_survived_and_is_kept_small() {
    let workers: Vec<_> = (0..5000).map(|index| Worker::idle(&format!("worker-{index:04}"), 2)).collect();
    let everyone: Vec<u32> = (0..5000).collect();
    let mut question = Question::new(vec![Demand::new(10, 1, &everyone)], workers.clone());
    let key = 16 * 7;
    question.state = (0..key + 5).map(|byte| byte as u8).collect();
    let answer = WeightedRoundRobin::place(question, parameters(&[])).unwrap();
    assert_eq!(answer.assignments.len(), 10);
    assert_eq!(answer.state.len(), 65_536);
}

#[test]
fn credits_out_of_range_are_brought_back() {
    let workers = [Worker::idle("a", 1), Worker::idle("b", 1)];
    let mut credits = Credits::read(&[], &workers, &[1, 1]);
    credits.next_turn(&[0, 1], &[0, 1], &[1, 1]).unwrap();
    let mut bytes = credits.write(&workers);
    for entry in bytes.chunks_exact_mut(16) {
        entry[8..].copy_from_slice(&i64::MIN.to_le_bytes());
    }
    let mut credits = Credits::read(&bytes, &workers, &[1, 1]);
    let turns: Vec<_> = (0..4).map(|_| credits.next_turn(&[0, 1], &[0, 1], &[1, 1]).unwrap()).collect();
    assert_eq!(turns, [0, 1, 0, 1]);
}

#[test]
fn reasons_carry_the_figures() {
    let workers = vec![Worker::idle("a", 2), Worker::idle("b", 1), Worker::idle("c", 1)];
    let question = Question::new(vec![Demand::new(1, 1, &[0, 1, 2])], workers);
    let answer = WeightedRoundRobin::place(question, parameters(&[])).unwrap();
    assert_eq!(answer.assignments[0].reason, "its turn: weight 2, credit -2 after it");
}

#[test]
fn weights_have_a_range() {
    assert!(WeightedRoundRobin::check(parameters(&[("a", 1), ("b", 1000)])).is_ok());
    let refused = WeightedRoundRobin::check(parameters(&[("a", 0)]));
    assert_eq!(refused, Err(Error::Parameters("the weight of a is 0; it must be from 1 to 1000".into())));
    assert!(WeightedRoundRobin::check(parameters(&[("a", 1001)])).is_err());
}
