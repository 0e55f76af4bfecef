//! What every placement policy owes every question, and what each prefers.

use std::cmp::Ordering;

use polder_core::WorkerName;
use polder_core::policy::{PlacementQuestion, PolicyKind, WorkerSnapshot};
use polder_policy::PolicyError;
use proptest::prelude::*;

use crate::federation::{HOST, any_question, breach, names, ours, question, worker};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Nobody beyond their slots, nobody twice, no stranger, every seat that can be given given, and again the same.
    #[test]
    fn every_policy_keeps_the_contract(question in any_question()) {
        for name in names(PolicyKind::Placement) {
            let policy = ours(name);
            let answer = HOST.place(&policy, "{}", &question).unwrap();
            prop_assert_eq!(breach(&question, &answer), None, "{}", name);
            prop_assert_eq!(HOST.place(&policy, "{}", &question).unwrap(), answer, "{} answers otherwise", name);
        }
    }

    /// One seat after the other to whoever has the fewest assignments at that moment.
    #[test]
    fn least_connections_joins_the_shortest_queue(question in any_question()) {
        let answer = HOST.place(&ours("least-connections"), "{}", &question).unwrap();
        let mut given: Vec<&WorkerName> = Vec::new();
        for seat in &answer.assignments {
            let demand = question.demands.iter().find(|demand| demand.run == seat.run).unwrap();
            let busy = |worker: &WorkerSnapshot| {
                let here = given.iter().filter(|name| ***name == worker.name).count() as u32;
                (worker.slots - worker.slots_free + here, worker.slots_free > here)
            };
            let seated_before = |worker: &WorkerSnapshot| {
                answer.assignments.iter().take_while(|other| *other != seat).any(|other| other.run == seat.run && other.worker == worker.name)
            };
            let shortest = question.workers.iter()
                .filter(|worker| demand.candidates.contains(&worker.name) && busy(worker).1 && !seated_before(worker))
                .map(|worker| busy(worker).0)
                .min();
            let chosen = question.workers.iter().find(|worker| worker.name == seat.worker).unwrap();
            prop_assert_eq!(Some(busy(chosen).0), shortest);
            given.push(&seat.worker);
        }
    }

    #[test]
    fn latency_and_load_prefers_whom_the_formula_prefers(question in any_question(), weight in 0.0..=1.0f64) {
        let mut question = question;
        question.demands.truncate(1);
        let parameters = format!(r#"{{"latency_weight": {weight}}}"#);
        let answer = HOST.place(&ours("latency-and-load"), &parameters, &question).unwrap();
        let costs: Vec<f64> = answer.assignments.iter().map(|seat| cost(&question, &seat.worker, weight)).collect();
        let mut all: Vec<f64> = open(&question).iter().map(|name| cost(&question, name, weight)).collect();
        all.sort_by(f64::total_cmp);
        for (chosen, best) in costs.iter().zip(&all) {
            prop_assert!((chosen - best).abs() < 1e-12, "{costs:?} of {all:?}");
        }
    }
}

fn open(question: &PlacementQuestion) -> Vec<WorkerName> {
    let Some(demand) = question.demands.first() else { return Vec::new() };
    let free = |worker: &&WorkerSnapshot| worker.slots_free > 0 && demand.candidates.contains(&worker.name);
    question.workers.iter().filter(free).map(|worker| worker.name.clone()).collect()
}

/// The documented formula, for the first demand.
fn cost(question: &PlacementQuestion, name: &WorkerName, weight: f64) -> f64 {
    let known = |name: &WorkerName| question.workers.iter().find(|worker| worker.name == *name).unwrap();
    let latencies: Vec<f64> = open(question).iter().filter_map(|name| known(name).latency_ms).collect();
    let slowest = latencies.into_iter().max_by(f64::total_cmp).unwrap_or(0.0);
    let worker = known(name);
    let latency = match worker.latency_ms {
        Some(ms) if slowest > 0.0 => ms / slowest,
        _ => 0.0,
    };
    let taken = f64::from(worker.slots - worker.slots_free) / f64::from(worker.slots);
    let mut gpus: Vec<f64> = worker.load.gpus.iter().map(|gpu| gpu.utilization.unwrap_or(1.0)).collect();
    gpus.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let load = [taken, worker.load.cpu_utilization, gpus.first().copied().unwrap_or(0.0)];
    weight * latency + (1.0 - weight) * load.into_iter().fold(0.0, f64::max)
}

#[test]
fn a_hundred_workers_fit_into_every_answer() {
    for name in names(PolicyKind::Placement) {
        let question = question(7, 100, (0..100).map(|index| worker(index, 2)).collect());
        let answer = HOST.place(&ours(name), "{}", &question).unwrap();
        assert_eq!(answer.assignments.len(), 100, "{name}");
        assert_eq!(breach(&question, &answer), None, "{name}");
    }
}

#[test]
fn parameters_are_refused_with_what_is_allowed() {
    let cases = [
        ("round-robin", r#"{"start": 1}"#, "unknown field `start`"),
        ("weighted-round-robin", r#"{"weights": {"a": 0}}"#, "the weight of a is 0; it must be from 1 to 1000"),
        ("weighted-round-robin", r#"{"weights": {"a": -1}}"#, "invalid value: integer `-1`"),
        ("weighted-round-robin", r#"{"weight": {}}"#, "unknown field `weight`, expected `weights`"),
        ("latency-and-load", r#"{"latency_weight": 2}"#, "latency_weight is 2; it must be from 0 to 1"),
        ("latency-and-load", r#"{"latency_ms_max": 0}"#, "latency_ms_max is 0; it must be above 0"),
        ("clip", "{}", "missing field `norm`"),
        ("clip", r#"{"norm": -1}"#, "norm is -1; it must be above 0"),
        ("min-cohort", "{}", "missing field `cohort_min`"),
        ("min-cohort", r#"{"cohort_min": 0}"#, "cohort_min is 0; it must be at least 1"),
        ("allow-all", r#"{"clip": 1}"#, "unknown field `clip`"),
    ];
    for (name, parameters, words) in cases {
        let error = HOST.check_parameters(&ours(name), parameters).unwrap_err();
        let is_refused = matches!(&error, PolicyError::Parameters { message } if message.contains(words));
        assert!(is_refused, "{name} {parameters}: {error}");
    }
}
