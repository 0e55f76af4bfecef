//! What a round's aggregation costs at small sizes, each beside what it is held against; `polder bench aggregation` does the
//! large ones.
//!
//! `cargo bench -p polder-coordinator --bench aggregation`; files lie in the directory for temporary ones.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use polder_coordinator::rehearsal::{Choice, Columns, Rehearsal, Steps};
use polder_policy::{Limits, PolicyHost};
use polder_tensor::reference::{Adam, Network, Width};

fn host() -> PolicyHost {
    PolicyHost::new(Limits::default(), None).expect("a policy host")
}

fn sums(criterion: &mut Criterion) {
    let (host, mut group) = (host(), criterion.benchmark_group("sums"));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let fedavg = Choice::of(&host, "fedavg", "{}").expect("fedavg");
    for (updates, parameters) in [(10, 2_500_000), (100, 250_000), (4, 1_000)] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let round = runtime.block_on(Rehearsal::make(dir.path(), updates, updates, parameters)).expect("files");
        let size = format!("{updates}x{parameters}");
        group.throughput(Throughput::Bytes(round.model_bytes() * (updates as u64 + 1)));
        group.bench_function(BenchmarkId::new("read", &size), |bencher| {
            bencher.iter(|| black_box(round.read(&host, &fedavg).expect("bytes")));
        });
        group.bench_function(BenchmarkId::new("sum", &size), |bencher| {
            bencher.iter(|| black_box(round.sum(&host, &fedavg).expect("a sum")));
        });
        group.bench_function(BenchmarkId::new("aggregate", &size), |bencher| {
            bencher.iter(|| round.aggregate(&host, &fedavg).expect("a model"));
        });
        group.bench_function(BenchmarkId::new("whole vectors", &size), |bencher| {
            bencher.iter(|| round.whole_vectors().expect("a model"));
        });
    }
    group.finish();
}

fn chunks(criterion: &mut Criterion) {
    let (host, mut group) = (host(), criterion.benchmark_group("chunks"));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let mut columns = Columns::new(20, 250_000);
    let trimmed = Choice::of(&host, "trimmed-mean", "{}").expect("trimmed-mean");
    let network = Network::trimmed_mean(20, 4);
    group.bench_function("trimmed mean, sandbox", |bencher| {
        bencher.iter(|| columns.combine(&host, &trimmed).expect("a mean"));
    });
    for width in [Width::Baseline, Width::Widest] {
        group.bench_function(BenchmarkId::new("trimmed mean", format!("{width:?}")), |bencher| {
            bencher.iter(|| columns.combine_natively(&network, width));
        });
    }
    let mut steps = Steps::new(1_000_000);
    let fedadam = Choice::of(&host, "fedadam", "{}").expect("fedadam");
    let adam = Adam { eta: 0.1, beta_1: 0.9, beta_2: 0.99, tau: 1e-3 };
    group.bench_function("fedadam, sandbox", |bencher| {
        bencher.iter(|| steps.step(&host, &fedadam).expect("a step"));
    });
    group.bench_function("fedadam, native", |bencher| bencher.iter(|| steps.step_natively(&adam, Width::Widest)));
    group.finish();
}

criterion_group!(benches, sums, chunks);
criterion_main!(benches);
