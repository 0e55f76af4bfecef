//! The questions a policy answers, and the answers: plain values, so that the core, the simulation and a replay need
//! no WebAssembly. `polder-policy` turns them into calls of a component; `plugins/wit` is the same contract in WIT.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{PolicyName, PolicyVersion, Region, RoundNumber, RunId, WorkerName};

/// What a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Who trains, where, on which GPU.
    Placement,
    /// How updates become a model.
    Aggregation,
    /// What may leave a region.
    Release,
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Placement => "placement",
            Self::Aggregation => "aggregation",
            Self::Release => "release",
        })
    }
}

/// A policy pinned by digest, with the parameters a run gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    pub name: PolicyName,
    /// None for journals and clients from before versions had names.
    #[serde(default)]
    pub version: Option<PolicyVersion>,
    pub digest: Digest,
    /// The run's parameters for it: one JSON object, as text, handed to the component as it is.
    #[serde(default = "no_parameters")]
    pub parameters: String,
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Who vouches for it; filled in by the coordinator from what was pushed.
    #[serde(default)]
    pub signature: Option<PolicySignature>,
}

impl PolicyRef {
    /// Without a version, parameters or a signature, and with the built-in policy to fall back on.
    #[must_use]
    pub fn new(name: PolicyName, digest: Digest) -> Self {
        let (parameters, on_failure) = (no_parameters(), OnFailure::default());
        Self { name, version: None, digest, parameters, on_failure, signature: None }
    }
}

/// What happens to a round whose policy failed: trapped, took too long, answered nonsense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Ask the same policy again, a few times, then abandon the round.
    Retry,
    /// Go back to the policy that last decided a round of this run, for this round and those to come; the built-in one where there is none.
    Previous,
    /// This round is decided by the built-in policy of its kind.
    #[default]
    Builtin,
    /// The round is abandoned; the model stays as it was.
    Abandon,
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Retry => "retry",
            Self::Previous => "previous",
            Self::Builtin => "builtin",
            Self::Abandon => "abandon",
        })
    }
}

/// An Ed25519 signature over a policy's digest; `polder-security` makes and checks them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySignature {
    /// The signer's public key: `ed25519:` and 64 hexadecimal digits.
    pub signer: String,
    /// 128 hexadecimal digits.
    pub signature: String,
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

/// Largest state, and largest memo, that an aggregation or release policy may return, in bytes.
pub const MEMO_BYTES_MAX: usize = STATE_BYTES_MAX;
/// Most state tensors that an aggregation policy may have.
pub const STATE_TENSORS_MAX: u32 = 4;
/// Most weighted sums beside the aggregate.
pub const EXTRA_WEIGHTS_MAX: usize = 2;

/// What an aggregation policy needs to see, declared once, when a run is submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AggregationShape {
    /// Only weights matter; the host sums natively.
    #[default]
    Sums,
    /// Needs every update's value of a parameter at once.
    Columns,
    /// Only weights matter, and they follow from statistics over whole updates.
    Geometry,
}

/// Statistics over whole updates that an aggregation policy wants; the host computes them natively in float64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatisticsWanted {
    /// The L2 norm of every update.
    pub norms: bool,
    /// The inner product of every pair of updates.
    pub products: bool,
}

/// What an aggregation policy is, under a run's parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregationTraits {
    pub shape: AggregationShape,
    pub statistics: StatisticsWanted,
    /// Fewest updates it works with, at least 1.
    pub updates_min: u32,
    /// Whether its `step` makes the next model; otherwise the aggregate is added to the model.
    pub has_step: bool,
    /// Tensors as large as the model that are kept for `step` from round to round; at most [`STATE_TENSORS_MAX`].
    pub state_tensors: u32,
    pub training: TrainingNeeds,
}

impl Default for AggregationTraits {
    /// A weighted mean, such as `FedAvg`.
    fn default() -> Self {
        Self {
            shape: AggregationShape::Sums,
            statistics: StatisticsWanted::default(),
            updates_min: 1,
            has_step: false,
            state_tensors: 0,
            training: TrainingNeeds::default(),
        }
    }
}

/// What local training must do beyond the trainer's own settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingNeeds {
    /// `FedProx`: add `mu / 2 * |w - w_base|^2` to the local loss.
    #[serde(default)]
    pub proximal_mu: Option<f64>,
    #[serde(default)]
    pub correction: Option<Correction>,
    /// Report the base model's mean loss over the training rows, before training.
    #[serde(default)]
    pub base_loss: bool,
}

/// A vector that is added to every local gradient, made from what the worker keeps between its rounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// SCAFFOLD, Algorithm 1, option II; `c` is this state tensor of the run.
    ControlVariates { state_tensor: u32 },
    /// `FedDyn`, Algorithm 1.
    DynamicRegularizer { alpha: f64 },
}

