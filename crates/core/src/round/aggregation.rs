//! Aggregation: updates become the next model. The shell does the work; the round decides what its end means.

use serde::{Deserialize, Serialize};

use super::{Outcome, Phase, Round, RoundEffect, RoundRefusal};
use crate::digest::Digest;
use crate::policy::{PolicyChoice, tidy_reason};
use crate::time::Timestamp;

/// The new model, stored, and how it came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregateReceipt {
    /// BLAKE3 of the new model's safetensors file.
    pub model: Digest,
    pub bytes: u64,
    /// The component that decided, by digest.
    pub policy: Digest,
    /// How much each update counted, in the cohort's order.
    pub weights: Vec<f32>,
    /// The policy's reason.
    pub reason: String,
    /// Empty, or why each update counted as it did, in the cohort's order.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the policy keeps for the next round.
    #[serde(default)]
    pub kept: Kept,
}

impl AggregateReceipt {
    /// A model from a policy that keeps nothing and has nothing to say about single updates.
    #[must_use]
    pub fn new(model: Digest, bytes: u64, policy: Digest, weights: Vec<f32>, reason: String) -> Self {
        Self { model, bytes, policy, weights, reason, notes: Vec::new(), kept: Kept::default() }
    }
}

/// What an aggregation policy keeps from round to round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its state tensors, each a file of the model's own layout; none before the first round, when all are zero.
    #[serde(default)]
    pub tensors: Vec<StateTensor>,
    /// What it returned as `state`.
    #[serde(default)]
    pub state: Vec<u8>,
}

/// A state tensor in the blob store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateTensor {
    pub digest: Digest,
    pub bytes: u64,
}

impl Round {
    pub(super) fn start_aggregation(&mut self, now: Timestamp, reason: String, effects: &mut Vec<RoundEffect>) {
        effects.push(RoundEffect::Announce { worker: None, kind: "reporting-closed", text: reason });
        self.phase = Phase::Aggregation { since: now };
        effects.push(RoundEffect::Aggregate);
    }

    pub(super) fn commit(
        &mut self,
        mut receipt: AggregateReceipt,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        let Phase::Aggregation { .. } = self.phase else { return Err(self.wrong_phase()) };
        if let Some(weight) = receipt.weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return Err(RoundRefusal::BadWeight { round: self.number, weight: weight.to_string() });
        }
        let (weights, updates) = (receipt.weights.len(), self.reported());
        if weights as u64 != u64::from(updates) {
            return self.aggregation_failed(format!("it gave {weights} weights for {updates} updates"), effects);
        }
        receipt.reason = tidy_reason(&receipt.reason);
        self.note(receipt.reason.clone());
        let text =
            format!("round {} committed model version {}: {}", self.number, self.base.version + 1, receipt.reason);
        effects.push(RoundEffect::Announce { worker: None, kind: "round-committed", text });
        self.phase = Phase::Closed(Outcome::Committed { receipt });
        Ok(())
    }

    /// The run's own policy failed: once more with the built-in. The built-in failed: the model stays as it was.
    pub(super) fn aggregation_failed(
        &mut self,
        reason: String,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        let Phase::Aggregation { .. } = self.phase else { return Err(self.wrong_phase()) };
        if self.aggregation == PolicyChoice::Builtin {
            self.abandon(format!("aggregation failed: {reason}"), effects);
            return Ok(());
        }
        let text = format!("aggregation by {} failed ({reason}); retried with the built-in policy", self.aggregation);
        self.note(text.clone());
        effects.push(RoundEffect::Announce { worker: None, kind: "policy-failed", text });
        self.aggregation = PolicyChoice::Builtin;
        effects.push(RoundEffect::Aggregate);
        Ok(())
    }
}
