//! `run.toml`: what a user writes to describe a run, and what comes of it.
//!
//! Two steps: [`raw`] is what people wrote, [`checked`] makes of it a [`RunFile`] that may run, or a [`Fault`] that says
//! which key, which line and column, what it holds and what is allowed. [`keys`] lists every key.

mod checked;
mod fault;
pub mod keys;
mod raw;
mod source;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use polder_core::policy::{OnFailure, PolicyRef};
use polder_core::spec::{
    CohortSpec, Deadlines, EvaluationSpec, ModelSpec, RetentionSpec, RunSpec, Target, TrainerSpec,
};
use polder_tensor::{NotFinite, Parameters, ParametersError};
use polder_train::{Architecture, ArchitectureError};

use crate::called::Called;

pub use fault::{Fault, Place, RunFileError};
pub use source::{Override, OverrideError};

/// Largest run file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A run file that was read and checked as far as that goes without a coordinator.
#[derive(Clone, Debug, PartialEq)]
pub struct RunFile {
    pub name: String,
    pub dataset: String,
    pub seed: u64,
    pub rounds: u32,
    pub model: ModelPlan,
    pub trainer: TrainerSpec,
    pub cohort: CohortSpec,
    pub deadlines: Deadlines,
    pub evaluation: Option<EvaluationSpec>,
    pub target: Option<Target>,
    pub retention: RetentionSpec,
    pub placement: PolicyPlan,
    pub aggregation: PolicyPlan,
}

/// Where a run's first model comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelPlan {
    pub architecture: Architecture,
    /// Parameters to start from, random ones if none.
    pub file: Option<PathBuf>,
}

/// A policy that is not yet pinned: its digest is known once the coordinator was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPlan {
    pub source: PolicySource,
    /// Without a version: the newest one; of a policy that is pushed first, the next one.
    pub called: Called,
    /// One JSON object, as text.
    pub parameters: String,
    pub on_failure: OnFailure,
}

impl PolicyPlan {
    /// A policy that the coordinator has, without parameters.
    #[must_use]
    pub fn of_coordinator(called: Called) -> Self {
        let (parameters, on_failure) = ("{}".into(), OnFailure::default());
        Self { source: PolicySource::Coordinator, called, parameters, on_failure }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// The coordinator has it under its name.
    Coordinator,
    /// It is pushed from this file first.
    File(PathBuf),
}

/// Why there is no first model.
#[derive(Debug, thiserror::Error)]
pub enum FirstModelError {
    #[error("the model cannot be made")]
    Architecture(#[from] ArchitectureError),
    #[error("cannot read the model `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` is no model", path.display())]
    NotAModel { path: PathBuf, source: ParametersError },
    #[error("`{}` cannot be a start", path.display())]
    NotFinite { path: PathBuf, source: NotFinite },
    #[error("`{}` is another model than [model] describes: {difference}", path.display())]
    Different { path: PathBuf, difference: String },
}

impl RunFile {
    /// Reads and checks the file at `path`, with `overrides` in place of what it says. Paths in it start from its own
    /// directory.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, RunFileError> {
        let read = |source| RunFileError::Read { path: path.into(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(read)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(read)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(RunFileError::TooLarge { path: path.into(), limit: FILE_BYTES_MAX });
        }
        let text = String::from_utf8(bytes).map_err(|_| RunFileError::NotText { path: path.into() })?;
        Self::parse(path, &text, overrides).map_err(|fault| RunFileError::Fault(Box::new(fault)))
    }

    /// The same for a text that was read already; `path` stands in errors.
    pub fn parse(path: &Path, text: &str, overrides: &[Override]) -> Result<Self, Fault> {
        let source = source::Source::parse(path, text, overrides)?;
        checked::check(&source, source.read()?)
    }

    /// The run to submit, once model and policies have their digests.
    #[must_use]
    pub fn spec(&self, model: ModelSpec, placement: PolicyRef, aggregation: PolicyRef) -> RunSpec {
        RunSpec {
            name: self.name.clone(),
            model,
            dataset: self.dataset.clone(),
            trainer: self.trainer.clone(),
            rounds: self.rounds,
            cohort: self.cohort,
            deadlines: self.deadlines,
            evaluation: self.evaluation,
            target: self.target,
            retention: self.retention,
            placement,
            aggregation,
            seed: self.seed,
        }
    }
}

impl ModelPlan {
    /// The parameters to start from: those of the file, else random ones by `seed`.
    pub fn initial(&self, seed: u64) -> Result<Parameters, FirstModelError> {
        let Some(path) = &self.file else { return Ok(self.architecture.initial(seed)?) };
        let expected = self.architecture.layout()?;
        let read = |source| FirstModelError::Read { path: path.clone(), source };
        let file = File::open(path).map_err(read)?;
        let bytes = file.metadata().map_err(read)?.len();
        let parameters = Parameters::read(&mut BufReader::new(file), bytes)
            .map_err(|source| FirstModelError::NotAModel { path: path.clone(), source })?;
        if let Some(difference) = expected.difference(parameters.layout()) {
            return Err(FirstModelError::Different { path: path.clone(), difference });
        }
        parameters.check_finite().map_err(|source| FirstModelError::NotFinite { path: path.clone(), source })?;
        Ok(parameters)
    }
}

/// What a submitted run says of its first model.
#[must_use]
pub fn model_spec(parameters: &Parameters) -> ModelSpec {
    let layout = parameters.layout();
    ModelSpec { digest: parameters.digest(), bytes: layout.file_bytes(), parameters: layout.parameter_count() }
}

#[cfg(test)]
mod tests;
