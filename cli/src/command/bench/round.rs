//! `polder bench round`: what a round costs when nothing is learned in it. Transport, journal, policies, aggregation and
//! storage are the real ones, in real processes; only the training is left out.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use polder_core::RunId;
use polder_core::policy::{PolicyKind, PolicyRef};
use polder_core::spec::{CohortSpec, Deadlines, ModelSpec, RetentionSpec, RunSpec, TrainerSpec};
use polder_tensor::{Layout, Parameters, TensorSpec};
use polder_train::DataSet;
use serde::Serialize;

use super::spent::{self, Spent};
use crate::args::Context;
use crate::client::{Client, WatchEvent};
use crate::failure::Ended;
use crate::local::{LocalFederation, peak_bytes};
use crate::output::talk;
use crate::run_file::model_spec;
use crate::shutdown::Signals;

pub(super) const DATASET: &str = "bench";
/// Tensors that the parameters are spread over, as those of a model are.
const TENSORS: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Round {
    /// Worker processes, all of them in every round.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// Float32 parameters of the model.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=4_000_000_000))]
    params: u64,
    /// Rounds measured, after one that is not.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
}

/// What `--json` prints. A round lasts from one commit to the next, as an operator sees them.
#[derive(Debug, Serialize)]
struct Measured {
    workers: u32,
    params: u64,
    rounds: u32,
    seconds_mean: f64,
    seconds_median: f64,
    seconds_min: f64,
    seconds_max: f64,
    /// Most memory that the coordinator's process had resident; null where the system does not tell.
    coordinator_peak_bytes: Option<u64>,
    model_bytes: u64,
    /// Where the coordinator's time went, as it measured it.
    steps: Vec<Spent>,
}

impl Round {
    pub(crate) async fn perform(self, context: &Context) -> Result<()> {
        let mut signals = Signals::listen()?;
        let measured = tokio::select! {
            measured = self.measure() => measured?,
            exit = signals.next() => return Err(Ended::error(exit, "the benchmark was interrupted")),
        };
        if context.output.is_json() {
            return context.output.object(&measured);
        }
        let Measured { workers, params, rounds, seconds_median, seconds_min, seconds_max, .. } = &measured;
        let peak = measured.coordinator_peak_bytes.map_or_else(|| "unknown".into(), crate::output::bytes);
        context.output.line(&spent::table(&measured.steps, measured.seconds_mean))?;
        context.output.line(&format!(
            "{workers} workers, {params} parameters, {rounds} rounds\n\
             a round takes {:.2} ms (median; {:.2} to {:.2})\n\
             the coordinator's peak memory is {peak}; the model has {}",
            seconds_median * 1e3,
            seconds_min * 1e3,
            seconds_max * 1e3,
            crate::output::bytes(measured.model_bytes)
        ))
    }

    async fn measure(&self) -> Result<Measured> {
        let dir = tempfile::Builder::new().prefix("polder-bench-").tempdir().context("cannot make a directory")?;
        let data = dir.path().join("bench.csv");
        DataSet::new(vec![0.0, 1.0], vec![0, 1], 1, 2)?.write_csv(&data)?;
        let mut federation = LocalFederation::start(dir.path()).await?;
        let client = federation.client().await?;
        let params = self.params;
        let model = tokio::task::spawn_blocking(move || model(params)).await??;
        let spec = spec(&client, model_spec(&model), (self.workers, self.rounds + 1)).await?;
        let model_bytes = spec.model.bytes;
        client.upload_model(&model).await?;
        drop(model);
        let before = client.coordinator().await?.view.steps;
        let run = client.submit_run(&spec).await?;
        self.add_workers(&mut federation, &client, &data).await?;
        talk(&format!("{} workers on {}; {} rounds", self.workers, federation.endpoint(), self.rounds))?;

        let seconds = federation.during(time_rounds(&client, &run, self.rounds)).await?;
        let steps = spent::between(&before, &client.coordinator().await?.view.steps, self.rounds + 1);
        let coordinator_peak_bytes = federation.coordinator_id().and_then(peak_bytes);
        federation.stop().await?;
        let middle = seconds.len() / 2;
        Ok(Measured {
            workers: self.workers,
            params: self.params,
            rounds: self.rounds,
            seconds_mean: mean(&seconds),
            seconds_median: seconds[middle],
            seconds_min: seconds[0],
            seconds_max: seconds[seconds.len() - 1],
            coordinator_peak_bytes,
            model_bytes,
            steps,
        })
    }

