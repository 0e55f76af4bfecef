//! Updates leave no longer than a norm: one that is longer is scaled down to it, `u * min(1, norm / |u|)`.
//!
//! H. B. McMahan, D. Ramage, K. Talwar, L. Zhang: *Learning Differentially Private Recurrent Language Models*, ICLR 2018, Algorithm 1
//! (FlatClip). It bounds what any one region can do to the model, and what its update can tell; on its own it is no differential
//! privacy, for which the worker would have to add noise as well.
//!
//! Parameters: `{"norm": 1.0}`, the L2 norm, above 0; there is no default, as the right one is the model's. It keeps no state.

use polder_policy_sdk::release::{Answer, Question, Release, Treatment};
use polder_policy_sdk::{Error, export_release, figure, require};
use serde::Deserialize;

/// The policy; see the crate.
pub struct Clip;

/// What a region sets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Longest L2 norm that leaves.
    norm: f64,
}

impl Release for Clip {
    type Parameters = Parameters;

    fn check(parameters: Parameters) -> Result<(), Error> {
        let norm = parameters.norm;
        require(norm.is_finite() && norm > 0.0, "norm", norm, "above 0")
    }

    fn review(question: Question, parameters: Parameters) -> Result<Answer, Error> {
        let (is, allowed) = (question.update.norm, parameters.norm);
        let reason = if is > allowed {
            format!("norm {} is scaled down to {}", figure(is), figure(allowed))
        } else {
            format!("norm {} is within {}", figure(is), figure(allowed))
        };
        // also where it is within: the worker clips what it sends, whatever was measured
        Ok(Answer::release(Treatment::none().with_clip(allowed), reason))
    }
}

export_release!(Clip);

#[cfg(test)]
mod tests;
