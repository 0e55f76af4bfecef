//! What asking costs: a fresh instance, pooled and on demand; a placement question about 100 workers, which has to stay below a millisecond;
//! a round of 100 updates; chunks of 16,384 values through a step and a combination. All under epoch interruption, as in service.

use criterion::{Criterion, criterion_group, criterion_main};
use polder_core::policy::{
    AggregationQuestion, Demand, GpuLoad, PlacementQuestion, PolicyKind, UpdateSummary, WorkerLoad, WorkerSnapshot,
};
use polder_core::{Region, RunId, WorkerName};
use polder_policy::{ChunkJob, Limits, PolicyHost, Span, builtin_named};

fn placement(workers: usize) -> PlacementQuestion {
    let workers: Vec<_> = (0..workers)
        .map(|index| WorkerSnapshot {
            name: WorkerName::new(format!("worker-{index:03}")).unwrap(),
            region: Region::new(format!("region-{}", index % 10)).unwrap(),
            slots: 4,
            slots_free: 1 + (index * 7 % 4) as u32,
            rounds_assigned: (index * 31 % 17) as u64,
            latency_ms: Some((index * 17 % 300) as f64),
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
    let on_demand = PolicyHost::new(Limits { pooled_instances_max: 0, ..Limits::default() }, None).unwrap();
    for (name, host) in [("fresh instance, pooled", &host), ("fresh instance, on demand", &on_demand)] {
        let policy = host.builtin(PolicyKind::Placement).unwrap();
        criterion.bench_function(name, |bench| bench.iter(|| host.instantiate(&policy).unwrap()));
    }
    let question = placement(100);
    criterion.bench_function("place, 100 workers, 4 rounds of 10", |bench| {
        bench.iter(|| host.place(&least_loaded, "{}", &question).unwrap());
    });
    let update = |examples| UpdateSummary { examples, loss: Some(0.5), ..UpdateSummary::default() };
    let question = AggregationQuestion {
        round: 1,
        seed: 1,
        parameters: 1 << 20,
        updates: (0..100).map(update).collect(),
        ..AggregationQuestion::default()
    };
    criterion.bench_function("weigh, 100 updates", |bench| {
        bench.iter(|| host.weigh(&fedavg, "{}", &question).unwrap());
    });
}

/// As many values as the pipeline puts into a chunk: 64 KiB.
const CHUNK: usize = 16 * 1024;

fn chunks(criterion: &mut Criterion) {
    let host = PolicyHost::new(Limits::default(), None).unwrap();
    let load = |name| host.load(builtin_named(name, None).unwrap().bytes).unwrap();
    let job = |policy, updates| {
        let update = UpdateSummary { examples: 1, ..UpdateSummary::default() };
        let question = AggregationQuestion { updates: vec![update; updates], ..AggregationQuestion::default() };
        let plan = host.weigh(policy, "{}", &question).unwrap();
        ChunkJob { round: 1, seed: 1, memo: plan.memo, parameters: "{}".into() }
    };
    let values: Vec<f32> = (0..CHUNK).map(|index| (index % 251) as f32 / 251.0).collect();

    let fedadam = load("fedadam");
    let step = job(&fedadam, 1);
    let mut walk = host.chunks(&fedadam, &step).unwrap();
    let (mut model, mut first, mut second) = (values.clone(), vec![0.0; CHUNK], vec![0.0; CHUNK]);
    criterion.bench_function("step, FedAdam, 16,384 values", |bench| {
        bench.iter(|| {
            let mut state: [&mut [f32]; 2] = [&mut first, &mut second];
            walk.step(Span::default(), &mut model, &values, &[], &mut state).unwrap();
        });
    });

    let median = load("fedmedian");
    let combine = job(&median, 20);
    let mut walk = host.chunks(&median, &combine).unwrap();
    let (rows, mut aggregate) = (vec![values.as_slice(); 20], vec![0.0; CHUNK]);
    criterion.bench_function("combine, median of 20, 16,384 values", |bench| {
        bench.iter(|| walk.combine(Span::default(), &rows, &[0.05; 20], &mut aggregate).unwrap());
    });
}

criterion_group!(benches, questions, chunks);
criterion_main!(benches);