    async fn add_workers(&self, federation: &mut LocalFederation, client: &Client, data: &Path) -> Result<()> {
        for index in 1..=self.workers {
            federation.add_worker(client, &format!("bench-{index}"), (DATASET, data)).await?;
        }
        Ok(())
    }
}

/// A run of so many `rounds` on the synthetic trainer, with all of `workers` in every round.
pub(super) async fn spec(client: &Client, model: ModelSpec, (workers, rounds): (u32, u32)) -> Result<RunSpec> {
    let placement = pinned(client, PolicyKind::Placement, "least-loaded").await?;
    let aggregation = pinned(client, PolicyKind::Aggregation, "fedavg").await?;
    Ok(RunSpec {
        name: DATASET.into(),
        model,
        dataset: DATASET.into(),
        trainer: TrainerSpec { kind: "synthetic".into(), settings: serde_json::json!({}) },
        rounds,
        cohort: CohortSpec { size: workers, over_selection: 0, quorum: workers, staleness_max: 0, standbys: 0 },
        deadlines: Deadlines { selection_ms: 60_000, round_ms: 600_000 },
        evaluation: None,
        target: None,
        retention: RetentionSpec::default(),
        placement,
        aggregation,
        seed: 1,
    })
}

/// Seconds from each commit to the next, in ascending order.
pub(super) async fn time_rounds(client: &Client, run: &RunId, rounds: u32) -> Result<Vec<f64>> {
    let mut watch = client.watch(run, 0, true);
    let (mut seconds, mut last) = (Vec::new(), None);
    while let Some(event) = watch.next().await? {
        let WatchEvent::Line { notice, .. } = event else { continue };
        match notice.kind.as_str() {
            "round-committed" => {
                let now = Instant::now();
                seconds.extend(last.replace(now).map(|last| now.duration_since(last).as_secs_f64()));
            }
            "round-abandoned" | "worker-lost" | "policy-failed" => bail!("it went wrong: {}", notice.text),
            _ => {}
        }
    }
    ensure!(seconds.len() == rounds as usize, "{} of {} rounds were seen", seconds.len(), rounds);
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

pub(super) fn mean(seconds: &[f64]) -> f64 {
    seconds.iter().sum::<f64>() / seconds.len().max(1) as f64
}

async fn pinned(client: &Client, kind: PolicyKind, name: &str) -> Result<PolicyRef> {
    let found = client.policy(kind, name).await?.with_context(|| format!("the coordinator has no policy `{name}`"))?;
    Ok(PolicyRef { version: Some(found.version), ..PolicyRef::new(found.name, found.digest) })
}

/// A model with values that do not compress, spread over a few tensors.
pub(super) fn model(params: u64) -> Result<Parameters> {
    let params = usize::try_from(params)?;
    let tensors = TENSORS.min(params);
    let mut specs = Vec::with_capacity(tensors);
    for index in 0..tensors {
        let share = params / tensors + usize::from(index < params % tensors);
        specs.push(TensorSpec::new(format!("{index}.weight"), [share]));
    }
    let mut state = 0x9e37_79b9_u32;
    let values = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    });
    Ok(Parameters::new(Arc::new(Layout::new(specs)?), values.take(params).collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_as_many_parameters_as_asked_for() {
        for params in [1, 7, 8, 1000, 1003] {
            assert_eq!(model(params).unwrap().values().len() as u64, params);
        }
    }
}
