//! `polder bench fanin`: how many workers one coordinator holds. The workers are light ones, all in this process; the
//! coordinator is a process of its own.

mod files;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use super::crowd::Crowd;
use super::round::{mean, model, spec, time_rounds};
use super::spent::{self, Spent};
use crate::args::Context;
use crate::client::Client;
use crate::failure::Ended;
use crate::local::{LocalFederation, open_files, peak_bytes, resident_bytes};
use crate::output::{Table, or_dash, talk};
use crate::run_file::model_spec;
use crate::shutdown::Signals;

/// How long the coordinator is left alone before its memory is read: some heartbeats of every worker.
const SETTLING: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(crate) struct Fanin {
    /// Light workers, all of them connected at once.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=20_000))]
    workers: u32,
    /// Rounds measured with a cohort of `--cohort`, and as many with all workers, after one of each that is not.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Workers in a round of the first kind.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    cohort: u32,
    /// Float32 parameters of the model.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    parameters: u64,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Measured {
    workers: u32,
    parameters: u64,
    /// Seconds until all had certificates.
    enrol_seconds: f64,
    /// The coordinator's process with no worker connected, with half of them, with all, and after the rounds.
    held: Vec<Held>,
    /// Memory that a worker takes while connected, rounds aside.
    bytes_per_worker: Option<f64>,
    coordinator_peak_bytes: Option<u64>,
    rounds: Vec<Rounds>,
    /// Seconds from the coordinator's death (`kill -9`) until it was up again, and until all workers were back.
    restart_seconds: f64,
    return_seconds: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Held {
    workers: u32,
    /// None where the system does not tell.
    resident_bytes: Option<u64>,
    open_files: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Rounds {
    cohort: u32,
    rounds: u32,
    seconds_mean: f64,
    seconds_median: f64,
    seconds_p99: f64,
    /// Where the coordinator's time went, as it measured it.
    steps: Vec<Spent>,
}

impl Fanin {
    pub(crate) async fn perform(self, context: &Context) -> Result<()> {
        let mut signals = Signals::listen()?;
        let measured = tokio::select! {
            measured = self.measure() => measured?,
            exit = signals.next() => return Err(Ended::error(exit, "the benchmark was interrupted")),
        };
        if context.output.is_json() { context.output.object(&measured) } else { print(&measured, context) }
    }

    async fn measure(&self) -> Result<Measured> {
        files::make_room(self.workers)?;
        let dir = tempfile::Builder::new().prefix("polder-bench-").tempdir().context("cannot make a directory")?;
        let mut federation = LocalFederation::start(dir.path()).await?;
        let client = federation.client().await?;
        let started = Instant::now();
        let mut crowd = Crowd::enrol(&client, self.workers).await?;
        let enrol_seconds = started.elapsed().as_secs_f64();
        talk(&format!("{} workers have certificates; they connect", self.workers))?;

        let (endpoint, id) = (federation.endpoint().to_owned(), federation.coordinator_id());
        let id = id.context("the coordinator has ended")?;
        let mut held = vec![look(id, 0).await];
        for connected in [self.workers / 2, self.workers] {
            federation.during(crowd.connect(&endpoint, connected)).await?;
            held.push(look(id, connected).await);
        }
        talk("all are connected; rounds begin")?;
        let mut rounds = Vec::new();
        for cohort in [self.cohort.min(self.workers), self.workers] {
            rounds.push(federation.during(self.rounds(&client, cohort)).await?);
        }
        held.push(look(id, self.workers).await);
        let coordinator_peak_bytes = peak_bytes(id);
        let (restart_seconds, return_seconds) = self.restart(&mut federation, &mut crowd).await?;
        drop(crowd);
        federation.stop().await?;
        Ok(Measured {
            workers: self.workers,
            parameters: self.parameters,
            enrol_seconds,
            bytes_per_worker: per_worker(&held),
            held,
            coordinator_peak_bytes,
            rounds,
            restart_seconds,
            return_seconds,
        })
    }

    async fn rounds(&self, client: &Client, cohort: u32) -> Result<Rounds> {
        let parameters = self.parameters;
        let model = tokio::task::spawn_blocking(move || model(parameters)).await??;
        let spec = spec(client, model_spec(&model), (cohort, self.rounds + 1)).await?;
        client.upload_model(&model).await?;
        let before = client.coordinator().await?.view.steps;
        let run = client.submit_run(&spec).await?;
        let seconds = time_rounds(client, &run, self.rounds).await?;
        let steps = spent::between(&before, &client.coordinator().await?.view.steps, self.rounds + 1);
        let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).ceil() as usize];
        Ok(Rounds {
            cohort,
            rounds: self.rounds,
            seconds_mean: mean(&seconds),
            seconds_median: at(0.5),
            seconds_p99: at(0.99),
            steps,
        })
    }

    /// Kills the coordinator, starts it again, and waits until everybody is back.
    async fn restart(&self, federation: &mut LocalFederation, crowd: &mut Crowd) -> Result<(f64, f64)> {
        let welcomed = crowd.welcomed();
        let killed = Instant::now();
        federation.restart_coordinator().await?;
        let restart_seconds = killed.elapsed().as_secs_f64();
        federation.during(crowd.until_welcomed(welcomed + u64::from(self.workers), self.workers)).await?;
        Ok((restart_seconds, killed.elapsed().as_secs_f64()))
    }
}

