//! Release: what may leave a region. Only workers ask this; nothing of it reaches the journal.

use serde::{Deserialize, Serialize};

use crate::id::RoundNumber;

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
    /// Handed back with the next question of the same run; at most [`STATE_BYTES_MAX`](super::STATE_BYTES_MAX).
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
