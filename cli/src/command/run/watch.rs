//! `polder run watch`

use clap::Args;
use polder_core::RunId;
use polder_core::view::RunView;

use crate::args::Context;
use crate::client::{Client, Document};
use crate::failure::{Ended, Exit};
use crate::output::talk;
use crate::progress::View;
use crate::shutdown::Signals;

#[derive(Debug, Args)]
pub(crate) struct Watch {
    run: RunId,
    /// Only log lines after this one.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
}

impl Watch {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client().await?;
        watch(context, &client, &self.run, self.after).await
    }
}

/// Shows the run until it ends; an error unless it completed.
pub(crate) async fn watch(context: &Context, client: &Client, run: &RunId, after: u64) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let view = View::new(context.output);
    let ended = tokio::select! {
        ended = follow(client, run, after, &view) => ended,
        exit = signals.next() => {
            view.close();
            return Err(Ended::error(exit, format!("stopped watching; the run goes on (`polder run watch {run}`)")));
        }
    };
    view.close();
    let ended = ended?;
    if context.output.is_json() {
        context.output.line(&format!(r#"{{"type":"run","view":{}}}"#, ended.text))?;
    } else {
        talk(&super::show::facts(&ended))?;
    }
    match ended.status.as_str() {
        "completed" => Ok(()),
        status => {
            let reason = ended.reason.as_deref().unwrap_or("for no reason given");
            Err(Ended::error(Exit::Failed, format!("{run} {status}: {reason}")))
        }
    }
}

async fn follow(client: &Client, run: &RunId, after: u64, view: &View) -> anyhow::Result<Document<RunView>> {
    let mut watch = client.watch(run, after, true);
    loop {
        while let Some(event) = watch.next().await? {
            view.show(event)?;
        }
        // The stream ends with the run, or with the coordinator in between: asking tells which.
        let now = client.run(run).await?;
        if now.status != "running" {
            return Ok(now);
        }
    }
}
