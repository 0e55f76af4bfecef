//! Our own policies, through the sandbox, against the native references.

use polder_core::policy::{
    AggregationQuestion, AggregationTraits, Demand, GpuLoad, PlacementAnswer, PlacementQuestion, PolicyKind,
    UpdateSummary, WorkerLoad, WorkerSnapshot,
};
use polder_core::{Region, RunId};
use polder_policy::{Policy, PolicyError, PolicyHost, builtins};
use proptest::prelude::*;
use std::sync::LazyLock;

use crate::questions::{self, name};
use crate::reference::{self, Seating};

static HOST: LazyLock<&PolicyHost> = LazyLock::new(questions::host);

fn ours(kind: PolicyKind) -> Policy {
    HOST.builtin(kind).unwrap()
}

fn update() -> impl Strategy<Value = UpdateSummary> {
    let examples = prop_oneof![4 => 0..10_000u64, 1 => any::<u64>()];
    let loss = prop_oneof![any::<f64>().prop_map(Some), Just(None)];
    (examples, loss, any::<u32>()).prop_map(|(examples, loss, staleness)| UpdateSummary {
        examples,
        loss,
        staleness,
        ..UpdateSummary::default()
    })
}

fn aggregation_question() -> impl Strategy<Value = AggregationQuestion> {
    (any::<u32>(), any::<u64>(), any::<u64>(), prop::collection::vec(update(), 1..60)).prop_map(
        |(round, seed, parameters, updates)| AggregationQuestion {
            round,
            seed,
            parameters,
            updates,
            ..AggregationQuestion::default()
        },
    )
}

fn gpu(index: u32) -> impl Strategy<Value = GpuLoad> {
    (prop::option::of(0..4u32), prop::option::of(0..3u64)).prop_map(move |(quarters, memory)| GpuLoad {
        index,
        name: "card".into(),
        utilization: quarters.map(|quarters| f64::from(quarters) / 4.0),
        memory_free_bytes: memory,
        ..GpuLoad::default()
    })
}

/// Few distinct values, so that every tie is met.
fn worker(index: usize) -> impl Strategy<Value = WorkerSnapshot> {
    let gpus = (0..4u32).prop_flat_map(|count| (0..count).map(gpu).collect::<Vec<_>>());
    (1..4u32, 0..4u32, 0..3u32, 0..3u64, gpus).prop_map(move |(slots, free, cpu, rounds, gpus)| WorkerSnapshot {
        name: name(index),
        region: Region::new("eu-west").unwrap(),
        slots,
        slots_free: free.min(slots),
        rounds_assigned: rounds,
        latency_ms: None,
        load: WorkerLoad { cpu_utilization: f64::from(cpu) / 3.0, memory_free_bytes: 1 << 30, gpus },
    })
}

fn demand(index: usize, workers: usize) -> impl Strategy<Value = Demand> {
    (0..6u32, 0..4u32, prop::collection::vec(any::<bool>(), workers)).prop_map(move |(seats, min, chosen)| Demand {
        run: RunId::new(format!("run-{index}")).unwrap(),
        round: 1,
        seats,
        seats_min: min.min(seats),
        candidates: (0..chosen.len()).filter(|&worker| chosen[worker]).map(name).collect(),
    })
}

fn placement_question() -> impl Strategy<Value = PlacementQuestion> {
    (0..8usize, 0..4usize).prop_flat_map(|(workers, demands)| {
        let demands: Vec<_> = (0..demands).map(|index| demand(index, workers)).collect();
        let workers: Vec<_> = (0..workers).map(worker).collect();
        (any::<u64>(), demands, workers).prop_map(|(seed, demands, workers)| PlacementQuestion {
            seed,
            demands,
            workers,
            state: Vec::new(),
        })
    })
}

/// A placement without its reasons, as the reference gives it.
fn seating(question: &PlacementQuestion, answer: &PlacementAnswer) -> Seating {
    let index = |run: &RunId| question.demands.iter().position(|demand| demand.run == *run).unwrap();
    Seating {
        seats: answer.assignments.iter().map(|seat| (index(&seat.run), seat.worker.clone(), seat.gpu)).collect(),
        declined: answer.declined.iter().map(|no| index(&no.run)).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn fedavg_gives_the_references_bits(question in aggregation_question(), weighted: bool) {
        let parameters = format!(r#"{{"weighted": {weighted}}}"#);
        let answer = HOST.weigh(&ours(PolicyKind::Aggregation), &parameters, &question);
        if weighted && question.updates.iter().all(|update| update.examples == 0) {
            let is_refused = matches!(answer, Err(PolicyError::Refused { .. }));
            prop_assert!(is_refused);
            return Ok(());
        }
        let bits = |weights: &[f32]| weights.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&answer.unwrap().weights), bits(&reference::fedavg(&question, weighted)));
    }

    #[test]
    fn least_loaded_seats_whom_the_reference_seats(question in placement_question()) {
        let policy = ours(PolicyKind::Placement);
        let answer = HOST.place(&policy, "{}", &question).unwrap();
        prop_assert_eq!(seating(&question, &answer), reference::least_loaded(&question));
        prop_assert!(answer.assignments.iter().all(|seat| seat.reason.contains("slots free")));
        prop_assert!(answer.state.is_empty());
        prop_assert_eq!(HOST.place(&policy, "{}", &question).unwrap(), answer, "asked again, it answers otherwise");
    }
}

