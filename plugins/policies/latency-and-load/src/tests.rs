use super::*;
use polder_policy_sdk::placement::{Gpu, Worker};

fn worker(name: &str, latency_ms: Option<f64>, cpu: f64) -> Worker {
    let mut worker = Worker { latency_ms, ..Worker::idle(name, 2) };
    worker.load.cpu_utilization = cpu;
    worker
}

fn seats(seats_min: u32, workers: Vec<Worker>, latency_weight: f64, latency_ms_max: Option<f64>) -> Vec<u32> {
    let everyone: Vec<u32> = (0..workers.len() as u32).collect();
    let question = Question::new(vec![Demand::new(9, seats_min, &everyone)], workers);
    let answer = LatencyAndLoad::place(question, Parameters { latency_weight, latency_ms_max }).unwrap();
    answer.assignments.iter().map(|seat| seat.worker).collect()
}

#[test]
fn the_weight_says_which_of_the_two_counts() {
    let workers = vec![worker("a", Some(100.0), 0.9), worker("b", Some(1000.0), 0.1), worker("c", Some(500.0), 0.2)];
    assert_eq!(seats(1, workers.clone(), 1.0, None), [0, 2, 1]);
    assert_eq!(seats(1, workers.clone(), 0.0, None), [1, 2, 0]);
    // (0.1 + 0.9) / 2 = 0.5, (1 + 0.1) / 2 = 0.55, (0.5 + 0.2) / 2 = 0.35
    assert_eq!(seats(1, workers, 0.5, None), [2, 0, 1]);
}

#[test]
fn who_was_never_heard_of_is_tried() {
    let workers = vec![worker("a", Some(1.0), 0.0), worker("b", None, 0.0)];
    assert_eq!(seats(1, workers, 0.5, None), [1, 0]);
}

#[test]
fn slots_and_the_least_busy_gpu_are_load_too() {
    let gpu = |index, utilization| Gpu {
        index,
        name: "card".into(),
        uuid: String::new(),
        memory_total_bytes: None,
        memory_free_bytes: None,
        utilization,
        power_watts: None,
    };
    let mut workers = vec![worker("a", None, 0.1), worker("b", None, 0.1), worker("c", None, 0.3)];
    workers[0].slots_free = 1;
    workers[1].load.gpus = vec![gpu(0, None), gpu(1, Some(0.4))];
    assert_eq!(seats(1, workers, 0.5, None), [2, 1, 0]);
}

#[test]
fn the_slow_are_left_out_while_the_cohort_allows_it() {
    let workers = vec![worker("a", Some(900.0), 0.0), worker("b", Some(800.0), 0.0), worker("c", Some(10.0), 0.9)];
    assert_eq!(seats(1, workers.clone(), 0.5, Some(100.0)), [2]);
    assert_eq!(seats(2, workers.clone(), 0.0, Some(100.0)), [1, 2]);
    assert_eq!(seats(1, workers, 0.0, None), [0, 1, 2]);
}

#[test]
fn parameters_have_ranges() {
    let check = |latency_weight, latency_ms_max| LatencyAndLoad::check(Parameters { latency_weight, latency_ms_max });
    assert!(check(0.0, None).is_ok() && check(1.0, Some(1.0)).is_ok());
    assert_eq!(check(1.5, None), Err(Error::Parameters("latency_weight is 1.5; it must be from 0 to 1".into())));
    assert!(check(f64::NAN, None).is_err() && check(0.5, Some(0.0)).is_err());
}

#[test]
fn reasons_carry_the_figures() {
    let everyone = [0, 1];
    let workers = vec![worker("a", Some(250.0), 0.25), worker("b", None, 0.5)];
    let question = Question::new(vec![Demand::new(2, 1, &everyone)], workers);
    let answer = LatencyAndLoad::place(question, Parameters { latency_weight: 0.5, latency_ms_max: None }).unwrap();
    let reasons: Vec<_> = answer.assignments.iter().map(|seat| seat.reason.as_str()).collect();
    assert_eq!(reasons, ["cost 0.25: no update yet, 50% loaded", "cost 0.625: 250 ms an update, 25% loaded"]);
}
