//! One worker's place in a round's cohort.

use serde::{Deserialize, Serialize};

use super::Carried;
use crate::digest::Digest;
use crate::id::WorkerName;
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seat {
    pub gpu: Option<u32>,
    /// Why the placement policy chose this worker.
    pub reason: String,
    pub assigned_at: Timestamp,
    /// Where it comes from, if it was assigned in an earlier round.
    pub carried: Option<Carried>,
    /// Whose place it took, who had given it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<WorkerName>,
    pub state: SeatState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SeatState {
    /// Asked, no answer yet.
    Assigned,
    /// The worker is at it.
    Accepted,
    /// Its update is in the spool.
    Reported { receipt: UpdateReceipt },
    /// Its metrics are in.
    Evaluated { evaluation: Evaluation },
    /// The region would not.
    Declined { reason: String },
    /// The trainer failed.
    Failed { reason: String },
    /// The worker went missing; its update still counts if it comes back in time.
    Lost { reason: String },
    /// The round closed without it.
    Straggled,
    /// Its update came during aggregation, and counts in the next round.
    Held { receipt: UpdateReceipt },
    /// The round closed without it, and a later one waits for it.
    CarriedOver,
}

impl SeatState {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Reported { .. } => "reported",
            Self::Evaluated { .. } => "evaluated",
            Self::Declined { .. } => "declined",
            Self::Failed { .. } => "failed",
            Self::Lost { .. } => "lost",
            Self::Straggled => "straggled",
            Self::Held { .. } => "held",
            Self::CarriedOver => "carried-over",
        }
    }
}

/// An update that was checked and lies in the spool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateReceipt {
    /// BLAKE3 of the update's safetensors file.
    pub update: Digest,
    pub bytes: u64,
    /// Training examples behind it.
    pub examples: u64,
    /// Mean training loss of the last local epoch.
    pub loss: Option<f64>,
    /// Training accuracy of the last local epoch, 0 to 1.
    pub accuracy: Option<f64>,
    /// How the model the worker started from does on the region's held-out rows.
    pub evaluation: Option<Evaluation>,
    /// Mean loss of the model the worker started from over its training rows, if the aggregation policy asked for it.
    #[serde(default)]
    pub base_loss: Option<f64>,
    /// Local optimizer steps, if the trainer counts them.
    #[serde(default)]
    pub steps: Option<u64>,
    /// The L1 norm of `FedNova`'s vector a, in units of the learning rate.
    #[serde(default)]
    pub normalizer: Option<f64>,
    /// The local learning rate, where the optimizer has one for all parameters.
    #[serde(default)]
    pub learning_rate: Option<f64>,
}

/// Largest base loss, learning rate or normalizer taken from a worker: weights are made of them, and one worker's absurd figure
/// must not make a weight that is no float32, which would fail the round for all.
const FIGURE_MAX: f64 = 1e12;

impl UpdateReceipt {
    /// An update with nothing said about it but its size.
    #[must_use]
    pub fn new(update: Digest, bytes: u64, examples: u64) -> Self {
        Self {
            update,
            bytes,
            examples,
            loss: None,
            accuracy: None,
            evaluation: None,
            base_loss: None,
            steps: None,
            normalizer: None,
            learning_rate: None,
        }
    }

    /// Holds a peer's claims to what can be true.
    pub fn check(&self) -> Result<(), String> {
        if self.examples == 0 {
            return Err("examples is 0; an update needs at least one training example".into());
        }
        for (name, value, max) in [("loss", self.loss, f64::from(f32::MAX)), ("base_loss", self.base_loss, FIGURE_MAX)]
        {
            if let Some(value) = value.filter(|value| !(-max..=max).contains(value)) {
                return Err(format!("{name} is {value}; it must be a finite number within ±{max:e}"));
            }
        }
        if let Some(accuracy) = self.accuracy.filter(|accuracy| !(0.0..=1.0).contains(accuracy)) {
            return Err(format!("accuracy is {accuracy}; it must be a number within 0 and 1"));
        }
        for (name, value) in [("normalizer", self.normalizer), ("learning_rate", self.learning_rate)] {
            if let Some(value) = value.filter(|value| !(1.0 / FIGURE_MAX..=FIGURE_MAX).contains(value)) {
                return Err(format!("{name} is {value}; it must be within {:e} and {FIGURE_MAX:e}", 1.0 / FIGURE_MAX));
            }
        }
        if self.steps == Some(0) {
            return Err("steps is 0; an update needs at least one local step".into());
        }
        self.evaluation.as_ref().map_or(Ok(()), Evaluation::check)
    }
}

