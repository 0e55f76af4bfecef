//! `polder backup` and `polder backup verify`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use polder_coordinator::backup::{self, Summary};
use polder_coordinator::store::StoreConfig;
use serde::Serialize;

use crate::args::Context;
use crate::failure::{Ended, Exit};
use crate::output::{bytes, talk};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Backup {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    place: Place,
    /// Where the backup goes: a directory that is empty or not there yet. It holds the authority's key: keep it safe.
    #[arg(long, value_name = "BACKUP", required = true)]
    to: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read a backup to its end and check every file.
    Verify {
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
    },
}

/// Where a coordinator keeps what must not be lost: the same words as for `coordinator start`.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The coordinator's directory [default: $POLDER_HOME/coordinator].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The database, where it does not lie in the directory.
    #[arg(long, value_name = "URL", env = "POLDER_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// The object store with blobs and updates, if there is one.
    #[arg(long, value_name = "URL", env = "POLDER_BLOBS")]
    blobs: Option<String>,
}

impl Place {
    pub(crate) fn config(self, context: &Context) -> anyhow::Result<StoreConfig> {
        let dir = match self.dir {
            Some(dir) => dir,
            None => context.home()?.coordinator(),
        };
        let dir = std::path::absolute(&dir).with_context(|| format!("`{}` is no directory", dir.display()))?;
        Ok(StoreConfig { dir, database: self.database, blobs: self.blobs })
    }
}

/// What `--json` prints.
#[derive(Serialize)]
pub(crate) struct Report {
    journal_seq: u64,
    blobs: usize,
    updates: usize,
    bytes: u64,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
}

impl Report {
    pub(crate) fn new(summary: &Summary, faults: Vec<String>) -> Self {
        let Summary { journal_seq, blobs, updates, bytes } = *summary;
        Self { journal_seq, blobs, updates, bytes, faults }
    }

    pub(crate) fn sentence(&self) -> String {
        let Self { journal_seq, blobs, updates, .. } = self;
        format!(
            "the journal to entry {journal_seq}, {blobs} blobs, {updates} updates of open rounds: {}",
            bytes(self.bytes)
        )
    }
}

impl Backup {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        if let Some(Verb::Verify { backup }) = self.verb {
            return verify(context, backup).await;
        }
        let Some(to) = self.to else { return Err(Ended::usage("name a directory with --to")) };
        let to = std::path::absolute(&to).with_context(|| format!("`{}` is no directory", to.display()))?;
        let config = self.place.config(context)?;
        let summary = backup::take(&config, &to).await.context("no backup was made")?;
        let report = Report::new(&summary, Vec::new());
        if context.output.is_json() {
            return context.output.object(&report);
        }
        talk(&format!(
            "`{}` holds {}.\nIt holds the authority's private key, too: keep it where only you can read it.",
            to.display(),
            report.sentence()
        ))
    }
}

async fn verify(context: &Context, dir: PathBuf) -> anyhow::Result<()> {
    let read = dir.clone();
    let (summary, faults) = tokio::task::spawn_blocking(move || backup::verify(&read)).await??;
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let is_good = faults.is_empty();
    let report = Report::new(&summary, faults);
    if context.output.is_json() {
        context.output.object(&report)?;
    } else {
        report.faults.iter().try_for_each(|fault| context.output.line(fault))?;
        if is_good {
            talk(&format!("`{}` is good: {}.", dir.display(), report.sentence()))?;
        }
    }
    if is_good {
        return Ok(());
    }
    Err(Ended::error(
        Exit::Failed,
        format!("`{}` is damaged: take another backup, or use an earlier one", dir.display()),
    ))
}