#[test]
fn reasons_carry_the_figures_they_rest_on() {
    let answer = HOST.place(&ours(PolicyKind::Placement), "{}", &questions::placement(2)).unwrap();
    assert_eq!(
        answer.assignments[0].reason,
        "least loaded, 1 of 2: 2 of 2 slots free, CPU 50% busy, 0 rounds so far; GPU 0 25% busy"
    );
    let question = questions::aggregation(&[100, 300]);
    let plan = HOST.weigh(&ours(PolicyKind::Aggregation), "{}", &question).unwrap();
    assert_eq!(plan.weights, [0.25, 0.75]);
    assert_eq!(plan.reason, "the mean of 2 updates, weighted by their 400 training examples");
}

#[test]
fn fedavg_needs_sums_only() {
    let traits = HOST.describe(&ours(PolicyKind::Aggregation), "{}").unwrap();
    assert_eq!(traits, AggregationTraits::default());
}

#[test]
fn parameters_are_refused_with_the_key_and_what_is_allowed() {
    let cases = [
        (PolicyKind::Aggregation, r#"{"weigted": true}"#, "unknown field `weigted`, expected `weighted`"),
        (PolicyKind::Aggregation, r#"{"weighted": 1}"#, "invalid type: integer `1`, expected a boolean"),
        (PolicyKind::Aggregation, "{", "EOF while parsing an object"),
        (PolicyKind::Placement, r#"{"gpu": true}"#, "unknown field `gpu`, there are no fields"),
    ];
    for (kind, parameters, words) in cases {
        let error = HOST.check_parameters(&ours(kind), parameters).unwrap_err();
        assert!(
            matches!(&error, PolicyError::Parameters { message } if message.contains(words)),
            "{parameters}: {error}"
        );
    }
    for kind in [PolicyKind::Placement, PolicyKind::Aggregation] {
        HOST.check_parameters(&ours(kind), "{}").unwrap();
        HOST.check_parameters(&ours(kind), "").unwrap();
    }
}

#[test]
fn a_diverged_workers_figures_reach_no_policy() {
    let mut question = questions::placement(2);
    question.workers[0].load.cpu_utilization = f64::NAN;
    question.workers[0].load.gpus[0].utilization = Some(f64::INFINITY);
    question.workers[1].load.cpu_utilization = 0.9;
    let answer = HOST.place(&ours(PolicyKind::Placement), "{}", &question).unwrap();
    assert_eq!(answer.assignments[0].worker, name(1));
    assert!(answer.assignments[1].reason.ends_with("CPU 100% busy, 0 rounds so far; GPU 0 does not tell its use"));
    let mut question = questions::aggregation(&[1, 1]);
    question.updates[0].loss = Some(f64::NAN);
    assert_eq!(HOST.weigh(&ours(PolicyKind::Aggregation), "{}", &question).unwrap().weights, [0.5, 0.5]);
}

#[test]
fn a_question_that_contradicts_itself_is_not_asked() {
    let mut question = questions::placement(2);
    question.demands[0].candidates.push(name(9));
    let error = HOST.place(&ours(PolicyKind::Placement), "{}", &question).unwrap_err();
    assert!(error.to_string().contains("worker-009 is a candidate for digits and not among the workers"), "{error}");
}

#[test]
fn there_is_one_default_a_kind_and_every_name_is_told_apart() {
    for kind in [PolicyKind::Placement, PolicyKind::Aggregation] {
        let first = builtins().iter().find(|builtin| builtin.kind == kind).unwrap();
        assert_eq!(ours(kind).digest(), first.digest());
    }
    for (index, builtin) in builtins().iter().enumerate() {
        assert!(polder_core::PolicyName::new(builtin.name).is_ok());
        assert!(!builtins()[..index].iter().any(|other| other.name == builtin.name));
    }
}
