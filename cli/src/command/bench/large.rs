//! `polder bench large`: a model that nobody should hold in memory goes through a round. The coordinator is a process of
//! its own whose memory is watched; the workers are light ones, in this process. Nothing here holds the model either.

mod disk;
mod source;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use futures_util::stream;
use polder_core::RunId;
use polder_core::spec::{Deadlines, RunSpec};
use serde::Serialize;

use self::source::Source;
use super::crowd::Crowd;
use super::round::spec;
use super::spent::{self, Spent};
use crate::args::Context;
use crate::client::{Client, WatchEvent};
use crate::failure::Ended;
use crate::local::{LocalFederation, peak_bytes, resident_bytes};
use crate::output::{or_dash, talk};
use crate::shutdown::Signals;

/// A slow disk may take its time.
const ROUND_MS: u64 = 4 * 3600 * 1000;

#[derive(Debug, Args)]
pub(crate) struct Large {
    /// Size of the model in MiB; three quarters of it are one tensor.
    #[arg(long, default_value_t = 3072, value_parser = clap::value_parser!(u64).range(1..=65_000))]
    mib: u64,
    /// Light workers, all of them in the round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    workers: u32,
    /// Where the coordinator's files lie while they are needed; otherwise the directory for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Measured {
    workers: u32,
    model_bytes: u64,
    largest_tensor_bytes: u64,
    /// What the coordinator's files took at their most.
    disk_bytes: u64,
    /// Until the coordinator had the model.
    upload_seconds: f64,
    /// From the run's submission to its commit.
    round_seconds: f64,
    /// The coordinator's memory before it was given anything, and at its peak.
    idle_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    steps: Vec<Spent>,
}

impl Large {
    pub(crate) async fn perform(self, context: &Context) -> Result<()> {
        let mut signals = Signals::listen()?;
        let measured = tokio::select! {
            measured = self.measure() => measured?,
            exit = signals.next() => return Err(Ended::error(exit, "the benchmark was interrupted")),
        };
        if context.output.is_json() {
            return context.output.object(&measured);
        }
        let (bytes, or_unknown) = (crate::output::bytes, |bytes: Option<u64>| or_dash(bytes.map(crate::output::bytes)));
        context.output.line(&spent::table(&measured.steps, measured.round_seconds))?;
        context.output.line(&format!(
            "a model of {} (its largest tensor has {}) and {} workers, {} on disk\n\
             the upload took {:.1} s, the round {:.1} s\n\
             the coordinator's peak memory is {}; {} before it had the model",
            bytes(measured.model_bytes),
            bytes(measured.largest_tensor_bytes),
            measured.workers,
            bytes(measured.disk_bytes),
            measured.upload_seconds,
            measured.round_seconds,
            or_unknown(measured.peak_bytes),
            or_unknown(measured.idle_bytes)
        ))
    }

    async fn measure(&self) -> Result<Measured> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("polder-bench-");
        let dir = match &self.dir {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        };
        let dir = dir.context("cannot make a directory")?;
        let disk_bytes = disk::make_sure(dir.path(), self.mib << 20, self.workers)?;
        let source = Source::new(self.mib << 20)?;
        talk(&format!("the round needs {} on disk", crate::output::bytes(disk_bytes)))?;

        let mut federation = LocalFederation::start(dir.path()).await?;
        let (endpoint, id) = (federation.endpoint().to_owned(), federation.coordinator_id());
        let id = id.context("the coordinator has ended")?;
        let idle_bytes = resident_bytes(id);
        let client = federation.client().await?;
        let started = Instant::now();
        let spec = upload(&client, &source, self.workers).await?;
        let upload_seconds = started.elapsed().as_secs_f64();
        talk(&format!("the coordinator has the model after {upload_seconds:.1} s; the round begins"))?;

        let mut crowd = Crowd::enrol(&client, self.workers).await?;
        federation.during(crowd.connect(&endpoint, self.workers)).await?;
        let before = client.coordinator().await?.view.steps;
        let started = Instant::now();
        let run = client.submit_run(&spec).await?;
        federation.during(committed(&client, &run)).await?;
        let round_seconds = started.elapsed().as_secs_f64();
        let steps = spent::between(&before, &client.coordinator().await?.view.steps, 1);
        let peak_bytes = peak_bytes(id);
        drop(crowd);
        federation.stop().await?;
        Ok(Measured {
            workers: self.workers,
            model_bytes: source.bytes(),
            largest_tensor_bytes: source.largest_tensor_bytes(),
            disk_bytes,
            upload_seconds,
            round_seconds,
            idle_bytes,
            peak_bytes,
            steps,
        })
    }
}

/// Makes the model twice, once for its digest and once for the coordinator; that takes less than to keep it.
async fn upload(client: &Client, source: &Source, workers: u32) -> Result<RunSpec> {
    let again = source.clone();
    let model = tokio::task::spawn_blocking(move || again.spec()).await?;
    client.upload_model_in_pieces(&model.digest, model.bytes, stream::iter(source.pieces())).await?;
    let spec = spec(client, model, (workers, 1)).await?;
    Ok(RunSpec { deadlines: Deadlines { selection_ms: 60_000, round_ms: ROUND_MS }, ..spec })
}

/// Waits for the run's one round.
async fn committed(client: &Client, run: &RunId) -> Result<()> {
    let mut watch = client.watch(run, 0, true);
    while let Some(event) = watch.next().await? {
        let WatchEvent::Line { notice, .. } = event else { continue };
        match notice.kind.as_str() {
            "round-committed" => return Ok(()),
            "update-received" => talk(&notice.text)?,
            "round-abandoned" | "worker-lost" | "policy-failed" => bail!("it went wrong: {}", notice.text),
            _ => {}
        }
    }
    bail!("the run ended without a commit")
}