/// Everything an aggregation policy may know of a round. It never sees a name, an address or telemetry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AggregationQuestion {
    pub round: RoundNumber,
    pub seed: u64,
    /// Parameters in the model.
    pub parameters: u64,
    /// The model's tensors, in the order in which their values follow each other.
    pub tensors: Vec<TensorShape>,
    /// Workers that have the run's data set, taking part or not.
    pub population: u32,
    /// One entry an update, in the one order in which they are aggregated.
    pub updates: Vec<UpdateSummary>,
    pub statistics: Statistics,
    /// What the same policy's last plan in this run returned as `state`, empty at first.
    pub state: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorShape {
    pub name: String,
    /// Its dimensions; none for a single value.
    pub shape: Vec<u64>,
}

/// What [`StatisticsWanted`] asked for; lists that were not asked for are empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// One L2 norm an update.
    pub norms: Vec<f64>,
    /// Inner products of K updates, K * K values, row by row.
    pub products: Vec<f64>,
}

/// What an update says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateSummary {
    /// Training examples behind it.
    pub examples: u64,
    /// Mean training loss over the last local epoch, if the trainer reported one.
    #[serde(default)]
    pub loss: Option<f64>,
    /// Mean loss of the model it started from over its training rows, if that was asked for.
    #[serde(default)]
    pub base_loss: Option<f64>,
    /// Model versions it is behind.
    #[serde(default)]
    pub staleness: u32,
    /// Local optimizer steps, if the trainer counts them.
    #[serde(default)]
    pub steps: Option<u64>,
    /// The L1 norm of `FedNova`'s vector a, in units of the learning rate; `steps` for plain SGD, none for Adam.
    #[serde(default)]
    pub normalizer: Option<f64>,
    /// The local learning rate, where the optimizer has one for all parameters.
    #[serde(default)]
    pub learning_rate: Option<f64>,
}

/// How much each update counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AggregationPlan {
    /// One weight an update, in the question's order; 0 leaves an update out. Finite, not negative, not all zero.
    pub weights: Vec<f32>,
    /// Further weighted sums that only `step` sees; at most [`EXTRA_WEIGHTS_MAX`], one finite weight an update each.
    #[serde(default)]
    pub extra_weights: Vec<Vec<f32>>,
    /// For this round's `combine` and `step`; at most [`MEMO_BYTES_MAX`].
    #[serde(default)]
    pub memo: Vec<u8>,
    /// Handed back with the next round's question; at most [`STATE_BYTES_MAX`].
    #[serde(default)]
    pub state: Vec<u8>,
    /// Empty, or one entry an update: why it counts as it does.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Why, in a sentence.
    pub reason: String,
}

/// Everything a release policy may know of an update that wants to leave its region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReleaseQuestion {
    pub seed: u64,
    pub update: UpdateNumbers,
    pub context: ReleaseContext,
    pub budget: ReleaseBudget,
    /// What the last answer for the same run returned as `state`, empty at first.
    pub state: Vec<u8>,
}

/// Numbers about an update; never the update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateNumbers {
    /// Float32 values in it.
    pub parameters: u64,
    /// Training examples behind it.
    pub examples: u64,
    pub loss: Option<f64>,
    pub steps: Option<u64>,
    /// Its L2 norm.
    pub norm: f64,
    /// Its largest absolute value.
    pub max_norm: f64,
}

/// What an update is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseContext {
    pub run: String,
    pub round: RoundNumber,
    pub region: String,
    /// The aggregation policy, as `name@version`.
    pub aggregation: String,
    /// Workers chosen for the round.
    pub cohort: u32,
    pub quorum: u32,
}

/// What this region has released to this run before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseBudget {
    pub released: u64,
    pub withheld: u64,
}

/// What may leave, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseAnswer {
    pub verdict: ReleaseVerdict,
    /// Handed back with the next question of the same run; at most [`STATE_BYTES_MAX`].
    #[serde(default)]
    pub state: Vec<u8>,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseVerdict {
    Release(Treatment),
    Withhold,
}

/// What the worker does to an update before it leaves, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Treatment {
    /// Scale down to this L2 norm, if longer; finite and above 0.
    #[serde(default)]
    pub clip: Option<f64>,
    /// Standard deviation of Gaussian noise added to every value; finite and not negative.
    #[serde(default)]
    pub noise: Option<f64>,
    #[serde(default)]
    pub precision: Precision,
}

/// What every value is rounded to; it travels as float32 all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    #[default]
    Float32,
    Float16,
    Bfloat16,
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
