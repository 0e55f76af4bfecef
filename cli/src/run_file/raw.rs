//! `run.toml` as people write it: every key optional, so that what is missing is said in one way, by [`super::checked`].

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRun {
    pub(super) name: Option<String>,
    pub(super) data: Option<String>,
    pub(super) seed: Option<u64>,
    pub(super) rounds: Option<u32>,
    pub(super) model: RawModel,
    pub(super) train: RawTrain,
    pub(super) trainer: RawTrainer,
    pub(super) cohort: RawCohort,
    pub(super) deadlines: RawDeadlines,
    pub(super) evaluation: Option<RawEvaluation>,
    pub(super) target: Option<RawTarget>,
    pub(super) retention: RawRetention,
    pub(super) policy: RawPolicies,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawModel {
    pub(super) kind: Option<String>,
    pub(super) inputs: Option<usize>,
    pub(super) classes: Option<usize>,
    pub(super) hidden: Option<Vec<usize>>,
    pub(super) height: Option<usize>,
    pub(super) width: Option<usize>,
    pub(super) channels: Option<usize>,
    pub(super) file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTrain {
    pub(super) epochs: Option<u32>,
    pub(super) batch_size: Option<usize>,
    pub(super) learning_rate: Option<f64>,
    pub(super) optimizer: Option<String>,
    pub(super) momentum: Option<f64>,
    pub(super) weight_decay: Option<f64>,
    pub(super) betas: Option<[f64; 2]>,
    pub(super) eps: Option<f64>,
    pub(super) proximal_mu: Option<f64>,
    pub(super) retries: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTrainer {
    pub(super) kind: Option<String>,
    pub(super) settings: Option<toml::Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCohort {
    pub(super) size: Option<u32>,
    pub(super) over_selection: Option<u32>,
    pub(super) quorum: Option<u32>,
    pub(super) staleness_max: Option<u32>,
    pub(super) standbys: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDeadlines {
    pub(super) selection: Option<String>,
    pub(super) round: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEvaluation {
    pub(super) holdout: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTarget {
    pub(super) metric: Option<String>,
    pub(super) value: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRetention {
    pub(super) models: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPolicies {
    pub(super) on_failure: Option<String>,
    pub(super) placement: RawPolicy,
    pub(super) aggregation: RawPolicy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPolicy {
    pub(super) name: Option<String>,
    pub(super) file: Option<String>,
    pub(super) parameters: Option<toml::Table>,
    pub(super) on_failure: Option<String>,
}
