use super::*;
use polder_policy_sdk::placement::{Demand, Worker};

fn worker(name: &str, slots: u32, slots_free: u32, cpu: f64, rounds: u64) -> Worker {
    let mut worker = Worker { slots_free, rounds_assigned: rounds, ..Worker::idle(name, slots) };
    worker.load.cpu_utilization = cpu;
    worker
}

fn place(demands: Vec<Demand>, workers: Vec<Worker>) -> Answer {
    LeastLoaded::place(Question::new(demands, workers), Parameters {}).unwrap()
}

fn chosen(answer: &Answer) -> Vec<(u32, u32)> {
    answer.assignments.iter().map(|seat| (seat.demand, seat.worker)).collect()
}

#[test]
fn free_share_comes_before_cpu_before_rounds_before_name() {
    let workers = vec![
        worker("e", 2, 1, 0.0, 0),
        worker("d", 4, 4, 0.9, 0),
        worker("c", 1, 1, 0.1, 7),
        worker("b", 2, 2, 0.1, 3),
        worker("a", 3, 3, 0.1, 7),
    ];
    let answer = place(vec![Demand::new(5, 1, &[0, 1, 2, 3, 4])], workers);
    assert_eq!(chosen(&answer), [(0, 3), (0, 4), (0, 2), (0, 1), (0, 0)]);
    assert_eq!(answer.assignments[0].reason, "least loaded, 1 of 5: 2 of 2 slots free, CPU 10% busy, 3 rounds so far");
}

#[test]
fn seats_given_to_one_round_count_for_the_next() {
    let workers = vec![worker("a", 1, 1, 0.0, 0), worker("b", 2, 2, 0.5, 0)];
    let demands = vec![Demand::new(2, 2, &[0, 1]), Demand::new(2, 2, &[0, 1]), Demand::new(1, 1, &[0, 1])];
    let answer = place(demands, workers);
    assert_eq!(chosen(&answer), [(0, 0), (0, 1), (2, 1)]);
    assert_eq!(answer.declined[0].demand, 1);
}

#[test]
fn a_round_without_candidates_is_declined() {
    let answer = place(vec![Demand::new(3, 0, &[])], vec![]);
    assert!(answer.assignments.is_empty());
    assert_eq!(answer.declined.len(), 1);
}
