//! `polder coordinator verify`

use clap::Args;
use polder_coordinator::verify::{Fault, verify};
use serde::Serialize;

use crate::args::Context;
use crate::command::backup::Place;
use crate::failure::{Ended, Exit};
use crate::output::talk;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    place: Place,
}

/// What `--json` prints: each corrupt file on a line of its own.
#[derive(Serialize)]
struct Corrupt<'a> {
    place: &'a str,
    expected: String,
    found: String,
}

impl Verify {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let config = self.place.config(context)?;
        let (checked, faults) = tokio::task::spawn_blocking(move || {
            let mut faults = Vec::new();
            verify(&config, |fault| faults.push(fault)).map(|checked| (checked, faults))
        })
        .await??;
        for Fault { place, expected, found } in &faults {
            if context.output.is_json() {
                let corrupt = Corrupt { place, expected: expected.to_string(), found: found.to_string() };
                context.output.object(&corrupt)?;
            } else {
                context.output.line(&format!("{place} is corrupt: its bytes have the digest {found}"))?;
            }
        }
        let files = checked.files;
        if faults.is_empty() {
            return talk(&format!("{files} files read; each holds what its name says."));
        }
        let sentence = format!("{} of {files} files are corrupt", faults.len());
        Err(Ended::error(Exit::Failed, sentence))
    }
}
