//! How a round ends: once, with a reason.

use serde::{Deserialize, Serialize};

use super::{AggregateReceipt, Evaluation, Phase, Round, RoundEffect};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The model version rose by one.
    Committed { receipt: AggregateReceipt },
    /// An evaluation round brought these metrics.
    Evaluated { evaluation: Evaluation },
    /// The model stays as it was.
    Abandoned { reason: String },
}

impl Round {
    pub(super) fn abandon(&mut self, reason: String, effects: &mut Vec<RoundEffect>) {
        if self.staleness_max == 0 {
            self.cancel_active(&reason, effects);
        }
        self.note(reason.clone());
        let text = format!("round {} abandoned: {reason}", self.number);
        effects.push(RoundEffect::Announce { worker: None, kind: "round-abandoned", text });
        self.phase = Phase::Closed(Outcome::Abandoned { reason });
    }

    /// The receipt of the model that this round committed.
    #[must_use]
    pub fn committed(&self) -> Option<&AggregateReceipt> {
        match self.outcome() {
            Some(Outcome::Committed { receipt }) => Some(receipt),
            _ => None,
        }
    }

    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Closed(outcome) => Some(outcome),
            _ => None,
        }
    }
}
