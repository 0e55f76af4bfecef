//! The command line: noun, then verb.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use polder_core::policy::OnFailure;
use tracing_subscriber::filter::LevelFilter;

use crate::client::Client;
use crate::command::{backup, bench, coordinator, demo, login, model, policy, restore, round, run, sim, token, worker};
use crate::failure::EXIT_CODES;
use crate::home::{Home, Profile};
use crate::output::Output;

/// Federated learning across regions that keep their data, decided by WebAssembly policies.
#[derive(Debug, Parser)]
#[command(name = "polder", version, after_help = EXIT_CODES, max_term_width = 110)]
#[command(arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Globals {
    /// Print JSON on stdout: one object, or one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The profile to talk to a coordinator with: a directory that `polder login` or a coordinator wrote.
    #[arg(long, global = true, value_name = "DIR", env = "POLDER_PROFILE", hide_env = true)]
    pub(crate) profile: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: a federation of regions on this machine, on real handwritten digits.
    Demo(demo::Demo),
    /// Measure what a round costs.
    #[command(subcommand)]
    Bench(bench::Verb),
    /// Drive the core through seeded faults: lost messages, crashes, partitions, full disks, lies.
    Sim(sim::Sim),
    /// Run a coordinator.
    #[command(subcommand)]
    Coordinator(coordinator::Verb),
    /// Copy everything that a coordinator must not lose to a directory; it may run meanwhile.
    Backup(backup::Backup),
    /// Make a coordinator's directory, and fill its database and object store, from a backup.
    Restore(restore::Restore),
    /// Tokens that let workers and operators join.
    #[command(subcommand)]
    Token(token::Verb),
    /// Become an operator of a coordinator on another machine.
    Login(login::Login),
    /// Run a worker in a region, and see to those that joined.
    #[command(subcommand)]
    Worker(worker::Verb),
    /// Submit runs and follow them.
    #[command(subcommand)]
    Run(run::Verb),
    /// Look into a round of a run.
    #[command(subcommand)]
    Round(round::Verb),
    /// The policies that decide who trains and how updates become a model.
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Compiles what comes in on stdin, for a coordinator that started it.
    #[command(hide = true)]
    PolicyCompiler,
    /// The models that runs made.
    #[command(subcommand)]
    Model(model::Verb),
}

impl Command {
    /// What is logged where `POLDER_LOG` says nothing.
    pub(crate) fn log_level(&self) -> LevelFilter {
        match self {
            Self::Coordinator(coordinator::Verb::Start(_)) | Self::Worker(worker::Verb::Start(_)) => LevelFilter::INFO,
            _ => LevelFilter::WARN,
        }
    }
}

/// What commands work with.
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn new(globals: Globals) -> Self {
        let output = Output::new(globals.json);
        Self { globals, output }
    }

    pub(crate) fn home(&self) -> anyhow::Result<Home> {
        Ok(Home::find()?)
    }

    /// The coordinator of the profile.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let profile = Profile::find(self.globals.profile.as_deref(), &self.home()?)?;
        Ok(Client::of_profile(&profile).await?)
    }
}

/// A duration in words: `90s`, `1h 30m`, `7d`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for instance `90s`, `1h 30m` or `7d`"))
}

/// What happens to a round whose policy failed.
pub(crate) fn on_failure(text: &str) -> Result<OnFailure, String> {
    let all = [OnFailure::Retry, OnFailure::Previous, OnFailure::Builtin, OnFailure::Abandon];
    let found = all.into_iter().find(|choice| choice.to_string() == text);
    found.ok_or_else(|| "write `retry`, `previous`, `builtin` or `abandon`".into())
}

#[cfg(test)]
mod tests;
