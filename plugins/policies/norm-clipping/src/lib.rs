//! Norm clipping: no update counts for more than a given length.
//!
//! Z. Sun, P. Kairouz, A. T. Suresh, H. B. McMahan: *Can You Really Backdoor Federated Learning?*, 2019, section 4, norm thresholding:
//! `w = w + Σ p_k Δ_k / max(1, |Δ_k| / M)` with the shares `p_k` of the mean. M is `threshold`, or else follows the median of the updates'
//! norms: the round's own, or with `smoothing` a mean over the rounds in which the past counts that much. What lasts from round to round
//! is M, as policy state.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, StatisticsWanted, Traits};
use polder_policy_sdk::{Error, export_aggregation, figure, geometry, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct NormClipping;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The paper's M, above 0; none: follows the median norm.
    threshold: Option<f64>,
    /// Without `threshold`: how much the last round's counts for the next one's, at least 0 and below 1; `0`.
    smoothing: f64,
    /// Whether an update counts by its training examples (as in the paper) or all count the same; `true`.
    weighted: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { threshold: None, smoothing: 0.0, weighted: true }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        let threshold = self.threshold.unwrap_or(1.0);
        require(threshold > 0.0, "threshold", threshold, "above 0")?;
        require((0.0..1.0).contains(&self.smoothing), "smoothing", self.smoothing, "at least 0 and below 1")
    }

    fn threshold(&self, norms: &[f64], state: &[u8]) -> f64 {
        if let Some(threshold) = self.threshold {
            return threshold;
        }
        let median = geometry::median(&mut norms.to_vec());
        match <[u8; 8]>::try_from(state).map(f64::from_le_bytes) {
            Ok(last) if last.is_finite() && last >= 0.0 => self.smoothing * last + (1.0 - self.smoothing) * median,
            _ => median,
        }
    }
}

impl Aggregation for NormClipping {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::geometry(StatisticsWanted::NORMS))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let norms = &question.statistics.norms;
        let shares = weights::shares(&question.updates, parameters.weighted)?;
        if norms.len() != shares.len() {
            return Err(Error::Question("the updates' norms are missing".into()));
        }
        let threshold = parameters.threshold(norms, &question.state);
        let factor = |&norm: &f64| if norm > threshold { threshold / norm } else { 1.0 };
        let factors: Vec<f64> = norms.iter().map(factor).collect();
        let weights = shares.iter().zip(&factors).map(|(share, factor)| (share * factor) as f32).collect();
        let clipped = factors.iter().filter(|&&factor| factor < 1.0).count();
        let note = |(norm, factor): (&f64, &f64)| match *factor {
            1.0 => String::new(),
            factor => format!("norm {}, clipped to {} of it", figure(*norm), figure(factor)),
        };
        let notes = norms.iter().zip(&factors).map(note).collect();
        let reason = format!(
            "{}, {clipped} of them clipped to norm {}",
            weights::mean_in_words(&question.updates, parameters.weighted),
            figure(threshold)
        );
        Ok(Plan::new(weights, reason).with_notes(notes).with_state(threshold.to_le_bytes().to_vec()))
    }
}

export_aggregation!(NormClipping);
