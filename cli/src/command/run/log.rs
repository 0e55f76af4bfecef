//! `polder run log`

use clap::Args;
use polder_core::RunId;

use crate::args::Context;
use crate::client::WatchEvent;
use crate::progress::{Line, text_of};

#[derive(Debug, Args)]
pub(crate) struct Log {
    run: RunId,
    /// Only lines after this one.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
}

impl Log {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let mut lines = context.client().await?.watch(&self.run, self.after, false);
        while let Some(event) = lines.next().await? {
            match event {
                WatchEvent::Line { seq, notice } if context.output.is_json() => {
                    context.output.object(&Line { seq, notice: &notice })?;
                }
                WatchEvent::Line { notice, .. } => context.output.line(&text_of(&notice, console::colors_enabled()))?,
                WatchEvent::Progress(_) | WatchEvent::Interrupted { .. } => {}
            }
        }
        Ok(())
    }
}
