//! `polder bench aggregation`: what it costs that updates become a model, and what asking a policy costs.
//!
//! Every time stands beside what it can be held against, taken in turn in the same process: reading the same bytes on the same
//! threads, the same arithmetic natively, NumPy's way on one thread. Times are medians.

mod cases;
mod memory;
mod questions;
mod timing;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::args::Context;
use crate::failure::Ended;
use crate::output::{Table, talk};
use crate::shutdown::Signals;
use memory::MemoryCase;

#[derive(Debug, Args)]
pub(crate) struct Aggregation {
    /// Models a hundredth of the size, each time taken three times: only to see that it works.
    #[arg(long, conflicts_with_all = ["shrink", "repeats"])]
    quick: bool,
    /// Divide the number of parameters of every model by this.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    shrink: u32,
    /// How often each time is taken.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Only what has this in its name or its policy's.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where the updates lie while they are needed: up to 1.2 GB. Otherwise the directory for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Aggregate once and print the memory it took, as JSON; `bench aggregation` starts itself with it.
    #[arg(long, hide = true, value_name = "JSON", requires = "dir")]
    memory_case: Option<String>,
}

/// What `--json` prints, one a line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Measured {
    name: String,
    /// Updates; for questions, workers.
    k: usize,
    /// Parameters of the model.
    n: usize,
    policy: String,
    seconds: f64,
    /// The same arithmetic natively.
    native_seconds: Option<f64>,
    /// Reading the same bytes, on the same threads.
    read_seconds: Option<f64>,
    /// Memory that aggregating took at its peak, beyond what the process had before.
    peak_bytes: Option<u64>,
    model_bytes: Option<u64>,
    /// What is asked of it, in words.
    #[serde(skip)]
    wanted: &'static str,
}

impl Aggregation {
    pub(crate) async fn perform(self, context: &Context) -> Result<()> {
        let mut signals = Signals::listen()?;
        let work = async {
            if let (Some(case), Some(dir)) = (&self.memory_case, &self.dir) {
                let case: MemoryCase = serde_json::from_str(case).context("--memory-case is no case")?;
                return context.output.object(&case.measure_here(dir).await?);
            }
            self.measure(context).await
        };
        tokio::select! {
            done = work => done,
            exit = signals.next() => Err(Ended::error(exit, "the benchmark was interrupted")),
        }
    }

    async fn measure(&self, context: &Context) -> Result<()> {
        let bench = Bench {
            shrink: if self.quick { 100 } else { self.shrink as usize },
            repeats: if self.quick { 3 } else { self.repeats as usize },
            dir: self.dir.clone().unwrap_or_else(std::env::temp_dir),
            only: self.only.clone(),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        talk(&format!("{threads} threads, {} times each, files in {}", bench.repeats, bench.dir.display()))?;
        let mut table =
            Table::new(&["what", "policy", ">K", ">N", ">time", ">÷ native", ">÷ read", ">memory ÷ model", "wanted"]);
        for case in cases::all() {
            for measured in case.run(&bench).await? {
                if context.output.is_json() {
                    context.output.object(&measured)?;
                } else {
                    talk(&format!("{} {}: {}", measured.name, measured.policy, seconds(measured.seconds)))?;
                }
                table.row(measured.cells());
            }
        }
        if context.output.is_json() { Ok(()) } else { context.output.table(&table, "nothing has that in its name") }
    }
}

/// What the cases have in common.
struct Bench {
    shrink: usize,
    repeats: usize,
    dir: PathBuf,
    only: Option<String>,
}

impl Bench {
    fn wants(&self, name: &str, policy: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only) || policy.contains(only))
    }

    fn parameters(&self, full: usize) -> usize {
        (full / self.shrink).max(1)
    }

    /// A directory that is gone when it is dropped.
    fn directory(&self) -> Result<TempDir> {
        let dir: &Path = &self.dir;
        let made = tempfile::Builder::new().prefix("polder-bench-").tempdir_in(dir);
        made.with_context(|| format!("cannot make a directory in {}", dir.display()))
    }
}

impl Measured {
    fn cells(&self) -> [String; 9] {
        let ratio =
            |other: Option<f64>| other.map_or_else(|| "-".into(), |other| format!("{:.2}", self.seconds / other));
        let share = |peak: u64, model: u64| format!("{:.2}", peak as f64 / model as f64);
        let memory =
            self.peak_bytes.zip(self.model_bytes).map_or_else(|| "-".into(), |(peak, model)| share(peak, model));
        let parameters = if self.n == 0 { "-".into() } else { self.n.to_string() };
        [
            self.name.clone(),
            self.policy.clone(),
            self.k.to_string(),
            parameters,
            seconds(self.seconds),
            ratio(self.native_seconds),
            ratio(self.read_seconds),
            memory,
            self.wanted.into(),
        ]
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        long if long >= 1.0 => format!("{long:.2} s"),
        short if short >= 1e-3 => format!("{:.1} ms", short * 1e3),
        tiny => format!("{:.1} µs", tiny * 1e6),
    }
}

#[cfg(test)]
mod tests;
