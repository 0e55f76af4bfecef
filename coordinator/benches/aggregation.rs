//! What a round's sum costs, beside the two things it can be held against: merely reading the same bytes, and the
//! whole-vector arithmetic on one thread that NumPy would do.
//!
//! `cargo bench -p polder-coordinator --bench aggregation`; files lie in the directory for temporary ones.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use polder_coordinator::aggregation::aggregate;
use polder_coordinator::spool::SpooledUpdate;
use polder_coordinator::store::Store;
use polder_core::{AssignmentId, Digest, RunId, WorkerName};
use polder_tensor::{Layout, Parameters, TensorSpec};
use rayon::prelude::*;

/// Bytes read at a time by the comparison that only reads.
const READ_BYTES: u64 = 256 << 10;

/// One round's files: a model and its updates.
struct Round {
    store: Store,
    layout: Arc<Layout>,
    base: Digest,
    updates: Vec<SpooledUpdate>,
    weights: Vec<f32>,
    _dir: tempfile::TempDir,
}

impl Round {
    fn new(updates: usize, parameters: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let store = runtime.block_on(Store::open(&dir.path().join("state"))).expect("a store");
        let layout = Arc::new(Layout::new(vec![TensorSpec::new("w", [parameters])]).expect("a layout"));
        let values = |row: usize| (0..parameters).map(|at| ((at + row) % 1000) as f32 / 1000.0).collect();
        let file = |row| Parameters::new(layout.clone(), values(row)).expect("parameters");

        let mut writer = store.blobs().writer().expect("a blob");
        writer.write(&file(0).to_safetensors()).expect("a blob");
        let (base, _) = writer.finish().expect("a blob");
        let spooled = |row: usize| {
            let (update, path) = (file(row), dir.path().join(format!("{row}.update")));
            fs::write(&path, update.to_safetensors()).expect("an update");
            let worker = WorkerName::new(format!("worker-{row}")).expect("a name");
            let assignment = AssignmentId { run: RunId::new("bench").expect("a name"), round: 1, worker };
            SpooledUpdate { assignment, digest: update.digest(), path, bytes: layout.file_bytes() }
        };
        let spooled = (1..=updates).map(spooled).collect();
        let weights = vec![1.0 / updates as f32; updates];
        Self { base, updates: spooled, weights, layout: layout.clone(), store, _dir: dir }
    }

    fn bytes(&self) -> u64 {
        self.layout.file_bytes() * (self.updates.len() as u64 + 1)
    }

    fn paths(&self) -> Vec<&Path> {
        self.updates.iter().map(|update| update.path.as_path()).collect()
    }

    fn aggregate(&self) {
        aggregate(self.store.blobs(), &self.base, &self.layout, &self.updates, &self.weights).expect("a model");
    }

    /// Every byte of model and updates once, by all threads, and nothing done with them.
    fn read(&self) {
        let model = self.store.blobs().path(&self.base);
        for path in self.paths().into_iter().chain([model.as_path()]) {
            let file = File::open(path).expect("a file");
            let pieces = self.layout.file_bytes().div_ceil(READ_BYTES);
            (0..pieces).into_par_iter().for_each_init(
                || vec![0; READ_BYTES as usize],
                |buffer, piece| {
                    black_box(file.read_at(buffer, piece * READ_BYTES).expect("bytes"));
                },
            );
        }
    }

    /// As `base + sum(w * u for w, u in zip(weights, updates))` in NumPy: whole vectors, a temporary for each product,
    /// everything in memory, on one thread; then the file.
    fn whole_vectors(&self) {
        let load = |path: &Path| Parameters::from_safetensors(&fs::read(path).expect("a file")).expect("parameters");
        let mut sum = vec![0.0_f32; load(&self.store.blobs().path(&self.base)).values().len()];
        for (path, weight) in self.paths().into_iter().zip(&self.weights) {
            let product: Vec<f32> = load(path).values().iter().map(|value| value * weight).collect();
            sum = sum.iter().zip(&product).map(|(sum, value)| sum + value).collect();
        }
        let base = load(&self.store.blobs().path(&self.base));
        let sum = base.values().iter().zip(&sum).map(|(base, sum)| base + sum).collect();
        let model = Parameters::new(self.layout.clone(), sum).expect("parameters");
        let mut writer = self.store.blobs().writer().expect("a blob");
        writer.write(&model.to_safetensors()).expect("a blob");
        writer.finish().expect("a blob");
    }
}

fn sums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("aggregation");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (updates, parameters) in [(10, 2_500_000), (100, 250_000), (4, 1_000)] {
        let round = Round::new(updates, parameters);
        let size = format!("{updates}x{parameters}");
        group.throughput(Throughput::Bytes(round.bytes()));
        group.bench_function(BenchmarkId::new("aggregate", &size), |bencher| bencher.iter(|| round.aggregate()));
        group.bench_function(BenchmarkId::new("read", &size), |bencher| bencher.iter(|| round.read()));
        group
            .bench_function(BenchmarkId::new("whole vectors", &size), |bencher| bencher.iter(|| round.whole_vectors()));
    }
    group.finish();
}

criterion_group!(benches, sums);
criterion_main!(benches);
