//! Examples per second of local training on the CPU: the two networks of the FedAvg paper, batches of 10 and 50.
//!
//! `cargo bench -p polder-train`

#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use polder_train::{Architecture, Control, DataSet, TrainConfig, train};

/// Batches in one measured call.
const BATCHES: usize = 10;

/// Noise with labels: speed does not depend on what is learnt.
fn noise(examples: usize) -> DataSet {
    let features = (0..examples * 784).map(|value| (value * 7919 % 256) as f32 / 255.0).collect();
    let labels = (0..examples).map(|example| (example % 10) as u32).collect();
    DataSet::new(features, labels, 784, 10).expect("consistent")
}

fn training(criterion: &mut Criterion) {
    let models = [
        ("mlp", Architecture::Mlp { inputs: 784, hidden: vec![200, 200], classes: 10 }),
        ("cnn", Architecture::Cnn { height: 28, width: 28, channels: 1, classes: 10 }),
    ];
    let mut group = criterion.benchmark_group("training");
    group.sample_size(10);
    for (name, architecture) in models {
        let start = architecture.initial(1).expect("a valid model");
        for batch_size in [10, 50] {
            let data = noise(BATCHES * batch_size);
            let config = TrainConfig { batch_size, learning_rate: 0.01, ..TrainConfig::default() };
            group.throughput(Throughput::Elements(data.examples() as u64));
            group.bench_function(BenchmarkId::new(name, format!("b{batch_size}")), |bencher| {
                bencher.iter(|| train(&architecture, &start, &data, &config, 1, &mut |_| Control::Continue));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, training);
criterion_main!(benches);
