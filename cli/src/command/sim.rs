//! `polder sim`: worlds in which everything goes wrong, many at a time, or one of them line by line.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use polder_sim::{Counts, Failure, Faults, Plan, Report, explore, run, shrink};
use serde::Serialize;

use crate::args::Context;
use crate::failure::{Ended, Exit};
use crate::output::{Table, talk};

/// Failures that are kept to be shown.
const FAILURES_SHOWN: usize = 10;
const PHASES: [&str; 5] = ["between", "selection", "configuration", "reporting", "aggregation"];

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// Worlds to live through, one a seed.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "seed")]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    from: u64,
    /// Live through this one world; if it fails, find out how little has to go wrong.
    #[arg(long)]
    seed: Option<u64>,
    /// Print all that happens in the world of `--seed`.
    #[arg(long, requires = "seed")]
    log: bool,
    /// Faults that stay away, separated by commas; the summary names them all.
    #[arg(long, value_delimiter = ',', value_name = "FAULT")]
    without: Vec<String>,
    /// When faults stop, in virtual milliseconds.
    #[arg(long, default_value_t = Plan::unkind().faults_ms)]
    faults_ms: u64,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    seeds: u64,
    seconds: f64,
    runs: u64,
    completed: u64,
    takeover_ms_max: u64,
    counts: serde_json::Map<String, serde_json::Value>,
    faults: serde_json::Map<String, serde_json::Value>,
    failures: Vec<Failed<'a>>,
}

#[derive(Serialize)]
struct Failed<'a> {
    seed: u64,
    at_ms: u64,
    invariant: &'a str,
    found: &'a str,
}

/// What many worlds came to.
#[derive(Default)]
struct Lived {
    runs: u64,
    completed: u64,
    counts: Counts,
    failures: Vec<Failure>,
    failed: u64,
}

impl Sim {
    pub(crate) fn perform(self, context: &Context) -> Result<()> {
        let plan = self.plan()?;
        match self.seed {
            Some(seed) => self.one(context, seed, &plan),
            None => self.many(context, &plan),
        }
    }

    fn plan(&self) -> Result<Plan> {
        let mut plan = Plan { faults_ms: self.faults_ms, ..Plan::unkind() };
        for name in &self.without {
            plan.faults = plan.faults.without(name).ok_or_else(|| {
                let known = Faults::NAMES.join(", ");
                Ended::error(Exit::BadInput, format!("there is no fault `{name}`; the faults are {known}"))
            })?;
        }
        Ok(plan)
    }

    fn one(&self, context: &Context, seed: u64, plan: &Plan) -> Result<()> {
        let began = Instant::now();
        let result = run(seed, plan);
        if self.log {
            let log = match &result {
                Ok(report) => &report.log,
                Err(failure) => &failure.log,
            };
            for line in log {
                context.output.line(line)?;
            }
        }
        let mut lived = Lived::default();
        lived.take(result);
        if !self.log {
            lived.print(context, 1, began)?;
        }
        let Some(failure) = lived.failures.pop() else { return Ok(()) };
        if !self.log {
            talk(&failure.to_string())?;
            talk("finding out how little has to go wrong")?;
            let shrunk = shrink(failure.clone(), plan);
            let without = self.without.iter().map(String::as_str).chain(shrunk.without).collect::<Vec<_>>().join(",");
            let (faults_ms, lines) = (shrunk.plan.faults_ms, shrunk.failure.log.len());
            talk(&format!(
                "it also fails in {lines} lines: polder sim --seed {seed} --faults-ms {faults_ms} --without {without} --log"
            ))?;
        }
        Err(failed(&failure))
    }

    fn many(&self, context: &Context, plan: &Plan) -> Result<()> {
        let began = Instant::now();
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} worlds, {per_sec}, {eta} left")?;
        let bar = ProgressBar::new(self.seeds).with_style(style);
        let (lived, done) = (Mutex::new(Lived::default()), AtomicU64::new(0));
        explore(self.from..self.from.saturating_add(self.seeds), plan, |result| {
            if let Ok(mut lived) = lived.lock() {
                lived.take(result);
            }
            bar.set_position(done.fetch_add(1, Ordering::Relaxed) + 1);
        });
        bar.finish_and_clear();
        let mut lived = lived.into_inner().unwrap_or_default();
        lived.failures.sort_by_key(|failure| failure.seed);
        lived.print(context, self.seeds, began)?;
        for failure in &lived.failures {
            talk(&failure.to_string())?;
        }
        lived.failures.first().map_or(Ok(()), |failure| Err(failed(failure)))
    }
}

fn failed(failure: &Failure) -> anyhow::Error {
    let Failure { seed, invariant, .. } = failure;
    Ended::error(Exit::Failed, format!("seed {seed}: \"{invariant}\" does not hold"))
}

impl Lived {
    fn take(&mut self, result: Result<Report, Failure>) {
        match result {
            Ok(report) => {
                self.counts.add(&report.counts);
                self.runs += report.runs.len() as u64;
                self.completed += report.runs.iter().filter(|run| run.status == "completed").count() as u64;
            }
            Err(failure) => {
                self.failed += 1;
                self.failures.push(failure);
                self.failures.sort_by_key(|failure| failure.seed);
                self.failures.truncate(FAILURES_SHOWN);
            }
        }
    }

    fn print(&self, context: &Context, seeds: u64, began: Instant) -> Result<()> {
        let seconds = began.elapsed().as_secs_f64();
        if context.output.is_json() {
            return context.output.object(&self.summary(seeds, seconds));
        }
        let mut faults =
            Table::new(&["FAULT", ">STRUCK", ">BETWEEN", ">SELECT", ">CONFIGURE", ">REPORT", ">AGGREGATE"]);
        for name in Faults::NAMES {
            let [between, selection, configuration, reporting, aggregation] =
                PHASES.map(|phase| self.counts.struck.get(&(*name, phase)).copied().unwrap_or(0).to_string());
            let all = self.counts.of(name).to_string();
            faults.row([name.to_string(), all, between, selection, configuration, reporting, aggregation]);
        }
        context.output.table(&faults, "")?;
        let mut counts = Table::new(&["WHAT", ">COUNT"]);
        for (name, count) in self.counts.numbers() {
            counts.row([name.replace('-', " "), count.to_string()]);
        }
        counts.row(["longest takeover, ms".into(), self.counts.takeover_ms_max.to_string()]);
        context.output.table(&counts, "")?;
        let Self { runs, completed, failed, .. } = self;
        context.output.line(&format!(
            "{seeds} worlds in {seconds:.1} s: {failed} failed; {completed} of {runs} runs completed in spite of it all."
        ))
    }

    fn summary(&self, seeds: u64, seconds: f64) -> Summary<'_> {
        let faults = Faults::NAMES.iter().map(|name| ((*name).to_string(), self.counts.of(name).into()));
        let counts = self.counts.numbers().into_iter().map(|(name, count)| (name.to_string(), count.into()));
        let failures = self.failures.iter().map(|Failure { seed, at_ms, invariant, found, .. }| Failed {
            seed: *seed,
            at_ms: *at_ms,
            invariant,
            found,
        });
        Summary {
            seeds,
            seconds,
            runs: self.runs,
            completed: self.completed,
            takeover_ms_max: self.counts.takeover_ms_max,
            counts: counts.collect(),
            faults: faults.collect(),
            failures: failures.collect(),
        }
    }
}
