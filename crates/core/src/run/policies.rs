//! The policies in force: what each finds of its last round, and what a failing one is followed by.

use serde::{Deserialize, Serialize};

use super::Run;
use crate::digest::Digest;
use crate::id::PolicyName;
use crate::policy::{AggregationTraits, Correction, PolicyChoice, PolicyRef};
use crate::round::{AggregateReceipt, Kept, Round, StateTensor};

/// The last two different policies of one kind that decided rounds of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Succession<T> {
    last: Option<T>,
    earlier: Option<T>,
}

impl<T> Default for Succession<T> {
    fn default() -> Self {
        Self { last: None, earlier: None }
    }
}

impl<T: Clone> Succession<T> {
    pub(super) fn decided(&mut self, by: T, is_same: impl Fn(&T) -> bool) {
        if !self.last.as_ref().is_some_and(is_same) {
            self.earlier = self.last.replace(by);
        }
    }

    /// Both of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.last.iter().chain(&self.earlier)
    }

    /// What decided before the one that failed. One that fails is forgotten, so that two that fail in turn end with none.
    pub(crate) fn before(&mut self, is_failed: impl Fn(&T) -> bool) -> Option<T> {
        if self.last.as_ref().is_some_and(is_failed) {
            self.last = self.earlier.take();
        }
        self.last.clone()
    }
}

/// What an aggregation policy keeps from round to round, and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptBy {
    pub policy: PolicyName,
    pub state_tensors: u32,
    pub kept: Kept,
}

impl Run {
    /// What `policy` finds of its last round in this run: its own, or what an older version of the same name and with as
    /// many state tensors kept. The built-in fallback finds nothing, and leaves nothing.
    #[must_use]
    pub fn kept_for(&self, policy: &PolicyChoice, traits: &AggregationTraits) -> Kept {
        match (policy, &self.kept) {
            (PolicyChoice::Pinned(policy), Some(KeptBy { policy: by, state_tensors, kept }))
                if policy.name == *by && traits.state_tensors == *state_tensors =>
            {
                kept.clone()
            }
            _ => Kept::default(),
        }
    }

    /// SCAFFOLD's `c` for the next round, if its policy wants it and has made one.
    pub(super) fn control_variate(&self) -> Option<StateTensor> {
        let Some(Correction::ControlVariates { state_tensor }) = self.traits.training.correction else { return None };
        let kept = self.kept_for(&PolicyChoice::Pinned(self.aggregation.clone()), &self.traits);
        kept.tensors.get(usize::try_from(state_tensor).ok()?).copied()
    }

    /// Remembers who committed `closed` and moves what it keeps from the receipt into the run. Gives the state tensors
    /// that it takes the place of.
    pub(super) fn keep(&mut self, closed: &Round, receipt: &mut AggregateReceipt) -> Vec<Digest> {
        let kept = std::mem::take(&mut receipt.kept);
        let PolicyChoice::Pinned(policy) = &closed.aggregation else {
            return kept.tensors.iter().map(|tensor| tensor.digest).collect();
        };
        let superseded = self.forget_kept();
        self.kept = Some(KeptBy { policy: policy.name.clone(), state_tensors: closed.traits.state_tensors, kept });
        let by = (policy.clone(), closed.traits.clone());
        self.aggregated_by.decided(by, |(last, _)| last.decides_like(policy));
        superseded
    }

    /// No policy will ask for its state again; gives its tensors.
    pub(super) fn forget_kept(&mut self) -> Vec<Digest> {
        let kept = self.kept.take().map(|kept| kept.kept.tensors).unwrap_or_default();
        kept.iter().map(|tensor| tensor.digest).collect()
    }

    /// A placement policy chose a cohort: it is what a later one that fails goes back to.
    pub(crate) fn placed(&mut self, by: &PolicyRef) {
        self.placed_by.decided(by.clone(), |last| last.decides_like(by));
    }
}
