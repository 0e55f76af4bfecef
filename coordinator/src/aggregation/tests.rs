use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use polder_core::policy::{AggregationPlan, AggregationShape, AggregationTraits, PolicyKind};
use polder_core::round::StateTensor;
use polder_core::{AssignmentId, Digest, RunId, WorkerName};
use polder_policy::{Limits, Policy, PolicyHost};
use polder_tensor::{Layout, Parameters, TensorSpec};

use super::*;
use crate::spool::SpooledUpdate;
use crate::store::{Store, StoreConfig};

mod chunks;
mod failures;
mod library;
mod statistics;
mod sums;

static HOST: LazyLock<PolicyHost> = LazyLock::new(|| PolicyHost::new(Limits::default(), None).unwrap());

/// One of the components that the hostile suite is made of.
fn guest(name: &str) -> Policy {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/policies/guests");
    HOST.load(&fs::read(folder.join(format!("{name}.wasm"))).unwrap()).unwrap()
}

/// Cut as finely as it goes: the least that differs from the sizes in use.
const FINEST: Sizes = Sizes { stretch_bytes: 1024, sum_stretch_bytes: 1024, tile_bytes: 1024, chunk_bytes: 1024 };

struct World {
    dir: tempfile::TempDir,
    store: Store,
    layout: Arc<Layout>,
    base: Parameters,
}

impl World {
    /// A model of one tensor.
    fn new(base: &[f32]) -> Self {
        Self::of(&[base.len()], base)
    }

    /// A model of tensors with so many values each.
    fn of(tensors: &[usize], base: &[f32]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = runtime.block_on(Store::open(&StoreConfig::local(dir.path().join("state")))).unwrap();
        let spec = |(at, values): (usize, &usize)| TensorSpec::new(format!("w{at}"), [*values]);
        let layout = Arc::new(Layout::new(tensors.iter().enumerate().map(spec).collect()).unwrap());
        let base = Parameters::new(Arc::clone(&layout), base.to_vec()).unwrap();
        let world = Self { dir, store, layout, base };
        world.store(&world.base);
        world
    }

    fn store(&self, parameters: &Parameters) {
        let mut writer = self.store.blobs().writer().unwrap();
        writer.write(&parameters.to_safetensors()).unwrap();
        assert_eq!(writer.finish().unwrap().0, parameters.digest());
    }

    fn spooled(&self, number: usize, values: &[f32]) -> SpooledUpdate {
        let update = Parameters::new(Arc::clone(&self.layout), values.to_vec()).unwrap();
        let path = self.dir.path().join(format!("{number}.update"));
        fs::write(&path, update.to_safetensors()).unwrap();
        let assignment = AssignmentId {
            run: RunId::new("digits-1").unwrap(),
            round: 1,
            worker: WorkerName::new(format!("worker-{number}")).unwrap(),
        };
        SpooledUpdate { assignment, digest: update.digest(), path, bytes: self.layout.file_bytes() }
    }

    fn all_spooled(&self, updates: &[Vec<f32>]) -> Vec<SpooledUpdate> {
        updates.iter().enumerate().map(|(number, values)| self.spooled(number, values)).collect()
    }

    fn values(&self, digest: &Digest, bytes: u64) -> Vec<f32> {
        let file = fs::read(self.store.blobs().path(digest)).unwrap();
        assert_eq!(file.len() as u64, bytes);
        let parameters = Parameters::from_safetensors(&file).unwrap();
        assert_eq!((parameters.digest(), parameters.layout()), (*digest, &self.layout));
        parameters.into_values()
    }

    fn model(&self, aggregated: &Aggregated) -> Vec<f32> {
        self.values(&aggregated.digest, aggregated.bytes)
    }

    fn state(&self, aggregated: &Aggregated) -> Vec<Vec<f32>> {
        aggregated.state.iter().map(|state| self.values(&state.digest, state.bytes)).collect()
    }

    /// Nothing is left half written, and there are this many models and state tensors.
    fn assert_holds(&self, blobs: usize) {
        let count = |folder: &str| fs::read_dir(self.dir.path().join("state").join(folder)).unwrap().count();
        assert_eq!((count("incoming"), count("blobs/blake3")), (0, blobs));
    }
}

/// One round's question, kept together for the borrows of a [`Job`].
struct Asked {
    base: Digest,
    updates: Vec<SpooledUpdate>,
    traits: AggregationTraits,
    plan: AggregationPlan,
    kept: Vec<StateTensor>,
    policy: Policy,
    parameters: String,
    round: u32,
}

impl Asked {
    /// The built-in mean, which is asked nothing about chunks.
    fn sums(world: &World, updates: &[Vec<f32>], weights: &[f32]) -> Self {
        Self {
            base: world.base.digest(),
            updates: world.all_spooled(updates),
            traits: AggregationTraits::default(),
            plan: plan(weights),
            kept: Vec::new(),
            policy: HOST.builtin(PolicyKind::Aggregation).unwrap(),
            parameters: "{}".into(),
            round: 1,
        }
    }

    fn by(self, policy: &Policy, traits: AggregationTraits) -> Self {
        Self { policy: policy.clone(), traits, ..self }
    }

    fn aggregate(&self, world: &World) -> Result<Aggregated, AggregationError> {
        self.aggregate_by(world, &Sizes::default())
    }

    fn aggregate_by(&self, world: &World, sizes: &Sizes) -> Result<Aggregated, AggregationError> {
        let Self { base, updates, traits, plan, kept, policy, parameters, round } = self;
        let policy = PolicyCall { host: &HOST, policy, parameters, round: *round, seed: 7 };
        let (blobs, layout) = (world.store.blobs(), &world.layout);
        aggregate_by(&Job { blobs, base: *base, layout, updates, traits, plan, kept, policy }, sizes)
    }
}

fn plan(weights: &[f32]) -> AggregationPlan {
    AggregationPlan { weights: weights.to_vec(), ..AggregationPlan::default() }
}

fn columns() -> AggregationTraits {
    AggregationTraits { shape: AggregationShape::Columns, ..AggregationTraits::default() }
}

fn stepping(state_tensors: u32) -> AggregationTraits {
    AggregationTraits { has_step: true, state_tensors, ..AggregationTraits::default() }
}

/// Some value between -1 and 1 for each row and place.
fn some_value(seed: u32, row: usize, at: usize) -> f32 {
    let mixed = seed.wrapping_add((row * 7919 + at) as u32).wrapping_mul(2_654_435_761) >> 8;
    mixed as f32 / 8_388_608.0 - 1.0
}

fn some_rows(seed: u32, rows: usize, length: usize) -> Vec<Vec<f32>> {
    (0..rows).map(|row| (0..length).map(|at| some_value(seed, row, at)).collect()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// That `found` is what float64 gives, but for the rounding of a few operations in float32.
#[track_caller]
fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = 1e-5 * expected.abs().max(1.0);
        assert!((f64::from(*found) - expected).abs() <= allowed, "value {at} is {found}, and should be {expected}");
    }
}
