//! Why a round's updates did not become a model.

use std::io;
use std::path::PathBuf;

use polder_core::{AssignmentId, Digest};
use polder_policy::PolicyError;
use polder_tensor::NotFinite;

use crate::store::StoreError;

/// Why a round's updates did not become a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AggregationError {
    #[error("there are {updates} updates, but {weights} weights")]
    WeightCount { updates: usize, weights: usize },
    #[error("the weight of the update from {assignment} is {weight}; weights are finite and not negative")]
    Weight { assignment: AssignmentId, weight: f32 },
    #[error("an extra weight of the update from {assignment} is {weight}; extra weights are finite")]
    ExtraWeight { assignment: AssignmentId, weight: f32 },
    #[error("no update has a weight above zero")]
    NothingWeighed,
    #[error("the sum is too large for a float32: {0}; lower the learning rate or the weights")]
    Overflow(NotFinite),
    #[error("the {what} that the policy made is no number everywhere: {place}")]
    NotFinite { what: &'static str, place: NotFinite },
    #[error("the policy failed at tensor `{tensor}`, from its value {offset} on")]
    Policy { tensor: String, offset: u64, source: PolicyError },
    /// Before the first chunk.
    #[error("the policy cannot be started")]
    Start(#[source] PolicyError),
    #[error("the policy has {expected} state tensors, but {found} were kept")]
    StateCount { expected: u32, found: usize },
    #[error("{what} {digest} is corrupt: its bytes have the digest {found}; restore it from a backup")]
    Corrupt { what: &'static str, digest: Digest, found: Digest },
    #[error("`{}` does not have the shape of the model it belongs to", path.display())]
    Shape { path: PathBuf },
    #[error("could not read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AggregationError {
    /// Whether the policy is to blame: it trapped, took too long, or gave numbers that cannot be used. Otherwise it is this
    /// machine's storage, and another policy would not fare better.
    #[must_use]
    pub fn is_policys_fault(&self) -> bool {
        match self {
            Self::WeightCount { .. }
            | Self::Weight { .. }
            | Self::ExtraWeight { .. }
            | Self::NothingWeighed
            | Self::Overflow(_)
            | Self::NotFinite { .. } => true,
            Self::Policy { source, .. } | Self::Start(source) => {
                !matches!(source, PolicyError::Question { .. } | PolicyError::Host { .. } | PolicyError::Cache { .. })
            }
            Self::StateCount { .. }
            | Self::Corrupt { .. }
            | Self::Shape { .. }
            | Self::Read { .. }
            | Self::Store(_) => false,
        }
    }
}
