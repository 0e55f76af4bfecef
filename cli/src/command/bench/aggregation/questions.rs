//! What asking a policy costs.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::Result;
use polder_core::policy::{Demand, GpuLoad, PlacementQuestion, PolicyKind, WorkerLoad, WorkerSnapshot};
use polder_core::{Region, RunId, WorkerName};
use polder_policy::{Limits, PolicyHost};

use super::timing::{medians, work};
use super::{Bench, Measured};

const WORKERS: usize = 100;
const RUNS: usize = 4;
/// Questions between two looks at the clock.
const AT_A_TIME: usize = 200;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Measured>> {
    if !bench.wants("place", "least-loaded") && !bench.wants("instance", "least-loaded") {
        return Ok(Vec::new());
    }
    let host = Arc::new(PolicyHost::new(Limits::default(), None)?);
    let (placer, question) = (host.builtin(PolicyKind::Placement)?, placement()?);
    let instances = {
        let (host, placer) = (host.clone(), placer.clone());
        work(move || Ok((0..AT_A_TIME).try_for_each(|_| host.instantiate(&placer))?))
    };
    let questions = work(move || {
        for _ in 0..AT_A_TIME {
            black_box(host.place(&placer, "{}", &question)?);
        }
        Ok(())
    });
    let [instance, place] = medians(bench.repeats, [instances, questions]).await?;
    let row = |name: &str, k, seconds: f64, wanted| Measured {
        name: name.into(),
        k,
        policy: "least-loaded".into(),
        seconds: seconds / AT_A_TIME as f64,
        wanted,
        ..Measured::default()
    };
    Ok(vec![
        row("fresh instance", 0, instance, "under 100 µs"),
        row("place seats of 4 runs", WORKERS, place, "under 1 ms"),
    ])
}

/// Four rounds that want ten of a hundred workers each.
fn placement() -> Result<PlacementQuestion> {
    let worker = |index: usize| {
        let gpu = |gpu| GpuLoad { index: gpu, name: "NVIDIA H200".into(), ..GpuLoad::default() };
        Ok(WorkerSnapshot {
            name: WorkerName::new(format!("worker-{index:03}"))?,
            region: Region::new(format!("region-{}", index % 10))?,
            slots: 4,
            slots_free: 1 + (index * 7 % 4) as u32,
            rounds_assigned: (index * 31 % 17) as u64,
            latency_ms: Some((index * 17 % 900) as f64 + 100.0),
            load: WorkerLoad {
                cpu_utilization: (index * 13 % 100) as f64 / 100.0,
                memory_free_bytes: 1 << 34,
                gpus: (0..2).map(gpu).collect(),
            },
        })
    };
    let workers = (0..WORKERS).map(worker).collect::<Result<Vec<_>>>()?;
    let candidates: Vec<_> = workers.iter().map(|worker| worker.name.clone()).collect();
    let demand = |run: usize| {
        let run = RunId::new(format!("run-{run}"))?;
        Ok(Demand { run, round: 1, seats: 10, seats_min: 5, candidates: candidates.clone() })
    };
    let demands = (0..RUNS).map(demand).collect::<Result<_>>()?;
    Ok(PlacementQuestion { seed: 1, demands, workers, state: Vec::new() })
}
