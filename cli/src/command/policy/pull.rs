//! `polder policy pull`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::args::Context;
use crate::output::talk;

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The newest version where none is named; a digest does as well.
    #[arg(value_name = "NAME[@VERSION]")]
    policy: String,
    /// Where the component goes [default: NAME.wasm here].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Pull {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let (policy, component) = context.client().await?.pull_policy(&self.policy).await?;
        let path = self.output.unwrap_or_else(|| format!("{}.wasm", policy.name).into());
        std::fs::write(&path, &component).with_context(|| format!("cannot write `{}`", path.display()))?;
        if context.output.is_json() {
            return context.output.line(&policy.text);
        }
        talk(&format!("{} is in {} ({})", policy.id(), path.display(), policy.digest))
    }
}
