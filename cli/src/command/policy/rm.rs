//! `polder policy rm`

use clap::Args;

use crate::args::Context;
use crate::output::talk;

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// The version must be named.
    #[arg(value_name = "NAME@VERSION")]
    policy: String,
}

impl Rm {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let removed = context.client().await?.remove_policy(&self.policy).await?;
        if context.output.is_json() {
            return context.output.line(&removed.text);
        }
        talk(&format!("{} is no policy any more; runs that use {} keep it.", removed.id(), removed.digest.short()))
    }
}
