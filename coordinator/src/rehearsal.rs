//! The pipeline on made-up files, for those who measure it: `polder bench aggregation`, and `cargo bench`.
//!
//! Everything is measured beside what it can be held against: reading the same bytes on the same threads, the same
//! arithmetic natively, and whole-vector arithmetic on one thread as NumPy does it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polder_core::policy::{AggregationPlan, AggregationQuestion, AggregationTraits, UpdateSummary};
use polder_core::{AssignmentId, Digest, RunId, WorkerName};
use polder_policy::{Policy, PolicyError, PolicyHost, builtin_named};
use polder_tensor::{Layout, Parameters, ParametersError, TensorSpec, reference};

use crate::aggregation::partial::{self, Part};
use crate::aggregation::{AggregationError, Job, PolicyCall, aggregate, statistics};
use crate::spool::SpooledUpdate;
use crate::store::{Store, StoreConfig, StoreError};

mod chunks;

pub use chunks::{Columns, Steps};

/// Tensors that the parameters are spread over, as those of a model are.
const TENSORS: usize = 8;
/// Where a rehearsal leaves its model's digest for [`Rehearsal::open`].
const BASE_FILE: &str = "base";

/// Why a rehearsal broke off.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    #[error("there is no built-in policy `{name}`")]
    NoPolicy { name: String },
    #[error("`{}` cannot be used", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("`{}` is no digest", path.display())]
    Digest { path: PathBuf },
    #[error("the model cannot be made")]
    Layout(#[from] polder_tensor::LayoutError),
    #[error("a file cannot be read back")]
    Parameters(#[from] ParametersError),
    #[error(transparent)]
    Name(#[from] polder_core::id::NameError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Aggregation(#[from] AggregationError),
}

/// One of our policies, with parameters.
#[derive(Clone, Debug)]
pub struct Choice {
    pub policy: Policy,
    pub traits: AggregationTraits,
    parameters: String,
}

impl Choice {
    /// The built-in policy `name` with these parameters, a JSON object.
    pub fn of(host: &PolicyHost, name: &str, parameters: &str) -> Result<Self, RehearsalError> {
        let builtin = builtin_named(name, None).ok_or_else(|| RehearsalError::NoPolicy { name: name.into() })?;
        let policy = host.load(builtin.bytes)?;
        let traits = host.describe(&policy, parameters)?;
        Ok(Self { policy, traits, parameters: parameters.into() })
    }
}

/// One round's files: a model and its updates.
pub struct Rehearsal {
    store: Store,
    layout: Arc<Layout>,
    base: Digest,
    updates: Vec<SpooledUpdate>,
}

impl Rehearsal {
    /// Makes a model of so many parameters in `dir`, and `files` updates, which stand for `updates` in turn.
    pub async fn make(dir: &Path, updates: usize, files: usize, parameters: usize) -> Result<Self, RehearsalError> {
        let layout = layout(parameters)?;
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes).map_err(|source| RehearsalError::File { path, source })
        };
        let values = |file: usize| Parameters::new(layout.clone(), values(file, parameters));
        {
            let store = Store::open(&StoreConfig::local(dir.join("state"))).await?;
            let mut writer = store.blobs().writer()?;
            writer.write(&values(0)?.to_safetensors())?;
            let (base, _) = writer.finish()?;
            write(dir.join(BASE_FILE), base.to_string().as_bytes())?;
        }
        for file in 1..=files {
            write(update_path(dir, file), &values(file)?.to_safetensors())?;
        }
        Self::open(dir, updates, files, parameters).await
    }

    /// Takes up what [`make`](Self::make) made in `dir`.
    pub async fn open(dir: &Path, updates: usize, files: usize, parameters: usize) -> Result<Self, RehearsalError> {
        let store = Store::open(&StoreConfig::local(dir.join("state"))).await?;
        let path = dir.join(BASE_FILE);
        let base = fs::read_to_string(&path).map_err(|source| RehearsalError::File { path: path.clone(), source })?;
        let base: Digest = base.parse().map_err(|_| RehearsalError::Digest { path })?;
        let layout = layout(parameters)?;
        let run = RunId::new("rehearsal")?;
        let spooled = |at: usize| {
            let worker = WorkerName::new(format!("worker-{at}"))?;
            let assignment = AssignmentId { run: run.clone(), round: 1, worker };
            let path = update_path(dir, at % files + 1);
            // Nothing here asks for an update's digest.
            Ok::<_, RehearsalError>(SpooledUpdate { assignment, digest: base, path, bytes: layout.file_bytes() })
        };
        let updates = (0..updates).map(spooled).collect::<Result<_, _>>()?;
        Ok(Self { store, base, updates, layout })
    }

    /// Size of the model's file.
    #[must_use]
    pub fn model_bytes(&self) -> u64 {
        self.layout.file_bytes()
    }

    /// The whole of a round: statistics if the policy wants some, its plan, the next model and state on disk.
    pub fn aggregate(&self, host: &PolicyHost, choice: &Choice) -> Result<(), RehearsalError> {
        let plan = self.decide(host, choice)?;
        aggregate(&self.job(host, choice, &plan))?;
        Ok(())
    }

    /// Statistics and the policy's plan: all that a `geometry` policy is asked.
    pub fn decide(&self, host: &PolicyHost, choice: &Choice) -> Result<AggregationPlan, RehearsalError> {
        let question = AggregationQuestion {
            round: 1,
            parameters: self.layout.parameter_count(),
            population: u32::try_from(self.updates.len()).unwrap_or(u32::MAX),
            updates: self.updates.iter().map(|_| UpdateSummary { examples: 1, ..UpdateSummary::default() }).collect(),
            statistics: statistics(&self.layout, &self.updates, choice.traits.statistics)?,
            ..AggregationQuestion::default()
        };
        Ok(host.weigh(&choice.policy, &choice.parameters, &question)?)
    }

    /// The same for Krum without a sandbox; gives the update it takes.
    pub fn krum_natively(&self, choice: &Choice, malicious: usize) -> Result<usize, RehearsalError> {
        let products = statistics(&self.layout, &self.updates, choice.traits.statistics)?.products;
        Ok(reference::krum(&products, self.updates.len(), malicious))
    }

    /// What `aggregate` does natively for a policy of `sums`, but for the digests and the file.
    pub fn sum(&self, host: &PolicyHost, choice: &Choice) -> Result<f32, RehearsalError> {
        self.part(host, choice, Part::Sum)
    }

    /// Reads what `aggregate` reads, in the same pieces on the same threads, and looks at every byte.
    pub fn read(&self, host: &PolicyHost, choice: &Choice) -> Result<f32, RehearsalError> {
        self.part(host, choice, Part::Read)
    }

    fn part(&self, host: &PolicyHost, choice: &Choice, part: Part) -> Result<f32, RehearsalError> {
        let weights = vec![1.0 / self.updates.len() as f32; self.updates.len()];
        let plan = AggregationPlan { weights, ..AggregationPlan::default() };
        Ok(partial::perform(&self.job(host, choice, &plan), part)?)
    }

    fn job<'a>(&'a self, host: &'a PolicyHost, choice: &'a Choice, plan: &'a AggregationPlan) -> Job<'a> {
        let Choice { policy, traits, parameters } = choice;
        let policy = PolicyCall { host, policy, parameters, round: 1, seed: 1 };
        let (blobs, layout, updates) = (self.store.blobs(), &self.layout, &self.updates);
        Job { blobs, base: self.base, layout, updates, traits, plan, kept: &[], policy }
    }

    /// As `base + sum(w * u for w, u in zip(weights, updates))` in NumPy: whole vectors, a temporary for each product,
    /// everything in memory, on one thread; then the file.
    pub fn whole_vectors(&self) -> Result<(), RehearsalError> {
        let load = |path: &Path| {
            let bytes = fs::read(path).map_err(|source| RehearsalError::File { path: path.into(), source })?;
            Ok::<_, RehearsalError>(Parameters::from_safetensors(&bytes)?)
        };
        let weight = 1.0 / self.updates.len() as f32;
        let base = load(&self.store.blobs().local(&self.base)?)?;
        let mut sum = vec![0.0_f32; base.values().len()];
        for update in &self.updates {
            let product: Vec<f32> = load(&update.path)?.values().iter().map(|value| value * weight).collect();
            sum = sum.iter().zip(&product).map(|(sum, value)| sum + value).collect();
        }
        let next = base.values().iter().zip(&sum).map(|(base, sum)| base + sum).collect();
        let mut writer = self.store.blobs().writer()?;
        writer.write(&Parameters::new(self.layout.clone(), next)?.to_safetensors())?;
        writer.finish()?;
        Ok(())
    }
}

fn update_path(dir: &Path, file: usize) -> PathBuf {
    dir.join(format!("{file}.update"))
}

fn layout(parameters: usize) -> Result<Arc<Layout>, RehearsalError> {
    let tensors = TENSORS.min(parameters);
    let share = |at: usize| parameters / tensors + usize::from(at < parameters % tensors);
    let specs = (0..tensors).map(|at| TensorSpec::new(format!("{at}.weight"), [share(at)])).collect();
    Ok(Arc::new(Layout::new(specs)?))
}

/// Values from -0.5 to 0.5 that do not repeat soon.
fn values(seed: usize, count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32.wrapping_mul(seed as u32 + 1);
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[cfg(test)]
mod tests;
