use super::*;
use polder_policy_sdk::placement::{Gpu, Load};

fn worker(name: &str, slots: u32, slots_free: u32, cpu: f64, rounds: u64) -> Worker {
    Worker {
        name: name.into(),
        region: "eu-west".into(),
        slots,
        slots_free,
        rounds_assigned: rounds,
        latency_ms: None,
        load: Load { cpu_utilization: cpu, memory_free_bytes: 1 << 30, gpus: Vec::new() },
    }
}

fn gpu(index: u32, utilization: Option<f64>, memory_free_bytes: u64) -> Gpu {
    Gpu {
        index,
        name: "card".into(),
        uuid: String::new(),
        memory_total_bytes: None,
        memory_free_bytes: Some(memory_free_bytes),
        utilization,
        power_watts: None,
    }
}

fn demand(seats: u32, seats_min: u32, candidates: &[u32]) -> Demand {
    Demand { run: "digits".into(), round: 1, seats, seats_min, candidates: candidates.to_vec() }
}

fn place(demands: Vec<Demand>, workers: Vec<Worker>) -> Answer {
    LeastLoaded::place(Question { seed: 0, demands, workers, state: Vec::new() }, Parameters {}).unwrap()
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
    let answer = place(vec![demand(5, 1, &[0, 1, 2, 3, 4])], workers);
    assert_eq!(chosen(&answer), [(0, 3), (0, 4), (0, 2), (0, 1), (0, 0)]);
    assert_eq!(answer.assignments[0].reason, "least loaded, 1 of 5: 2 of 2 slots free, CPU 10% busy, 3 rounds so far");
}

#[test]
fn slots_given_to_one_round_are_gone_for_the_next() {
    let workers = vec![worker("a", 1, 1, 0.0, 0), worker("b", 2, 2, 0.5, 0)];
    let demands = vec![demand(2, 2, &[0, 1]), demand(2, 2, &[0, 1]), demand(1, 1, &[0, 1])];
    let answer = place(demands, workers);
    assert_eq!(chosen(&answer), [(0, 0), (0, 1), (2, 1)]);
    assert_eq!(answer.declined.len(), 1);
    assert_eq!(answer.declined[0].demand, 1);
    assert_eq!(answer.declined[0].reason, "the round needs 2 workers, and 1 of its 2 candidates have a free slot");
}

#[test]
fn the_least_used_gpu_is_named_and_not_given_twice_before_the_others() {
    let mut busy = worker("a", 3, 3, 0.0, 0);
    busy.load.gpus = vec![gpu(0, Some(0.5), 1), gpu(1, Some(0.25), 1), gpu(2, None, 9)];
    let answer = place(vec![demand(1, 1, &[0]), demand(1, 1, &[0]), demand(1, 1, &[0])], vec![busy]);
    let gpus: Vec<_> = answer.assignments.iter().map(|seat| seat.gpu).collect();
    assert_eq!(gpus, [Some(1), Some(0), Some(2)]);
    assert!(answer.assignments[0].reason.ends_with("; GPU 1 25% busy"), "{}", answer.assignments[0].reason);
    assert!(answer.assignments[2].reason.ends_with("; GPU 2 does not tell its use"));
}

#[test]
fn a_round_without_candidates_is_declined() {
    let answer = place(vec![demand(3, 0, &[])], vec![]);
    assert!(answer.assignments.is_empty());
    assert_eq!(answer.declined.len(), 1);
}
