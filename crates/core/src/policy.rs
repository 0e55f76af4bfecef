//! The questions a policy answers, and the answers: plain values, so that the core, the simulation and a replay need
//! no WebAssembly. `polder-policy` turns them into calls of a component; `plugins/wit` is the same contract in WIT.

//!
//! | file | what |
//! | --- | --- |
//! | `placement` | who trains, where, on which GPU |
//! | `aggregation` | how updates become a model |
//! | `release` | what may leave a region |

mod aggregation;
mod placement;
mod release;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::aggregation::{
    AggregationPlan, AggregationQuestion, AggregationShape, AggregationTraits, Correction, EXTRA_WEIGHTS_MAX,
    MEMO_BYTES_MAX, STATE_TENSORS_MAX, STRENGTH_MAX, Statistics, StatisticsWanted, TensorShape, TrainingNeeds,
    UpdateSummary,
};
pub use self::placement::{
    Declined, Demand, GpuLoad, Placed, PlacementAnswer, PlacementQuestion, WorkerLoad, WorkerSnapshot,
};
pub use self::release::{
    Precision, ReleaseAnswer, ReleaseBudget, ReleaseContext, ReleaseQuestion, ReleaseVerdict, Treatment, UpdateNumbers,
};

use crate::digest::Digest;
use crate::id::{PolicyName, PolicyVersion};

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

    /// `name@version`, or the name alone where it has no version.
    #[must_use]
    pub fn called(&self) -> String {
        self.version.as_ref().map_or_else(|| self.name.to_string(), |version| format!("{}@{version}", self.name))
    }

    /// Whether it decides as `other` does: the same bytes under the same parameters.
    #[must_use]
    pub fn decides_like(&self, other: &Self) -> bool {
        self.digest == other.digest && self.parameters == other.parameters
    }
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.called(), self.digest.short())
    }
}

/// How often a policy that fails is asked in a row before `retry` abandons the round.
pub const ATTEMPTS_MAX: u32 = 3;

/// What happens to a round whose policy failed: trapped, took too long, answered nonsense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Ask the same policy again, [`ATTEMPTS_MAX`] times in all, then abandon the round.
    Retry,
    /// Go back to the policy that decided rounds of this run before, for this round and those to come; where there is
    /// none, the built-in one decides this round.
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
            Self::Pinned(policy) => write!(f, "{policy}"),
            Self::Builtin => f.write_str("the built-in policy"),
        }
    }
}

/// Largest state that a policy may keep, in bytes.
pub const STATE_BYTES_MAX: usize = 64 * 1024;
/// Longest reason or note kept from a policy, a worker or a trainer, in bytes.
pub const REASON_BYTES_MAX: usize = 500;

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

    #[test]
    fn a_policy_is_shown_with_its_version_and_digest() {
        let mut policy = PolicyRef::new("krum".parse().unwrap(), Digest::sha256([0xab; 32]));
        assert_eq!(policy.to_string(), "krum (sha256:abababababab)");
        policy.version = Some("1.2.0".parse().unwrap());
        assert_eq!(PolicyChoice::Pinned(policy).to_string(), "krum@1.2.0 (sha256:abababababab)");
    }
}