/// How a model does on held-out rows: means over `examples`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub examples: u64,
    pub loss: f64,
    /// Share of rows classified rightly, 0 to 1.
    pub accuracy: f64,
}

impl Evaluation {
    /// Holds a peer's claims to what can be true.
    pub fn check(&self) -> Result<(), String> {
        if self.examples == 0 {
            return Err("evaluation.examples is 0".into());
        }
        // Float32's range leaves room for sums of losses times examples.
        let is_loss = self.loss.abs() <= f64::from(f32::MAX);
        if !is_loss || !(0.0..=1.0).contains(&self.accuracy) {
            return Err(format!(
                "evaluation has loss {} and accuracy {}; loss must be a finite float32 and accuracy within 0 to 1",
                self.loss, self.accuracy
            ));
        }
        Ok(())
    }

    /// The mean over all of `parts`, weighted by their examples; none if there are none.
    #[must_use]
    pub fn combine<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let (mut examples, mut total, mut loss, mut accuracy) = (0_u64, 0.0, 0.0, 0.0);
        for part in parts {
            let weight = part.examples as f64;
            examples = examples.saturating_add(part.examples);
            total += weight;
            loss += part.loss * weight;
            accuracy += part.accuracy * weight;
        }
        (examples > 0).then(|| Self { examples, loss: loss / total, accuracy: accuracy / total })
    }
}

impl Seat {
    /// A seat that is about to be given; the round fills in when.
    #[must_use]
    pub fn new(gpu: Option<u32>, reason: String) -> Self {
        Self {
            gpu,
            reason,
            assigned_at: Timestamp::default(),
            carried: None,
            replaces: None,
            state: SeatState::Assigned,
        }
    }

    /// It may still report, and it occupies a slot of its worker.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.state, SeatState::Assigned | SeatState::Accepted)
    }

    #[must_use]
    pub fn has_reported(&self) -> bool {
        matches!(self.state, SeatState::Reported { .. } | SeatState::Evaluated { .. })
    }

    #[must_use]
    pub fn receipt(&self) -> Option<&UpdateReceipt> {
        match &self.state {
            SeatState::Reported { receipt } => Some(receipt),
            _ => None,
        }
    }

    /// The update that the worker was told is taken, whether it has been counted or not.
    #[must_use]
    pub fn update(&self) -> Option<Digest> {
        match &self.state {
            SeatState::Reported { receipt } | SeatState::Held { receipt } => Some(receipt.update),
            _ => None,
        }
    }

    /// Its worker gave it up, or was given up.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        matches!(self.state, SeatState::Declined { .. } | SeatState::Failed { .. } | SeatState::Lost { .. })
    }

    /// It was carried over and came to nothing: its worker may be chosen anew.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        let gave_up =
            matches!(self.state, SeatState::Declined { .. } | SeatState::Failed { .. } | SeatState::Straggled);
        self.carried.is_some() && gave_up
    }

    #[must_use]
    pub fn evaluation(&self) -> Option<&Evaluation> {
        match &self.state {
            SeatState::Evaluated { evaluation } => Some(evaluation),
            SeatState::Reported { receipt } => receipt.evaluation.as_ref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_weights_are_made_of_is_held_to_bounds() {
        let receipt = || UpdateReceipt::new(Digest::blake3([1; 32]), 4, 10);
        let fine = UpdateReceipt {
            base_loss: Some(2.3),
            steps: Some(30),
            normalizer: Some(30.0),
            learning_rate: Some(0.1),
            ..receipt()
        };
        assert_eq!(fine.check(), Ok(()));
        let bad = [
            ("loss", UpdateReceipt { loss: Some(f64::NAN), ..receipt() }),
            ("loss", UpdateReceipt { loss: Some(1e308), ..receipt() }),
            ("accuracy", UpdateReceipt { accuracy: Some(1.5), ..receipt() }),
            ("base_loss", UpdateReceipt { base_loss: Some(f64::MAX), ..receipt() }),
            ("base_loss", UpdateReceipt { base_loss: Some(f64::NAN), ..receipt() }),
            ("normalizer", UpdateReceipt { normalizer: Some(f64::MAX), ..receipt() }),
            ("normalizer", UpdateReceipt { normalizer: Some(0.0), ..receipt() }),
            ("learning_rate", UpdateReceipt { learning_rate: Some(-0.1), ..receipt() }),
            ("steps", UpdateReceipt { steps: Some(0), ..receipt() }),
            ("examples", UpdateReceipt { examples: 0, ..receipt() }),
        ];
        for (name, receipt) in bad {
            let problem = receipt.check().unwrap_err();
            assert!(problem.starts_with(&format!("{name} is ")), "{problem}");
        }
    }
}
