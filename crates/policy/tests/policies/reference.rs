//! What our policies should answer, written again in another way.

use polder_core::WorkerName;
use polder_core::policy::{AggregationQuestion, PlacementQuestion, WorkerSnapshot};

/// The weights of federated averaging.
pub(crate) fn fedavg(question: &AggregationQuestion, weighted: bool) -> Vec<f32> {
    let count = question.updates.len();
    if !weighted {
        return vec![(1.0 / count as f64) as f32; count];
    }
    let total = question.updates.iter().fold(0u128, |sum, update| sum + u128::from(update.examples)) as f64;
    question.updates.iter().map(|update| (update.examples as f64 / total) as f32).collect()
}

/// What a placement comes down to: seats as (demand, worker, GPU), and the demands declined.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seating {
    pub(crate) seats: Vec<(usize, WorkerName, Option<u32>)>,
    pub(crate) declined: Vec<usize>,
}

/// Least loaded first: one seat after the other goes to whoever is best at that moment.
pub(crate) fn least_loaded(question: &PlacementQuestion) -> Seating {
    let mut seating = Seating::default();
    for (index, demand) in question.demands.iter().enumerate() {
        let given = |seating: &Seating, worker: &WorkerSnapshot| {
            seating.seats.iter().filter(|(_, name, _)| *name == worker.name).count() as u32
        };
        let mut open: Vec<&WorkerSnapshot> = question
            .workers
            .iter()
            .filter(|worker| demand.candidates.contains(&worker.name))
            .filter(|worker| worker.slots_free > given(&seating, worker))
            .collect();
        if open.is_empty() || open.len() < demand.seats_min as usize {
            seating.declined.push(index);
            continue;
        }
        for _ in 0..demand.seats {
            let key = |worker: &WorkerSnapshot| {
                let free = f64::from(worker.slots_free - given(&seating, worker)) / f64::from(worker.slots);
                (-free, worker.load.cpu_utilization, worker.rounds_assigned)
            };
            let best = open.iter().copied().reduce(|best, worker| {
                let order = key(worker).partial_cmp(&key(best)).unwrap();
                if order.then(worker.name.cmp(&best.name)).is_lt() { worker } else { best }
            });
            let Some(best) = best else { break };
            open.retain(|worker| worker.name != best.name);
            let gpu = gpu(best, &seating);
            seating.seats.push((index, best.name.clone(), gpu));
        }
    }
    seating
}

fn gpu(worker: &WorkerSnapshot, seating: &Seating) -> Option<u32> {
    let given =
        |index: u32| seating.seats.iter().filter(|(_, name, gpu)| *name == worker.name && *gpu == Some(index)).count();
    let mut gpus: Vec<_> = worker.load.gpus.iter().collect();
    gpus.sort_by(|a, b| {
        let key = |gpu: &polder_core::policy::GpuLoad| {
            (given(gpu.index), gpu.utilization.unwrap_or(1.0), -(gpu.memory_free_bytes.unwrap_or(0) as f64), gpu.index)
        };
        key(a).partial_cmp(&key(b)).unwrap()
    });
    gpus.first().map(|gpu| gpu.index)
}
