//! What a user asked for: one run, pinned in every part that could change its result.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::RunId;
use crate::policy::PolicyRef;

/// Most rounds a run may ask for.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// Largest cohort, over-selection included.
pub const COHORT_MAX: u32 = 100_000;
/// Most model versions that an update may be behind.
pub const STALENESS_MAX: u32 = 64;
/// Most workers that may stand in for one seat, one after the other.
pub const STANDBYS_MAX: u32 = 16;
/// Longest deadline, in milliseconds: a week.
pub const DEADLINE_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// Largest trainer settings, in bytes of JSON.
pub const TRAINER_SETTINGS_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of trainer settings: far below what JSON readers refuse, as the journal nests them deeper still.
pub const TRAINER_SETTINGS_DEPTH_MAX: usize = 16;

/// A run as it is submitted. Everything that decides its result is here or named here by digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// What the user calls it; the run's id starts with it.
    pub name: String,
    /// The first model: a safetensors file already in the coordinator's blob store.
    pub model: ModelSpec,
    /// The data set's name, as workers offer it (`polder worker start --data NAME=PATH`).
    pub dataset: String,
    pub trainer: TrainerSpec,
    /// Rounds to commit.
    pub rounds: u32,
    pub cohort: CohortSpec,
    pub deadlines: Deadlines,
    /// Federated evaluation on held-out rows; none turns it off.
    #[serde(default)]
    pub evaluation: Option<EvaluationSpec>,
    /// Stop early once federated evaluation reaches this.
    #[serde(default)]
    pub target: Option<Target>,
    #[serde(default = "RetentionSpec::everything")]
    pub retention: RetentionSpec,
    pub placement: PolicyRef,
    pub aggregation: PolicyRef,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// BLAKE3 of the whole safetensors file.
    pub digest: Digest,
    pub bytes: u64,
    /// Float32 values in it.
    pub parameters: u64,
}

/// Which trainer, and its settings: opaque here, checked by whoever submits and by the worker that trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerSpec {
    pub kind: String,
    pub settings: serde_json::Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortSpec {
    /// Updates a round wants.
    pub size: u32,
    /// Workers asked beyond `size`; the round closes when `size` have reported.
    #[serde(default)]
    pub over_selection: u32,
    /// Fewest updates that make a round count.
    pub quorum: u32,
    /// Model versions that an update may be behind and still count. With 0 a round that closes cancels whoever has not
    /// reported; with more they go on, and their updates count in the rounds that follow (`FedBuff`).
    #[serde(default)]
    pub staleness_max: u32,
    /// Workers that may stand in for one seat, one after the other, when a worker is lost, declines or fails before a quorum has
    /// reported. With 0 nobody stands in until too few are left for a quorum; so it was before 0.2.0.
    #[serde(default)]
    pub standbys: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// Once a quorum of workers is free, how long to wait for a full cohort.
    pub selection_ms: u64,
    /// From the first assignment to the last update accepted.
    pub round_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// Share of each region's rows kept from training and used for evaluation, above 0 and below 1.
    pub holdout: f64,
}

/// What is kept of a run that nobody needs to go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSpec {
    /// Committed models, the newest ones. The submitted model, the newest, the best evaluated one and those that somebody
    /// may still start from are kept whatever this says.
    pub models: u32,
}

impl RetentionSpec {
    /// Of a run that was submitted before there was a rule: nothing of it is removed.
    #[must_use]
    pub fn everything() -> Self {
        Self { models: ROUNDS_MAX }
    }
}

impl Default for RetentionSpec {
    fn default() -> Self {
        Self { models: 10 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub metric: Metric,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Reached when accuracy is at least the value.
    Accuracy,
    /// Reached when loss is at most the value.
    Loss,
}

/// Why a run cannot be accepted: the key, what it holds and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {found}; {allowed}")]
pub struct SpecError {
    pub key: &'static str,
    pub found: String,
    pub allowed: String,
}

/// How deeply arrays and objects are nested; the reader that made the value has bounded it already.
fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

impl RunSpec {
    /// Checks everything that needs no look outside the spec.
    pub fn check(&self) -> Result<(), SpecError> {
        let refuse = |key, found: &dyn std::fmt::Display, allowed: &str| {
            let found: String = found.to_string().chars().take(80).collect();
            Err(SpecError { key, found, allowed: allowed.into() })
        };
        let CohortSpec { size, over_selection, quorum, staleness_max, standbys } = self.cohort;
        if self.name.len() > 40 || RunId::new(&self.name).is_err() {
            return refuse(
                "name",
                &self.name,
                "use 1 to 40 of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit",
            );
        }
        if RunId::new(&self.dataset).is_err() {
            return refuse("data", &self.dataset, "use 1 to 63 of a-z, 0-9, `-`, `_` and `.`");
        }
        if self.rounds == 0 || self.rounds > ROUNDS_MAX {
            return refuse("rounds", &self.rounds, &format!("use 1 to {ROUNDS_MAX}"));
        }
        if size == 0 || size.saturating_add(over_selection) > COHORT_MAX {
            return refuse("cohort.size", &size, &format!("size and over_selection together may be 1 to {COHORT_MAX}"));
        }
        if quorum == 0 || quorum > size {
            return refuse("cohort.quorum", &quorum, &format!("use 1 to the cohort's size, {size}"));
        }
        if staleness_max > STALENESS_MAX {
            return refuse("cohort.staleness_max", &staleness_max, &format!("use 0 to {STALENESS_MAX}"));
        }
        if standbys > STANDBYS_MAX {
            return refuse("cohort.standbys", &standbys, &format!("use 0 to {STANDBYS_MAX}"));
        }
        for (key, ms) in
            [("deadlines.selection_ms", self.deadlines.selection_ms), ("deadlines.round_ms", self.deadlines.round_ms)]
        {
            if ms > DEADLINE_MS_MAX || (ms == 0 && key == "deadlines.round_ms") {
                return refuse(key, &ms, &format!("use 1 to {DEADLINE_MS_MAX} milliseconds"));
            }
        }
        if let Some(EvaluationSpec { holdout }) = self.evaluation
            && !(holdout > 0.0 && holdout < 1.0)
        {
            return refuse("evaluation.holdout", &holdout, "use a share above 0 and below 1");
        }
        if let Some(target) = self.target {
            if self.evaluation.is_none() {
                return refuse("target", &"set without `evaluation.holdout`", "a target needs federated evaluation");
            }
            if !target.value.is_finite() {
                return refuse("target.value", &target.value, "use a finite number");
            }
        }
        if self.retention.models == 0 || self.retention.models > ROUNDS_MAX {
            return refuse("retention.models", &self.retention.models, &format!("use 1 to {ROUNDS_MAX}"));
        }
        if self.model.parameters == 0 {
            return refuse("model", &"empty", "a model needs at least one parameter");
        }
        if depth(&self.trainer.settings) > TRAINER_SETTINGS_DEPTH_MAX {
            let allowed = format!("nest its settings {TRAINER_SETTINGS_DEPTH_MAX} deep at most");
            return refuse("trainer", &"nested too deeply", &allowed);
        }
        let settings = self.trainer.settings.to_string().len();
        if settings > TRAINER_SETTINGS_BYTES_MAX {
            return refuse("trainer", &format!("{settings} bytes"), "keep its settings under 64 KiB");
        }
        Ok(())
    }

    /// Workers asked in a round.
    #[must_use]
    pub fn seats(&self) -> u32 {
        self.cohort.size.saturating_add(self.cohort.over_selection)
    }
}
