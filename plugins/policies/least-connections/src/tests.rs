use super::*;
use polder_policy_sdk::placement::{Demand, Worker};

fn worker(name: &str, slots: u32, busy: u32, rounds: u64) -> Worker {
    Worker { slots_free: slots - busy, rounds_assigned: rounds, ..Worker::idle(name, slots) }
}

fn seats(demands: Vec<Demand>, workers: Vec<Worker>) -> Vec<(u32, u32)> {
    let answer = LeastConnections::place(Question::new(demands, workers), Parameters {}).unwrap();
    answer.assignments.iter().map(|seat| (seat.demand, seat.worker)).collect()
}

#[test]
fn assignments_come_before_rounds_before_names_and_size_does_not_count() {
    let workers = vec![
        worker("d", 64, 3, 0),
        worker("c", 4, 2, 9),
        worker("b", 3, 2, 1),
        worker("a", 9, 2, 9),
        worker("e", 1, 0, 99),
    ];
    assert_eq!(seats(vec![Demand::new(5, 1, &[0, 1, 2, 3, 4])], workers), [(0, 4), (0, 2), (0, 3), (0, 1), (0, 0)]);
}

#[test]
fn seats_of_the_same_answer_count() {
    let workers = vec![worker("a", 4, 0, 0), worker("b", 4, 1, 0)];
    let demands = vec![Demand::new(1, 1, &[0, 1]); 4];
    assert_eq!(seats(demands, workers), [(0, 0), (1, 0), (2, 1), (3, 0)]);
}

#[test]
fn reasons_carry_the_figures() {
    let question = Question::new(vec![Demand::new(1, 1, &[0])], vec![worker("a", 4, 1, 7)]);
    let answer = LeastConnections::place(question, Parameters {}).unwrap();
    assert_eq!(answer.assignments[0].reason, "fewest assignments, 1 of 1: 1 of 4 slots busy, 7 rounds so far");
}
