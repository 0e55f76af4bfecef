//! `polder bench soak`: a live federation at work for as long as one likes, and whether it takes the more memory, file
//! descriptors, threads and disk the longer it lives.

mod sample;
mod trend;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use polder_core::RunId;
use polder_train::DataSet;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};

use self::sample::{Sample, Watched};
use self::trend::Trend;
use super::round;
use crate::args::Context;
use crate::client::Client;
use crate::failure::{Ended, Exit};
use crate::local::LocalFederation;
use crate::output::talk;
use crate::run_file::model_spec;
use crate::shutdown::Signals;

/// What is kept, so that the bounds are reached early in the first quarter; by default it would take hours.
const RETAINED: [&str; 6] = ["--retain-journal", "20000", "--retain-log", "20000", "--retain-rounds", "500"];
/// Fewer samples than that say nothing about quarters.
const SAMPLES_MIN: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// How long.
    #[arg(long, default_value_t = 60.0, value_parser = minutes)]
    minutes: f64,
    /// Worker processes, all of them in every round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    workers: u32,
    /// Float32 parameters of the model.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    params: u64,
    /// Rounds of a run; when it is complete the next one is submitted. Every run that is complete keeps its last models, so
    /// blobs grow with the number of runs.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
    /// Seconds from one look to the next.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    every: f64,
}

fn minutes(text: &str) -> Result<f64, String> {
    number(text, 0.1..=10_000.0)
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, 0.1..=600.0)
}

fn number(text: &str, allowed: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    let is_allowed = allowed.contains(&number);
    is_allowed.then_some(number).ok_or_else(|| format!("allowed is {} to {}", allowed.start(), allowed.end()))
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Soaked {
    minutes: f64,
    workers: u32,
    params: u64,
    runs_completed: u64,
    rounds_committed: u64,
    is_flat: bool,
    trends: Vec<Trend>,
    samples: Vec<Sample>,
}

impl Soak {
    pub(crate) async fn perform(self, context: &Context) -> Result<()> {
        let mut signals = Signals::listen()?;
        let soaked = tokio::select! {
            soaked = self.soak() => soaked?,
            exit = signals.next() => return Err(Ended::error(exit, "the benchmark was interrupted")),
        };
        if context.output.is_json() {
            context.output.object(&soaked)?;
        } else {
            context.output.table(&sample::table(&soaked.samples), "nothing was measured")?;
            context.output.line("")?;
            context.output.table(&trend::table(&soaked.trends), "nothing was measured")?;
            context.output.line(&soaked.summary())?;
        }
        let grown: Vec<&str> = soaked.trends.iter().filter(|trend| !trend.is_flat).map(|trend| trend.what).collect();
        if grown.is_empty() {
            return Ok(());
        }
        Err(Ended::error(Exit::Failed, format!("not flat: {}", grown.join(", "))))
    }

    async fn soak(&self) -> Result<Soaked> {
        let lasting = Duration::from_secs_f64(self.minutes * 60.0);
        let looks = (lasting.as_secs_f64() / self.every) as usize;
        ensure!(looks >= SAMPLES_MIN, "only {looks} looks in that time; make --minutes longer or --every shorter");
        let dir = tempfile::Builder::new().prefix("polder-bench-").tempdir().context("cannot make a directory")?;
        let data = dir.path().join("bench.csv");
        DataSet::new(vec![0.0, 1.0], vec![0, 1], 1, 2)?.write_csv(&data)?;
        let mut federation = LocalFederation::start_with(dir.path(), &RETAINED).await?;
        let client = federation.client().await?;
        for index in 1..=self.workers {
            federation.add_worker(&client, &format!("bench-{index}"), (round::DATASET, &data)).await?;
        }
        talk(&format!("{} workers on {}; {} minutes", self.workers, federation.endpoint(), self.minutes))?;
        let watched = Watched::of(&federation, dir.path())?;
        let (samples, progress) = federation.during(self.work(&client, &watched, lasting)).await?;
        federation.stop().await?;
        let trends = trend::all(&samples);
        Ok(Soaked {
            minutes: self.minutes,
            workers: self.workers,
            params: self.params,
            runs_completed: progress.runs_completed,
            rounds_committed: progress.rounds_committed,
            is_flat: trends.iter().all(|trend| trend.is_flat),
            trends,
            samples,
        })
    }

    /// One run after the other, looked at every so often.
    async fn work(&self, client: &Client, watched: &Watched, lasting: Duration) -> Result<(Vec<Sample>, Progress)> {
        let params = self.params;
        let model = tokio::task::spawn_blocking(move || round::model(params)).await??;
        client.upload_model(&model).await?;
        let spec = round::spec(client, model_spec(&model), (self.workers, self.rounds)).await?;
        drop(model);
        let run = client.submit_run(&spec).await?;
        let mut progress = Progress { run, runs_completed: 0, rounds_before: 0, rounds_committed: 0 };
        let mut looks = tokio::time::interval(Duration::from_secs_f64(self.every));
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let began = Instant::now();
        let mut samples = Vec::new();
        while began.elapsed() < lasting {
            looks.tick().await;
            if progress.look(client).await? {
                progress.run = client.submit_run(&spec).await?;
            }
            let (watched, at) = (watched.clone(), (began.elapsed().as_secs_f64(), progress.rounds_committed));
            samples.push(tokio::task::spawn_blocking(move || watched.look(at)).await??);
        }
        Ok((samples, progress))
    }
}

/// How far the runs have come.
#[derive(Debug)]
struct Progress {
    run: RunId,
    runs_completed: u64,
    /// Of runs that are complete.
    rounds_before: u64,
    rounds_committed: u64,
}

impl Progress {
    /// Says whether the run is complete.
    async fn look(&mut self, client: &Client) -> Result<bool> {
        let run = client.run(&self.run).await?;
        self.rounds_committed = self.rounds_before + run.rounds_committed;
        match run.status.as_str() {
            "running" => Ok(false),
            "completed" => {
                self.runs_completed += 1;
                self.rounds_before = self.rounds_committed;
                Ok(true)
            }
            other => anyhow::bail!("run {} is {other}: {}", self.run, run.reason.clone().unwrap_or_default()),
        }
    }
}

impl Soaked {
    fn summary(&self) -> String {
        let flat = if self.is_flat { "flat" } else { "not flat" };
        format!(
            "{} rounds of {} runs with {} workers and {} parameters in {} minutes: {flat}\n\
             (flat is a mean of the last quarter within {} % of the second quarter's, or hardly above it)",
            self.rounds_committed,
            self.runs_completed + 1,
            self.workers,
            self.params,
            self.minutes,
            trend::TOLERANCE * 100.0
        )
    }
}
