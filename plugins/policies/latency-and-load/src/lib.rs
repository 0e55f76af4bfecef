//! An example to start from: fast workers first, unless they are busy.
//!
//! Every candidate costs `latency_weight * latency / slowest + (1 - latency_weight) * load`, and the cheapest go first; ties by
//! name. `latency` is the mean time its updates take, `slowest` the largest of the candidates', and `load` the largest of three
//! shares: slots taken, CPU, and the least busy of its GPUs. A worker that never sent an update counts as the fastest, so that it is
//! tried.
//!
//! | parameter | default | is |
//! | --- | --- | --- |
//! | `latency_weight` | 0.5 | from 0 (load alone) to 1 (latency alone) |
//! | `latency_ms_max` | none | slower workers are left out while there are enough others for the smallest cohort |
//!
//! It keeps no state.

use polder_policy_sdk::placement::{Answer, Demand, Placement, Question, Seating, percent, place_in_order};
use polder_policy_sdk::{Error, export_placement, figure, require};
use serde::Deserialize;

/// The policy; see the crate.
pub struct LatencyAndLoad;

/// What a run may set; see the crate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    #[serde(default = "half")]
    latency_weight: f64,
    #[serde(default)]
    latency_ms_max: Option<f64>,
}

fn half() -> f64 {
    0.5
}

impl Placement for LatencyAndLoad {
    type Parameters = Parameters;

    fn check(parameters: Parameters) -> Result<(), Error> {
        let weight = parameters.latency_weight;
        require((0.0..=1.0).contains(&weight), "latency_weight", weight, "from 0 to 1")?;
        let latency = parameters.latency_ms_max.unwrap_or(1.0);
        require(latency > 0.0, "latency_ms_max", latency, "above 0")
    }

    fn place(question: Question, parameters: Parameters) -> Result<Answer, Error> {
        place_in_order(&question, |seating, demand, open| {
            let open = fast_enough(seating, demand, open, &parameters);
            let mut ranked: Vec<Cost> = costs(seating, &open, parameters.latency_weight);
            ranked.sort_by(|a, b| a.total.total_cmp(&b.total).then(a.worker.cmp(&b.worker)));
            Ok(ranked.into_iter().take(demand.seats as usize).map(|cost| (cost.worker, cost.in_words())).collect())
        })
    }
}

export_placement!(LatencyAndLoad);

/// Without those that are too slow, as far as the demand's smallest cohort allows: the fastest of them stay first.
fn fast_enough(seating: &Seating<'_>, demand: &Demand, mut open: Vec<u32>, parameters: &Parameters) -> Vec<u32> {
    let Some(latency_ms_max) = parameters.latency_ms_max else { return open };
    let latency = |worker: u32| seating.worker(worker).latency_ms.unwrap_or(0.0);
    open.sort_by(|&a, &b| latency(a).total_cmp(&latency(b)).then(a.cmp(&b)));
    let fast = open.partition_point(|&worker| latency(worker) <= latency_ms_max);
    open.truncate(fast.max(demand.seats_min.max(1) as usize));
    open
}

/// What a worker costs, and what that rests on.
struct Cost {
    worker: u32,
    total: f64,
    latency_ms: Option<f64>,
    load: f64,
}

fn costs(seating: &Seating<'_>, open: &[u32], latency_weight: f64) -> Vec<Cost> {
    let slowest = open.iter().filter_map(|&worker| seating.worker(worker).latency_ms).fold(0.0, f64::max);
    let cost = |&worker: &u32| {
        let latency_ms = seating.worker(worker).latency_ms;
        let latency = latency_ms.map_or(0.0, |ms| if slowest > 0.0 { ms / slowest } else { 0.0 });
        let load = load(seating, worker);
        Cost { worker, total: latency_weight * latency + (1.0 - latency_weight) * load, latency_ms, load }
    };
    open.iter().map(cost).collect()
}

/// From 0 to 1.
fn load(seating: &Seating<'_>, worker: u32) -> f64 {
    let known = seating.worker(worker);
    let slots = f64::from(seating.slots_busy(worker)) / f64::from(known.slots.max(1));
    let gpus = known.load.gpus.iter().map(|gpu| gpu.utilization.unwrap_or(1.0)).reduce(f64::min);
    slots.max(known.load.cpu_utilization).max(gpus.unwrap_or(0.0))
}

impl Cost {
    fn in_words(&self) -> String {
        let latency =
            self.latency_ms.map_or_else(|| "no update yet".into(), |ms| format!("{} ms an update", figure(ms)));
        format!("cost {}: {latency}, {} loaded", figure(self.total), percent(self.load))
    }
}

#[cfg(test)]
mod tests;
