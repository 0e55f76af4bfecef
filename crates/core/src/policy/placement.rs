//! Placement: who trains, where, on which GPU.

use serde::{Deserialize, Serialize};

use crate::id::{Region, RoundNumber, RunId, WorkerName};

/// Everything a placement policy may know. It never sees an update, a model or a row of data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementQuestion {
    /// The only randomness a policy has.
    pub seed: u64,
    /// Pending demands, in the order in which the runs were submitted.
    pub demands: Vec<Demand>,
    /// Every worker that is here and not draining, in name order.
    pub workers: Vec<WorkerSnapshot>,
    /// What the same policy returned as `state` the last time, empty at first.
    pub state: Vec<u8>,
}

/// One round of one run that wants workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    pub run: RunId,
    pub round: RoundNumber,
    /// How many workers the round would like.
    pub seats: u32,
    /// How few it can go on with.
    pub seats_min: u32,
    /// The workers that may be chosen: they have the data set, a free slot and no seat in this round yet.
    pub candidates: Vec<WorkerName>,
}

/// What is known of one worker at the time of the question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerSnapshot {
    pub name: WorkerName,
    pub region: Region,
    /// Assignments it takes at once.
    pub slots: u32,
    /// Of these, how many are free.
    pub slots_free: u32,
    /// Rounds it was chosen for so far.
    pub rounds_assigned: u64,
    /// How long its updates take from assignment to arrival, in milliseconds; none before its first.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    pub load: WorkerLoad,
}

/// A worker's own report of how busy its machine is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerLoad {
    /// Share of all cores in use, 0 to 1.
    pub cpu_utilization: f64,
    pub memory_free_bytes: u64,
    /// One entry a GPU, by index; empty where there is none.
    pub gpus: Vec<GpuLoad>,
}

/// One GPU as NVML reports it; what a card cannot tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuLoad {
    pub index: u32,
    pub name: String,
    pub uuid: String,
    pub memory_total_bytes: Option<u64>,
    pub memory_free_bytes: Option<u64>,
    /// Share of time that a kernel ran, 0 to 1.
    pub utilization: Option<f64>,
    pub power_watts: Option<f64>,
}

/// Who was chosen, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementAnswer {
    pub assignments: Vec<Placed>,
    pub declined: Vec<Declined>,
    /// Handed back with the next question; at most [`STATE_BYTES_MAX`](super::STATE_BYTES_MAX).
    pub state: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub run: RunId,
    pub worker: WorkerName,
    /// The GPU to train on, by the worker's own index; none leaves the choice to the worker.
    pub gpu: Option<u32>,
    pub reason: String,
}

/// A demand that the policy would rather leave waiting for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declined {
    pub run: RunId,
    pub reason: String,
}
