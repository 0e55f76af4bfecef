//! How a worker trains: the keys of `run.toml`'s `[train]` table.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;

const EPOCHS_MAX: u32 = 10_000;
const RETRIES: u32 = 1;
const RETRIES_MAX: u32 = 10;
const BATCH_SIZE_MAX: usize = 1 << 16;
const LEARNING_RATE_MAX: f64 = 100.0;
pub(crate) const PROXIMAL_MU_MAX: f64 = 1000.0;
/// Most values that one batch may take on its way through a model: 4 GiB of f32.
const ACTIVATIONS_MAX: u64 = 1 << 30;

/// One round's local training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the region's training data; 1 to 10,000, by default 1.
    pub epochs: u32,
    /// Examples a step; 1 to 65,536, by default 32. A smaller data set makes one batch.
    pub batch_size: usize,
    /// Above 0, at most 100; by default 0.05.
    pub learning_rate: f64,
    /// By default plain SGD.
    pub optimizer: Optimizer,
    /// The pull towards the model that the round started from: μ of FedProx (Li et al. 2020, "Federated Optimization
    /// in Heterogeneous Networks", equation 2). 0 to 1,000; by default 0, which is off.
    pub proximal_mu: f64,
    /// How often training that failed for a reason that may pass (a GPU that was lost, a crash) is tried again by the same
    /// worker; 0 to 10, by default 1. A worker of an older version, which knows nothing of it, is not told the default.
    #[serde(skip_serializing_if = "is_default_retries")]
    pub retries: u32,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 32,
            learning_rate: 0.05,
            optimizer: Optimizer::default(),
            proximal_mu: 0.0,
            retries: RETRIES,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default_retries(retries: &u32) -> bool {
    *retries == RETRIES
}

/// How a step follows from a gradient. Its state starts anew each round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent, with momentum and L2 penalty as in PyTorch (no dampening, not Nesterov).
    Sgd {
        /// At least 0, below 1; by default 0.
        #[serde(default)]
        momentum: f64,
        /// 0 to 1; by default 0.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1.
    Adam {
        /// β1 and β2, each at least 0 and below 1; by default 0.9 and 0.999.
        #[serde(default = "default_betas")]
        betas: [f64; 2],
        /// Above 0, at most 1; by default 1e-8.
        #[serde(default = "default_eps")]
        eps: f64,
    },
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Sgd { momentum: 0.0, weight_decay: 0.0 }
    }
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

/// Why nothing can be trained this way.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error("training key `{key}` is {value}; allowed is {allowed}")]
    OutOfRange { key: &'static str, value: f64, allowed: &'static str },
    #[error("training key `batch_size` is {batch_size}; this model takes {max} examples a batch at most")]
    BatchTooLarge { batch_size: usize, max: u64 },
}

impl TrainConfig {
    /// Checks every key against its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self { epochs, batch_size, learning_rate, optimizer, proximal_mu, retries } = self;
        ensure((1..=EPOCHS_MAX).contains(epochs), "epochs", f64::from(*epochs), "1 to 10000")?;
        ensure((1..=BATCH_SIZE_MAX).contains(batch_size), "batch_size", *batch_size as f64, "1 to 65536")?;
        let rate_fits = *learning_rate > 0.0 && *learning_rate <= LEARNING_RATE_MAX;
        ensure(rate_fits, "learning_rate", *learning_rate, "above 0, at most 100")?;
        ensure((0.0..=PROXIMAL_MU_MAX).contains(proximal_mu), "proximal_mu", *proximal_mu, "0 to 1000")?;
        ensure(*retries <= RETRIES_MAX, "retries", f64::from(*retries), "0 to 10")?;
        match optimizer {
            Optimizer::Sgd { momentum, weight_decay } => {
                ensure((0.0..1.0).contains(momentum), "optimizer.momentum", *momentum, "at least 0, below 1")?;
                ensure((0.0..=1.0).contains(weight_decay), "optimizer.weight_decay", *weight_decay, "0 to 1")
            }
            Optimizer::Adam { betas, eps } => {
                for beta in betas {
                    ensure((0.0..1.0).contains(beta), "optimizer.betas", *beta, "at least 0, below 1")?;
                }
                ensure(*eps > 0.0 && *eps <= 1.0, "optimizer.eps", *eps, "above 0, at most 1")
            }
        }
    }

    /// [`check`](Self::check), and that a batch for `architecture` fits into memory.
    pub fn check_for(&self, architecture: &Architecture) -> Result<(), ConfigError> {
        self.check()?;
        let max = (ACTIVATIONS_MAX / architecture.activation_count().max(1)).max(1);
        if self.batch_size as u64 > max {
            return Err(ConfigError::BatchTooLarge { batch_size: self.batch_size, max });
        }
        Ok(())
    }
}

fn ensure(fits: bool, key: &'static str, value: f64, allowed: &'static str) -> Result<(), ConfigError> {
    if fits { Ok(()) } else { Err(ConfigError::OutOfRange { key, value, allowed }) }
}

#[cfg(test)]
mod tests;
