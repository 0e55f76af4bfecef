//! Aggregation: how updates become a model.

use serde::{Deserialize, Serialize};

use super::STATE_BYTES_MAX;
use crate::id::RoundNumber;

/// Largest state, and largest memo, that an aggregation or release policy may return, in bytes.
pub const MEMO_BYTES_MAX: usize = STATE_BYTES_MAX;
/// Most state tensors that an aggregation policy may have.
pub const STATE_TENSORS_MAX: u32 = 4;
/// Most weighted sums beside the aggregate.
pub const EXTRA_WEIGHTS_MAX: usize = 2;
/// Largest `mu` and `alpha` that local training is given: beyond, no update would move.
pub const STRENGTH_MAX: f64 = 1e9;

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

impl AggregationTraits {
    /// Whether it can aggregate a run whose rounds have at least `quorum` updates; what is wrong, if not.
    pub fn check(&self, quorum: u32) -> Result<(), String> {
        let Self { shape, statistics, updates_min, state_tensors, training, .. } = self;
        if *updates_min == 0 {
            return Err("it says it works with 0 updates; the fewest possible is 1".into());
        }
        if *updates_min > quorum {
            return Err(format!(
                "it needs at least {updates_min} updates and the run's quorum is {quorum}; raise `cohort.quorum` to {updates_min}"
            ));
        }
        if *state_tensors > STATE_TENSORS_MAX {
            return Err(format!("it keeps {state_tensors} state tensors; at most {STATE_TENSORS_MAX} are kept"));
        }
        if *shape == AggregationShape::Sums && (statistics.norms || statistics.products) {
            return Err("its shape is sums and it wants statistics over single updates; geometry gets them".into());
        }
        training.check(*state_tensors)
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

impl TrainingNeeds {
    fn check(&self, state_tensors: u32) -> Result<(), String> {
        if let Some(mu) = self.proximal_mu.filter(|mu| !(0.0..=STRENGTH_MAX).contains(mu)) {
            return Err(format!("its proximal_mu is {mu}; use 0 to {STRENGTH_MAX}"));
        }
        match self.correction {
            Some(Correction::ControlVariates { state_tensor }) if state_tensor >= state_tensors => Err(format!(
                "its control variate is state tensor {state_tensor}, counted from 0, and it keeps {state_tensors}"
            )),
            Some(Correction::DynamicRegularizer { alpha }) if !(alpha > 0.0 && alpha <= STRENGTH_MAX) => {
                Err(format!("its alpha is {alpha}; use a number above 0 and up to {STRENGTH_MAX}"))
            }
            _ => Ok(()),
        }
    }
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
