//! `polder restore`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use polder_coordinator::backup;

use super::backup::{Place, Report};
use crate::args::Context;
use crate::output::talk;

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A backup that `polder backup` made.
    #[arg(long, value_name = "BACKUP")]
    from: PathBuf,
    /// Where it goes: a directory that is empty or not there yet, a database that holds nothing, and an object store that
    /// no federation has.
    #[command(flatten)]
    place: Place,
}

impl Restore {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let config = self.place.config(context)?;
        let summary = backup::restore(&self.from, &config).await.context("nothing was restored")?;
        let report = Report::new(&summary, Vec::new());
        if context.output.is_json() {
            return context.output.object(&report);
        }
        let dir = config.dir.display();
        let objects = config.blobs.as_ref().map(|address| {
            format!("\nThe object store {address} is this federation's alone now: the one that the backup is of must not use it.")
        });
        talk(&format!(
            "`{dir}` holds {}.\nStart a coordinator on it: polder coordinator start --dir {dir}\n\
             The one that the backup is of must not run any more: workers could join either.{}",
            report.sentence(),
            objects.unwrap_or_default()
        ))
    }
}