/// Leaves the coordinator alone for a moment, then looks at it.
async fn look(id: u32, workers: u32) -> Held {
    tokio::time::sleep(SETTLING).await;
    Held { workers, resident_bytes: resident_bytes(id), open_files: open_files(id) }
}

fn per_worker(held: &[Held]) -> Option<f64> {
    let none = held.iter().find(|held| held.workers == 0)?;
    // The first of them: what came later did rounds, too.
    let most = held.iter().map(|held| held.workers).max()?;
    let all = held.iter().find(|held| held.workers == most)?;
    let grown = all.resident_bytes?.saturating_sub(none.resident_bytes?);
    Some(grown as f64 / f64::from(all.workers.max(1)))
}

fn print(measured: &Measured, context: &Context) -> Result<()> {
    let bytes = |bytes: Option<u64>| or_dash(bytes.map(crate::output::bytes));
    let mut held = Table::new(&[">WORKERS", ">COORDINATOR'S MEMORY", ">OPEN FILES"]);
    for at in &measured.held {
        held.row([at.workers.to_string(), bytes(at.resident_bytes), or_dash(at.open_files)]);
    }
    context.output.table(&held, "nothing was measured")?;
    let mut rounds = Table::new(&[">COHORT", ">ROUNDS", ">MEDIAN", ">99 %"]);
    for kind in &measured.rounds {
        let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
        let (cohort, count) = (kind.cohort.to_string(), kind.rounds.to_string());
        rounds.row([cohort, count, ms(kind.seconds_median), ms(kind.seconds_p99)]);
    }
    context.output.table(&rounds, "no round was measured")?;
    if let Some(last) = measured.rounds.last() {
        context.output.line(&spent::table(&last.steps, last.seconds_mean))?;
    }
    context.output.line(&format!(
        "a connected worker takes {} of the coordinator's memory; its peak was {}\n\
         {} workers had certificates after {:.1} s; after kill -9 the coordinator was up in {:.2} s and all workers were back in \
         {:.2} s",
        bytes(measured.bytes_per_worker.map(|bytes| bytes as u64)),
        bytes(measured.coordinator_peak_bytes),
        measured.workers,
        measured.enrol_seconds,
        measured.restart_seconds,
        measured.return_seconds
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_out_among_those_who_came() {
        let at = |workers, resident_bytes| Held { workers, resident_bytes, open_files: None };
        // What rounds took is not a connection's.
        let held = [at(0, Some(1000)), at(50, Some(1500)), at(100, Some(2000)), at(100, Some(9000))];
        assert_eq!(per_worker(&held), Some(10.0));
        assert_eq!(per_worker(&[at(0, None), at(2, Some(5))]), None);
    }
}
