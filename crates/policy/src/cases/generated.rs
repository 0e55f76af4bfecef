//! Questions made up to try policies with: the same every time.

use polder_core::policy::{
    AggregationQuestion, AggregationTraits, Demand, GpuLoad, PlacementQuestion, ReleaseContext, ReleaseQuestion,
    Statistics, TensorShape, UpdateNumbers, UpdateSummary, WorkerLoad, WorkerSnapshot,
};
use polder_core::{Region, RunId, WorkerName};

/// How large the figures of a question are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figures {
    /// As in a round that goes well.
    Usual,
    /// Counts as large as their types, and floats as large as training in float32 can make them.
    Huge,
    /// Zero, or missing where they may.
    Least,
}

/// A generator of numbers (SplitMix64, Steele et al. 2014).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// From -1 to 1, all different enough to tell places apart.
    pub(super) fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.share() * 2.0 - 1.0) as f32).collect()
    }
}

const HUGE: f64 = 1e30;
const DIMENSIONS: usize = 16;

/// A round of so many updates, with the statistics of vectors that it makes up for them.
pub(super) fn aggregation(count: usize, figures: Figures, traits: &AggregationTraits) -> AggregationQuestion {
    let mut numbers = Numbers(count as u64);
    let scale = match figures {
        Figures::Usual => 1.0,
        Figures::Huge => HUGE,
        Figures::Least => 0.0,
    };
    let vectors: Vec<Vec<f64>> =
        (0..count).map(|_| (0..DIMENSIONS).map(|_| (numbers.share() * 2.0 - 1.0) * scale).collect()).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut statistics = Statistics::default();
    if traits.statistics.norms {
        statistics.norms = vectors.iter().map(|vector| product(vector, vector).sqrt()).collect();
    }
    if traits.statistics.products {
        statistics.products = vectors.iter().flat_map(|a| vectors.iter().map(|b| product(a, b))).collect();
    }
    AggregationQuestion {
        round: 1,
        seed: numbers.next(),
        parameters: 1_000,
        tensors: vec![
            TensorShape { name: "layer.weight".into(), shape: vec![30, 33] },
            TensorShape { name: "layer.bias".into(), shape: vec![10] },
        ],
        population: count as u32 * 2,
        updates: (0..count).map(|_| update(&mut numbers, figures)).collect(),
        statistics,
        state: Vec::new(),
    }
}

fn update(numbers: &mut Numbers, figures: Figures) -> UpdateSummary {
    match figures {
        Figures::Usual => UpdateSummary {
            examples: 1 + numbers.below(1000),
            loss: Some(numbers.share()),
            base_loss: Some(numbers.share() + 1.0),
            staleness: numbers.below(4) as u32,
            steps: Some(1 + numbers.below(100)),
            normalizer: Some(1.0 + numbers.share() * 100.0),
            learning_rate: Some(0.01),
        },
        Figures::Huge => UpdateSummary {
            examples: u64::MAX,
            loss: Some(HUGE),
            base_loss: Some(HUGE),
            staleness: u32::MAX,
            steps: Some(u64::MAX),
            normalizer: Some(HUGE),
            learning_rate: Some(HUGE),
        },
        Figures::Least => UpdateSummary::default(),
    }
}

/// Three rounds that want workers, of so many.
pub(super) fn placement(count: usize, figures: Figures) -> PlacementQuestion {
    let mut numbers = Numbers(count as u64);
    // names that are too long do not occur here
    let workers: Vec<WorkerSnapshot> = (0..count).filter_map(|index| worker(index, &mut numbers, figures)).collect();
    let demand = |run: usize| {
        let candidates = workers.iter().filter(|worker| worker.slots_free > 0);
        Some(Demand {
            run: RunId::new(format!("run-{run}")).ok()?,
            round: 1,
            seats: if figures == Figures::Huge { u32::MAX } else { 10 },
            seats_min: if figures == Figures::Least { 0 } else { 1 },
            candidates: candidates.map(|worker| worker.name.clone()).collect(),
        })
    };
    let demands = if count == 0 { Vec::new() } else { (0..3).filter_map(demand).collect() };
    PlacementQuestion { seed: numbers.next(), demands, workers, state: Vec::new() }
}

fn worker(index: usize, numbers: &mut Numbers, figures: Figures) -> Option<WorkerSnapshot> {
    let (slots, rounds, latency, memory) = match figures {
        Figures::Usual => (4, numbers.below(20), Some(numbers.share() * 1000.0), 1 << 34),
        Figures::Huge => (u32::MAX, u64::MAX, Some(HUGE), u64::MAX),
        Figures::Least => (1, 0, None, 0),
    };
    let gpus = if figures == Figures::Least { 0 } else { numbers.below(3) as u32 };
    Some(WorkerSnapshot {
        name: WorkerName::new(format!("worker-{index:03}")).ok()?,
        region: Region::new(format!("region-{}", index % 5)).ok()?,
        slots,
        slots_free: if figures == Figures::Usual { numbers.below(5) as u32 } else { slots },
        rounds_assigned: rounds,
        latency_ms: latency,
        load: WorkerLoad {
            cpu_utilization: numbers.share(),
            memory_free_bytes: memory,
            gpus: (0..gpus).map(|index| gpu(index, numbers, memory)).collect(),
        },
    })
}

fn gpu(index: u32, numbers: &mut Numbers, memory: u64) -> GpuLoad {
    GpuLoad {
        index,
        name: "NVIDIA H200".into(),
        uuid: format!("GPU-{index}"),
        memory_total_bytes: Some(memory),
        memory_free_bytes: (index == 0).then_some(memory),
        utilization: (index == 0).then(|| numbers.share()),
        power_watts: None,
    }
}

/// An update that wants to leave, in a round of so many workers.
pub(super) fn release(count: usize, figures: Figures) -> ReleaseQuestion {
    let mut numbers = Numbers(count as u64);
    let (parameters, examples, norm) = match figures {
        Figures::Usual => (1_000, 1 + numbers.below(1000), 1.0 + numbers.share()),
        Figures::Huge => (u64::MAX, u64::MAX, HUGE),
        Figures::Least => (0, 0, 0.0),
    };
    ReleaseQuestion {
        seed: numbers.next(),
        update: UpdateNumbers {
            parameters,
            examples,
            loss: (figures != Figures::Least).then_some(norm),
            steps: (figures != Figures::Least).then_some(examples),
            norm,
            max_norm: norm / 2.0,
        },
        context: ReleaseContext {
            run: "run-0".into(),
            round: 1,
            region: "region-0".into(),
            aggregation: "fedavg@0.2.0".into(),
            cohort: count as u32,
            quorum: (count as u32).div_ceil(2),
        },
        ..ReleaseQuestion::default()
    }
}
