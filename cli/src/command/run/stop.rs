//! `polder run stop`

use clap::Args;
use polder_core::RunId;
use serde_json::json;

use crate::args::Context;
use crate::output::talk;

#[derive(Debug, Args)]
pub(crate) struct Stop {
    run: RunId,
    /// For the log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

impl Stop {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        context.client().await?.stop_run(&self.run, &self.reason).await?;
        if context.output.is_json() {
            return context.output.object(&json!({ "run": self.run, "status": "stopped" }));
        }
        talk(&format!("{} is stopped; its models are kept.", self.run))
    }
}
