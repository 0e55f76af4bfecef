//! The placement world: the core's question in the guest's types, and the guest's answer checked and back.

use std::collections::HashMap;

use polder_core::WorkerName;
use polder_core::policy::{
    Declined, Demand, GpuLoad, Placed, PlacementAnswer, PlacementQuestion, STATE_BYTES_MAX, WorkerSnapshot,
};

use crate::ask::reason;
use crate::bindings::placement::exports::polder::policy::placer;
use crate::{Nonsense, PolicyError};

/// The question as the guest reads it.
///
/// # Errors
/// [`PolicyError::Question`] if a candidate is not among the workers.
pub(crate) fn to_guest(question: &PlacementQuestion) -> Result<placer::Question, PolicyError> {
    let indices: HashMap<&WorkerName, u32> =
        question.workers.iter().zip(0..).map(|(worker, index)| (&worker.name, index)).collect();
    let demands = question.demands.iter().map(|demand| demand_to_guest(demand, &indices)).collect::<Result<_, _>>()?;
    Ok(placer::Question {
        seed: question.seed,
        demands,
        workers: question.workers.iter().map(worker_to_guest).collect(),
        state: question.state.clone(),
    })
}

fn demand_to_guest(demand: &Demand, indices: &HashMap<&WorkerName, u32>) -> Result<placer::Demand, PolicyError> {
    let mut candidates = Vec::with_capacity(demand.candidates.len());
    for name in &demand.candidates {
        let index = indices.get(name).ok_or_else(|| PolicyError::Question {
            reason: format!("{name} is a candidate for {} and not among the workers", demand.run),
        })?;
        candidates.push(*index);
    }
    candidates.sort_unstable();
    Ok(placer::Demand {
        run: demand.run.to_string(),
        round: demand.round,
        seats: demand.seats,
        seats_min: demand.seats_min,
        candidates,
    })
}

fn worker_to_guest(worker: &WorkerSnapshot) -> placer::Worker {
    placer::Worker {
        name: worker.name.to_string(),
        region: worker.region.to_string(),
        slots: worker.slots,
        slots_free: worker.slots_free,
        rounds_assigned: worker.rounds_assigned,
        // the contract promises finite numbers
        latency_ms: worker.latency_ms.filter(|latency| latency.is_finite()),
        load: placer::Load {
            cpu_utilization: share(worker.load.cpu_utilization).unwrap_or(1.0),
            memory_free_bytes: worker.load.memory_free_bytes,
            gpus: worker.load.gpus.iter().map(gpu_to_guest).collect(),
        },
    }
}

fn gpu_to_guest(gpu: &GpuLoad) -> placer::Gpu {
    placer::Gpu {
        index: gpu.index,
        name: gpu.name.clone(),
        uuid: gpu.uuid.clone(),
        memory_total_bytes: gpu.memory_total_bytes,
        memory_free_bytes: gpu.memory_free_bytes,
        utilization: gpu.utilization.and_then(share),
        power_watts: gpu.power_watts.filter(|watts| watts.is_finite()),
    }
}

/// The contract promises shares from 0 to 1; a worker's report promises nothing.
fn share(value: f64) -> Option<f64> {
    value.is_finite().then(|| value.clamp(0.0, 1.0))
}

/// The answer in the core's types.
///
/// # Errors
/// [`Nonsense`] if it names what is not in the question, or more than the question has room for.
pub(crate) fn from_guest(question: &PlacementQuestion, answer: &placer::Answer) -> Result<PlacementAnswer, Nonsense> {
    let seats: usize = question.demands.iter().map(|demand| demand.candidates.len()).sum();
    at_most("assignments", answer.assignments.len(), seats)?;
    at_most("declined demands", answer.declined.len(), question.demands.len())?;
    if answer.state.len() > STATE_BYTES_MAX {
        return Err(Nonsense::State { bytes: answer.state.len() });
    }
    Ok(PlacementAnswer {
        assignments: answer.assignments.iter().map(|seat| placed(question, seat)).collect::<Result<_, _>>()?,
        declined: answer.declined.iter().map(|no| declined(question, no)).collect::<Result<_, _>>()?,
        state: answer.state.clone(),
    })
}

fn placed(question: &PlacementQuestion, seat: &placer::Assignment) -> Result<Placed, Nonsense> {
    let demand = at(&question.demands, "demand", seat.demand)?;
    let worker = at(&question.workers, "worker", seat.worker)?;
    if let Some(gpu) = seat.gpu
        && !worker.load.gpus.iter().any(|known| known.index == gpu)
    {
        return Err(Nonsense::NoSuchGpu { worker: worker.name.to_string(), gpu });
    }
    Ok(Placed { run: demand.run.clone(), worker: worker.name.clone(), gpu: seat.gpu, reason: reason(&seat.reason) })
}

fn declined(question: &PlacementQuestion, no: &placer::Declined) -> Result<Declined, Nonsense> {
    let demand = at(&question.demands, "demand", no.demand)?;
    Ok(Declined { run: demand.run.clone(), reason: reason(&no.reason) })
}

fn at<'a, T>(list: &'a [T], what: &'static str, index: u32) -> Result<&'a T, Nonsense> {
    list.get(index as usize).ok_or(Nonsense::OutOfRange { what, index, count: list.len() })
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), Nonsense> {
    if count > limit { Err(Nonsense::TooMany { what, count, limit }) } else { Ok(()) }
}
