//! `polder worker drain`

use clap::Args;
use polder_core::WorkerName;
use serde_json::json;

use crate::args::Context;
use crate::output::talk;

#[derive(Debug, Args)]
pub(crate) struct Drain {
    worker: WorkerName,
    /// Let it take assignments again.
    #[arg(long)]
    undo: bool,
}

impl Drain {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let Self { worker, undo } = self;
        context.client().await?.drain_worker(&worker, !undo).await?;
        if context.output.is_json() {
            return context.output.object(&json!({ "worker": worker, "is_draining": !undo }));
        }
        talk(&match undo {
            true => format!("{worker} takes assignments again."),
            false => format!("{worker} finishes what it has and gets nothing new."),
        })
    }
}
