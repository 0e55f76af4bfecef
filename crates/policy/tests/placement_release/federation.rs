//! Workers and rounds to ask about, and one who plays the rounds.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use polder_core::policy::{
    Demand, GpuLoad, PlacementAnswer, PlacementQuestion, PolicyKind, WorkerLoad, WorkerSnapshot,
};
use polder_core::{Region, RunId, WorkerName};
use polder_policy::{Limits, Policy, PolicyHost, builtin_named, builtins};
use proptest::prelude::*;

/// A host that waits long enough for any machine.
pub(crate) static HOST: LazyLock<PolicyHost> =
    LazyLock::new(|| PolicyHost::new(Limits { question_ms_max: 60_000, ..Limits::default() }, None).unwrap());

pub(crate) fn ours(name: &str) -> Policy {
    HOST.load(builtin_named(name, None).unwrap().bytes).unwrap()
}

/// The names of our policies of a kind.
pub(crate) fn names(kind: PolicyKind) -> Vec<&'static str> {
    builtins().iter().filter(|builtin| builtin.kind == kind).map(|builtin| builtin.name).collect()
}

pub(crate) fn name(index: usize) -> WorkerName {
    WorkerName::new(format!("worker-{index:03}")).unwrap()
}

pub(crate) fn worker(index: usize, slots: u32) -> WorkerSnapshot {
    WorkerSnapshot {
        name: name(index),
        region: Region::new("eu-west").unwrap(),
        slots,
        slots_free: slots,
        rounds_assigned: 0,
        latency_ms: None,
        load: WorkerLoad { cpu_utilization: 0.5, memory_free_bytes: 1 << 30, gpus: Vec::new() },
    }
}

/// One round of `seats` seats that all of `workers` may take.
pub(crate) fn question(seed: u64, seats: u32, workers: Vec<WorkerSnapshot>) -> PlacementQuestion {
    let candidates = workers.iter().map(|worker| worker.name.clone()).collect();
    let demand = Demand { run: RunId::new("digits").unwrap(), round: 1, seats, seats_min: 1, candidates };
    PlacementQuestion { seed, demands: vec![demand], workers, state: Vec::new() }
}

/// How often each of `workers` is seated when `rounds` rounds of `seats` seats follow each other, all workers idle between them.
/// The state goes from answer to question, as in a run.
pub(crate) fn play(policy: &str, parameters: &str, rounds: u64, seats: u32, workers: &[WorkerSnapshot]) -> Vec<u64> {
    let policy = ours(policy);
    let mut counts = BTreeMap::new();
    let mut state = Vec::new();
    let mut workers = workers.to_vec();
    for round in 0..rounds {
        let mut asked = question(round, seats, workers.clone());
        asked.state = state;
        let answer = HOST.place(&policy, parameters, &asked).unwrap();
        for seat in answer.assignments {
            *counts.entry(seat.worker).or_insert(0) += 1;
        }
        for worker in &mut workers {
            worker.rounds_assigned = counts.get(&worker.name).copied().unwrap_or(0);
        }
        state = answer.state;
    }
    workers.iter().map(|worker| worker.rounds_assigned).collect()
}

/// What the contract forbids of an answer, in words; none for a good one. Written from the contract's text.
pub(crate) fn breach(question: &PlacementQuestion, answer: &PlacementAnswer) -> Option<String> {
    let mut seats: BTreeMap<&WorkerName, u32> = BTreeMap::new();
    for demand in &question.demands {
        let seated: Vec<_> = answer.assignments.iter().filter(|seat| seat.run == demand.run).collect();
        let is_declined = answer.declined.iter().any(|no| no.run == demand.run);
        let open = |worker: &&WorkerName| {
            let known = question.workers.iter().find(|known| known.name == **worker).unwrap();
            known.slots_free > seats.get(*worker).copied().unwrap_or(0)
        };
        let open: Vec<&WorkerName> = demand.candidates.iter().filter(open).collect();
        let could = open.len() >= demand.seats_min.max(1) as usize;
        if is_declined == could && demand.seats > 0 {
            return Some(format!("{} is declined: {is_declined}, and {} were open", demand.run, open.len()));
        }
        if could && seated.len() != open.len().min(demand.seats as usize) {
            return Some(format!("{} got {} of {} seats, {} open", demand.run, seated.len(), demand.seats, open.len()));
        }
        for seat in &seated {
            if !open.contains(&&seat.worker) {
                return Some(format!("{} is no open candidate of {}", seat.worker, demand.run));
            }
            if seated.iter().filter(|other| other.worker == seat.worker).count() > 1 {
                return Some(format!("{} got two seats of {}", seat.worker, demand.run));
            }
        }
        for seat in seated {
            *seats.entry(&seat.worker).or_default() += 1;
        }
    }
    let mute = answer.assignments.iter().any(|seat| !seat.reason.contains(|c: char| c.is_ascii_digit()));
    mute.then(|| "a reason has no figure".into())
}

fn gpu(index: u32) -> impl Strategy<Value = GpuLoad> {
    prop::option::of(0.0..=1.0f64).prop_map(move |utilization| GpuLoad { index, utilization, ..GpuLoad::default() })
}

fn any_worker(index: usize) -> impl Strategy<Value = WorkerSnapshot> {
    let gpus = (0..3u32).prop_flat_map(|count| (0..count).map(gpu).collect::<Vec<_>>());
    let latency = prop::option::of(prop_oneof![Just(0.0), 0.0..1e5f64, Just(f64::MAX)]);
    (1..4u32, 0..4u32, 0.0..=1.0f64, any::<u64>(), latency, gpus).prop_map(
        move |(slots, free, cpu, rounds_assigned, latency_ms, gpus)| WorkerSnapshot {
            slots_free: free.min(slots),
            rounds_assigned,
            latency_ms,
            load: WorkerLoad { cpu_utilization: cpu, memory_free_bytes: 1 << 30, gpus },
            ..worker(index, slots)
        },
    )
}

fn any_demand(index: usize, workers: usize) -> impl Strategy<Value = Demand> {
    (0..6u32, 0..4u32, prop::collection::vec(any::<bool>(), workers)).prop_map(move |(seats, min, chosen)| Demand {
        run: RunId::new(format!("run-{index}")).unwrap(),
        round: 1,
        seats,
        seats_min: min.min(seats),
        candidates: (0..chosen.len()).filter(|&worker| chosen[worker]).map(name).collect(),
    })
}

/// Any federation, any rounds, any state, also one that no policy wrote.
pub(crate) fn any_question() -> impl Strategy<Value = PlacementQuestion> {
    (0..9usize, 0..5usize).prop_flat_map(|(workers, demands)| {
        let demands: Vec<_> = (0..demands).map(|index| any_demand(index, workers)).collect();
        let workers: Vec<_> = (0..workers).map(any_worker).collect();
        let state = prop::collection::vec(any::<u8>(), 0..200);
        (any::<u64>(), demands, workers, state).prop_map(|(seed, demands, workers, state)| PlacementQuestion {
            seed,
            demands,
            workers,
            state,
        })
    })
}
