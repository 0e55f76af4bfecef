//! Questions to ask.

use std::sync::LazyLock;

use polder_core::policy::{
    AggregationQuestion, Demand, GpuLoad, PlacementQuestion, PolicyKind, ReleaseContext, ReleaseQuestion, TensorShape,
    UpdateNumbers, UpdateSummary, WorkerLoad, WorkerSnapshot,
};
use polder_core::{Region, RunId, WorkerName};
use polder_policy::{Limits, Policy, PolicyError, PolicyHost};

pub(crate) fn name(index: usize) -> WorkerName {
    WorkerName::new(format!("worker-{index:03}")).unwrap()
}

pub(crate) fn worker(index: usize) -> WorkerSnapshot {
    WorkerSnapshot {
        name: name(index),
        region: Region::new("eu-west").unwrap(),
        slots: 2,
        slots_free: 2,
        rounds_assigned: 0,
        latency_ms: None,
        load: WorkerLoad { cpu_utilization: 0.5, memory_free_bytes: 1 << 30, gpus: Vec::new() },
    }
}

pub(crate) fn gpu(index: u32) -> GpuLoad {
    GpuLoad { index, name: "card".into(), utilization: Some(0.25), ..GpuLoad::default() }
}

/// One round that wants all of `workers` workers, each with one GPU.
pub(crate) fn placement(workers: usize) -> PlacementQuestion {
    let workers: Vec<_> = (0..workers)
        .map(|index| {
            let mut worker = worker(index);
            worker.load.gpus.push(gpu(0));
            worker
        })
        .collect();
    let demand = Demand {
        run: RunId::new("digits").unwrap(),
        round: 1,
        seats: workers.len() as u32,
        seats_min: 1,
        candidates: workers.iter().map(|worker| worker.name.clone()).collect(),
    };
    PlacementQuestion { seed: 7, demands: vec![demand], workers, state: Vec::new() }
}

/// A round with one update of each of these example counts.
pub(crate) fn aggregation(examples: &[u64]) -> AggregationQuestion {
    let updates =
        examples.iter().map(|&examples| UpdateSummary { examples, loss: Some(0.5), ..UpdateSummary::default() });
    AggregationQuestion {
        round: 3,
        seed: 7,
        parameters: 1000,
        tensors: vec![TensorShape { name: "weight".into(), shape: vec![10, 100] }],
        population: 12,
        updates: updates.collect(),
        ..AggregationQuestion::default()
    }
}

/// An update of norm 2 that wants to leave.
pub(crate) fn release() -> ReleaseQuestion {
    ReleaseQuestion {
        seed: 7,
        update: UpdateNumbers { parameters: 1000, examples: 10, norm: 2.0, max_norm: 0.5, ..UpdateNumbers::default() },
        context: ReleaseContext {
            run: "digits".into(),
            round: 3,
            region: "eu-west".into(),
            aggregation: "fedavg@0.2.0".into(),
            cohort: 3,
            quorum: 2,
        },
        ..ReleaseQuestion::default()
    }
}

/// The host of most tests, which compiles our policies once: it waits long enough for any machine.
pub(crate) fn host() -> &'static PolicyHost {
    static HOST: LazyLock<PolicyHost> = LazyLock::new(|| {
        let limits = Limits { question_ms_max: 60_000, compiled_policies_max: 1000, ..Limits::default() };
        PolicyHost::new(limits, None).unwrap()
    });
    &HOST
}

/// A host for guests that run for ever; long enough for our own policies on a busy machine.
pub(crate) fn impatient() -> PolicyHost {
    PolicyHost::new(Limits { question_ms_max: 500, ..Limits::default() }, None).unwrap()
}

/// Loads a guest and asks it the question of its kind with three workers or updates. The host must serve our own policies afterwards.
pub(crate) fn ask(host: &PolicyHost, guest: &[u8]) -> Result<(), PolicyError> {
    let outcome = host.load(guest).and_then(|policy| ask_loaded(host, &policy));
    for kind in [PolicyKind::Placement, PolicyKind::Aggregation] {
        let ours = host.builtin(kind).unwrap();
        ask_loaded(host, &ours).unwrap_or_else(|error| panic!("the host no longer serves {kind}: {error}"));
    }
    outcome
}

fn ask_loaded(host: &PolicyHost, policy: &Policy) -> Result<(), PolicyError> {
    match policy.kind() {
        PolicyKind::Placement => host.place(policy, "{}", &placement(3)).map(drop),
        PolicyKind::Aggregation => host.weigh(policy, "{}", &aggregation(&[1, 2, 3])).map(drop),
        PolicyKind::Release => host.review(policy, "{}", &release()).map(drop),
    }
}

/// Asks, and expects an error with these words in its message.
pub(crate) fn refuse(host: &PolicyHost, guest: &[u8], words: &str) -> PolicyError {
    let error = ask(host, guest).expect_err("the guest got an answer through");
    let message = error.to_string();
    assert!(message.contains(words), "`{message}` does not say `{words}`");
    assert!(!message.contains('\n'), "`{message}` is more than a sentence");
    error
}
