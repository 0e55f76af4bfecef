//! `polder worker list`

use clap::Args;
use polder_core::policy::{GpuLoad, WorkerLoad};
use polder_core::view::WorkerView;

use crate::args::Context;
use crate::output::{Table, bytes, or_dash};

#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let workers = context.client().await?.workers().await?;
        if context.output.is_json() {
            return workers.iter().try_for_each(|worker| context.output.line(&worker.text));
        }
        let nothing = "No worker has joined yet; `polder token create --region REGION` lets one in.";
        context.output.table(&table(workers.iter().map(|worker| &worker.view)), nothing)
    }
}

fn table<'a>(workers: impl Iterator<Item = &'a WorkerView>) -> Table {
    let mut table = Table::new(&["WORKER", "REGION", "STATE", ">SLOTS", ">ROUNDS", ">CPU", "GPU", "DATA", "WHY"]);
    for worker in workers {
        let load = worker.load.as_ref();
        let state = if worker.is_draining { "draining" } else { &worker.state };
        table.row([
            worker.worker.to_string(),
            worker.region.to_string(),
            state.to_owned(),
            format!("{}/{}", worker.slots_taken, worker.slots),
            worker.rounds_assigned.to_string(),
            or_dash(load.map(|load| format!("{:.0}%", load.cpu_utilization * 100.0))),
            or_dash(load.and_then(gpus)),
            worker.datasets.join(", "),
            or_dash(worker.reason.as_deref()),
        ]);
    }
    table
}

/// `2x NVIDIA A100 (38% busy, 31.2 GiB free)`.
fn gpus(load: &WorkerLoad) -> Option<String> {
    let first = load.gpus.first()?;
    let busy: Vec<f64> = load.gpus.iter().filter_map(|gpu| gpu.utilization).collect();
    let free: u64 = load.gpus.iter().filter_map(|gpu: &GpuLoad| gpu.memory_free_bytes).sum();
    let mut notes = Vec::new();
    if !busy.is_empty() {
        notes.push(format!("{:.0}% busy", busy.iter().sum::<f64>() / busy.len() as f64 * 100.0));
    }
    if free > 0 {
        notes.push(format!("{} free", bytes(free)));
    }
    let count = if load.gpus.len() > 1 { format!("{}x ", load.gpus.len()) } else { String::new() };
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    Some(format!("{count}{}{notes}", first.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str) -> WorkerView {
        WorkerView {
            worker: name.parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            state: "connected".into(),
            reason: None,
            since: None,
            is_draining: false,
            slots: 2,
            slots_taken: 1,
            datasets: vec!["digits".into(), "mnist".into()],
            trainers: vec!["embedded".into()],
            rounds_assigned: 7,
            latency_ms: None,
            load: None,
        }
    }

    #[test]
    fn a_worker_with_gpus_one_without_and_one_that_drains() {
        let gpu = |index| GpuLoad {
            index,
            name: "NVIDIA A100".into(),
            utilization: Some(0.25 * f64::from(index)),
            memory_free_bytes: Some(2 << 30),
            ..GpuLoad::default()
        };
        let load = WorkerLoad { cpu_utilization: 0.5, memory_free_bytes: 1, gpus: vec![gpu(0), gpu(1)] };
        let busy = WorkerView { load: Some(load), ..worker("eu-west-1") };
        let idle = WorkerView { load: Some(WorkerLoad::default()), is_draining: true, ..worker("eu-west-2") };
        let lost = WorkerView { reason: Some("it fell silent".into()), state: "lost".into(), ..worker("x") };
        assert_eq!(
            table([&busy, &idle, &lost].into_iter()).render(false),
            "WORKER     REGION   STATE      SLOTS  ROUNDS  CPU  GPU                                       DATA           WHY\n\
             eu-west-1  eu-west  connected    1/2       7  50%  2x NVIDIA A100 (12% busy, 4.00 GiB free)  digits, mnist  -\n\
             eu-west-2  eu-west  draining     1/2       7   0%  -                                         digits, mnist  -\n\
             x          eu-west  lost         1/2       7    -  -                                         digits, mnist  it fell silent\n"
        );
    }
}
