//! What asking costs: a fresh instance, a placement question about 100 workers, a round of 100 updates.

use criterion::{Criterion, criterion_group, criterion_main};
use polder_core::policy::{
    AggregationQuestion, Demand, GpuLoad, PlacementQuestion, PolicyKind, UpdateSummary, WorkerLoad, WorkerSnapshot,
};
use polder_core::{Region, RunId, WorkerName};
use polder_policy::{Limits, PolicyHost};

fn placement(workers: usize) -> PlacementQuestion {
    let workers: Vec<_> = (0..workers)
        .map(|index| WorkerSnapshot {
            name: WorkerName::new(format!("worker-{index:03}")).unwrap(),
            region: Region::new(format!("region-{}", index % 10)).unwrap(),
            slots: 4,
            slots_free: 1 + (index * 7 % 4) as u32,
            rounds_assigned: (index * 31 % 17) as u64,
            load: WorkerLoad {
                cpu_utilization: (index * 13 % 100) as f64 / 100.0,
                memory_free_bytes: 1 << 34,
                gpus: (0..2)
                    .map(|gpu| GpuLoad { index: gpu, name: "NVIDIA H200".into(), ..GpuLoad::default() })
                    .collect(),
            },
        })
        .collect();
    let candidates: Vec<_> = workers.iter().map(|worker| worker.name.clone()).collect();
    let demand = |run: usize| Demand {
        run: RunId::new(format!("run-{run}")).unwrap(),
        round: 1,
        seats: 10,
        seats_min: 5,
        candidates: candidates.clone(),
    };
    PlacementQuestion { seed: 1, demands: (0..4).map(demand).collect(), workers, state: Vec::new() }
}

fn questions(criterion: &mut Criterion) {
    let host = PolicyHost::new(Limits::default(), None).unwrap();
    let least_loaded = host.builtin(PolicyKind::Placement).unwrap();
    let fedavg = host.builtin(PolicyKind::Aggregation).unwrap();
    criterion.bench_function("fresh instance", |bench| bench.iter(|| host.instantiate(&fedavg).unwrap()));
    let question = placement(100);
    criterion.bench_function("place, 100 workers, 4 rounds of 10", |bench| {
        bench.iter(|| host.place(&least_loaded, "{}", &question).unwrap());
    });
    let updates = (0..100).map(|index| UpdateSummary { examples: index, loss: Some(0.5), staleness: 0 }).collect();
    let question = AggregationQuestion { round: 1, seed: 1, parameters: 1 << 20, updates };
    criterion.bench_function("weigh, 100 updates", |bench| {
        bench.iter(|| host.weigh(&fedavg, "{}", &question).unwrap());
    });
}

criterion_group!(benches, questions);
criterion_main!(benches);
