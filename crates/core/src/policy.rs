//! The questions a policy answers, and the answers: plain values, so that the core, the simulation and a replay need
//! no WebAssembly. `polder-policy` turns them into calls of a component; `plugins/wit` is the same contract in WIT.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{PolicyName, Region, RoundNumber, RunId, WorkerName};

/// What a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Who trains, where, on which GPU.
    Placement,
    /// How updates become a model.
    Aggregation,
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Placement => "placement",
            Self::Aggregation => "aggregation",
        })
    }
}

/// A policy pinned by digest, with the parameters a run gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    pub name: PolicyName,
    pub digest: Digest,
    /// The run's parameters for it: one JSON object, as text, handed to the component as it is.
    #[serde(default = "no_parameters")]
    pub parameters: String,
}

fn no_parameters() -> String {
    "{}".into()
}

/// Which policy decides: the run's own, or the built-in of its kind after the run's own failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyChoice {
    Pinned(PolicyRef),
    Builtin,
}

impl fmt::Display for PolicyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(policy) => write!(f, "{} ({})", policy.name, policy.digest.short()),
            Self::Builtin => f.write_str("the built-in policy"),
        }
    }
}

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
    /// Handed back with the next question; at most [`STATE_BYTES_MAX`].
    pub state: Vec<u8>,
}

/// Largest state a placement policy may keep, in bytes.
pub const STATE_BYTES_MAX: usize = 64 * 1024;
/// Longest reason or note kept from a policy, a worker or a trainer, in bytes.
pub const REASON_BYTES_MAX: usize = 500;

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

/// What an aggregation policy needs to see, declared once, when a run is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AggregationShape {
    /// Only weights matter; the host sums natively.
    Sums,
}

/// Everything an aggregation policy may know of a round. It never sees a name, an address or telemetry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregationQuestion {
    pub round: RoundNumber,
    pub seed: u64,
    /// Parameters in the model.
    pub parameters: u64,
    /// One entry an update, in the one order in which they are aggregated.
    pub updates: Vec<UpdateSummary>,
}

/// What an update says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateSummary {
    /// Training examples behind it.
    pub examples: u64,
    /// Mean training loss over the last local epoch, if the trainer reported one.
    pub loss: Option<f64>,
    /// Model versions it is behind.
    pub staleness: u32,
}

/// How much each update counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AggregationPlan {
    /// One weight an update, in the question's order; 0 leaves an update out. Finite, not negative, not all zero.
    /// The new model is `model + Σ weight_k · update_k`.
    pub weights: Vec<f32>,
    /// Why, in a sentence.
    pub reason: String,
}

/// Cuts what an outsider wrote to [`REASON_BYTES_MAX`] and takes out control characters, so that it can be shown.
#[must_use]
pub fn tidy_reason(text: &str) -> String {
    let mut tidy: String = text.chars().take(REASON_BYTES_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    while tidy.len() > REASON_BYTES_MAX {
        tidy.pop();
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_and_cleaned() {
        assert_eq!(tidy_reason("a\nb\u{1b}[31m"), "a b [31m");
        assert!(tidy_reason(&"é".repeat(REASON_BYTES_MAX)).len() <= REASON_BYTES_MAX);
    }
}
