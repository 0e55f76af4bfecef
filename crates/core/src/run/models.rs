//! Which models of a run are kept, and which blobs a run refers to.

use serde::{Deserialize, Serialize};

use super::Run;
use crate::digest::Digest;
use crate::id::RoundNumber;
use crate::policy::PolicyChoice;
use crate::round::{Evaluation, ModelVersion, Round};
use crate::spec::Metric;

/// Federated evaluations remembered, beside the best one.
pub(crate) const EVALUATIONS_MAX: usize = 1_000;

/// A model that a round committed, and that is still in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedModel {
    #[serde(flatten)]
    pub model: ModelVersion,
    pub round: RoundNumber,
}

impl Run {
    /// A model is in force that `round` committed.
    pub(super) fn commit(&mut self, model: ModelVersion, round: RoundNumber) {
        self.models.push(CommittedModel { model: model.clone(), round });
        self.model = model;
    }

    /// Remembers how the model `version` does, if that says anything new.
    pub(super) fn evaluated(&mut self, version: u64, evaluation: Evaluation) {
        self.evaluations.insert(version, evaluation);
        let best = self.best.and_then(|best| self.evaluations.get(&best));
        if best.is_none_or(|best| self.is_better(&evaluation, best)) {
            self.best = Some(version);
        }
        // The best one is looked at again with every other; any but that may go.
        let oldest = self.evaluations.keys().find(|version| Some(**version) != self.best).copied();
        if let Some(oldest) = oldest.filter(|_| self.evaluations.len() > EVALUATIONS_MAX) {
            self.evaluations.remove(&oldest);
        }
    }

    /// By what the run's target measures; without one by accuracy, and by loss among equals.
    fn is_better(&self, one: &Evaluation, other: &Evaluation) -> bool {
        match self.spec.target.map(|target| target.metric) {
            Some(Metric::Loss) => one.loss < other.loss,
            Some(Metric::Accuracy) => one.accuracy > other.accuracy,
            None => (one.accuracy, -one.loss) > (other.accuracy, -other.loss),
        }
    }

    /// Lets go of the oldest models beyond what the run keeps; gives their names.
    pub(super) fn retire(&mut self) -> Vec<Digest> {
        let kept_max = usize::try_from(self.spec.retention.models).unwrap_or(usize::MAX);
        let mut surplus = self.models.len().saturating_sub(kept_max);
        let mut retired = Vec::new();
        for committed in std::mem::take(&mut self.models) {
            if surplus > 0 && !self.is_needed(committed.model.version) {
                surplus -= 1;
                retired.push(committed.model.digest);
            } else {
                self.models.push(committed);
            }
        }
        retired
    }

    /// Whether a model stays whatever else is kept: the newest, the best, and any that somebody may still start from.
    fn is_needed(&self, version: u64) -> bool {
        let starts_from_it = |round: &Round| {
            let late = round.seats.values().filter_map(|seat| seat.carried);
            round.base.version == version || late.into_iter().any(|carried| carried.version == version)
        };
        version == self.model.version || self.best == Some(version) || self.round.as_ref().is_some_and(starts_from_it)
    }

    /// Whether the run still has the model `version`, if it ever had it.
    #[must_use]
    pub fn keeps(&self, version: u64) -> bool {
        version == 0 || self.models.iter().any(|committed| committed.model.version == version)
    }

    /// Every blob that the run may still need: models, state tensors, policies.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        let models = self.models.iter().map(|committed| committed.model.digest);
        let kept = self.kept.iter().flat_map(|kept| &kept.kept.tensors).map(|tensor| tensor.digest);
        let pinned = [&self.spec.placement, &self.spec.aggregation, &self.placement, &self.aggregation];
        let earlier = self.placed_by.all().chain(self.aggregated_by.all().map(|(policy, _)| policy));
        let policies = pinned.into_iter().chain(earlier).map(|policy| policy.digest);
        std::iter::once(self.spec.model.digest)
            .chain(models)
            .chain(kept)
            .chain(policies)
            .chain(self.round.iter().flat_map(blobs_of_round))
    }
}

fn blobs_of_round(round: &Round) -> impl Iterator<Item = Digest> + '_ {
    let policies = [&round.placement, &round.aggregation].into_iter().filter_map(|choice| match choice {
        PolicyChoice::Pinned(policy) => Some(policy.digest),
        PolicyChoice::Builtin => None,
    });
    let correction = round.control_variate.iter().map(|tensor| tensor.digest);
    std::iter::once(round.base.digest).chain(correction).chain(policies)
}
