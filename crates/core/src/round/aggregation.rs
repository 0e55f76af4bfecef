//! Aggregation: updates become the next model. The shell does the work; the round decides what its end means.

use serde::{Deserialize, Serialize};

use super::{Outcome, Phase, Round, RoundEffect, RoundRefusal, SeatState, Terms};
use crate::digest::Digest;
use crate::id::WorkerName;
use crate::policy::{PolicyChoice, PolicyKind, STATE_BYTES_MAX, tidy_reason};
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

    pub(super) fn aggregation_waits_for(&self) -> String {
        let again = match self.aggregation_failures {
            0 => String::new(),
            failures => format!(", asked again after {failures} failures"),
        };
        format!("the aggregation of {} updates by {}{again}", self.reported(), self.aggregation)
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
        if let Err(problem) = self.check_receipt(&receipt) {
            self.policy_failed(PolicyKind::Aggregation, &problem, effects);
            return Ok(());
        }
        receipt.notes = receipt.notes.iter().map(|note| tidy_reason(note)).collect();
        receipt.reason = tidy_reason(&receipt.reason);
        self.note(receipt.reason.clone());
        let by = match &self.aggregation {
            PolicyChoice::Pinned(policy) => policy.to_string(),
            PolicyChoice::Builtin => format!("{} ({})", self.aggregation, receipt.policy.short()),
        };
        let (number, version) = (self.number, self.base.version + 1);
        let text = format!("round {number} committed model version {version}, aggregated by {by}: {}", receipt.reason);
        effects.push(RoundEffect::Announce { worker: None, kind: "round-committed", text });
        self.phase = Phase::Closed(Outcome::Committed { receipt });
        Ok(())
    }

    /// Whether the policy kept to what a round of this many updates, and its own traits, allow.
    fn check_receipt(&self, receipt: &AggregateReceipt) -> Result<(), String> {
        let AggregateReceipt { weights, notes, kept, .. } = receipt;
        let (weights, notes, updates) = (weights.len() as u64, notes.len() as u64, u64::from(self.reported()));
        if weights != updates {
            return Err(format!("it gave {weights} weights for {updates} updates"));
        }
        if notes != 0 && notes != updates {
            return Err(format!("it gave {notes} notes for {updates} updates"));
        }
        let PolicyChoice::Pinned(_) = self.aggregation else { return Ok(()) };
        let (tensors, promised) = (kept.tensors.len() as u64, u64::from(self.traits.state_tensors));
        if tensors != 0 && tensors != promised {
            return Err(format!("it keeps {tensors} state tensors and said {promised}"));
        }
        if kept.state.len() > STATE_BYTES_MAX {
            return Err(format!("its state has {} bytes; at most {STATE_BYTES_MAX} are kept", kept.state.len()));
        }
        Ok(())
    }

    /// The rest is aggregated without the update of `worker`, if it is still a quorum.
    pub(super) fn lose_update(
        &mut self,
        terms: &Terms,
        worker: WorkerName,
        reason: &str,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        let Phase::Aggregation { .. } = self.phase else { return Err(self.wrong_phase()) };
        let round = self.number;
        let seat = self.seat(&worker)?;
        if seat.receipt().is_none() {
            return Err(RoundRefusal::NothingNew { worker, round });
        }
        self.seats.set_state(&worker, SeatState::Failed { reason: format!("its update was lost: {reason}") });
        let text = format!("the update of {worker} was lost: {reason}");
        self.note(text.clone());
        effects.push(RoundEffect::Announce { worker: Some(worker), kind: "update-lost", text });
        let (left, quorum) = (self.reported(), terms.quorum);
        if left >= quorum {
            effects.push(RoundEffect::Aggregate);
        } else {
            self.abandon(format!("{left} of {quorum} updates that a quorum needs are left"), effects);
        }
        Ok(())
    }

    pub(super) fn aggregation_failed(
        &mut self,
        reason: &str,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        let Phase::Aggregation { .. } = self.phase else { return Err(self.wrong_phase()) };
        self.policy_failed(PolicyKind::Aggregation, reason, effects);
        Ok(())
    }
}
