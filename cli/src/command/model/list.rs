//! `polder model list`

use clap::Args;
use polder_core::RunId;
use polder_core::view::ModelView;

use crate::args::Context;
use crate::output::{Table, bytes};

#[derive(Debug, Args)]
pub(crate) struct List {
    run: Option<RunId>,
}

impl List {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let models = context.client().await?.models(self.run.as_ref()).await?;
        if context.output.is_json() {
            return models.iter().try_for_each(|model| context.output.line(&model.text));
        }
        context.output.table(&table(models.iter().map(|model| &model.view)), "There is no model yet.")
    }
}

fn table<'a>(models: impl Iterator<Item = &'a ModelView>) -> Table {
    let mut table = Table::new(&["RUN", ">VERSION", ">ROUND", ">SIZE", "DIGEST"]);
    for model in models {
        table.row([
            model.run.to_string(),
            model.version.to_string(),
            if model.round == 0 { "-".into() } else { model.round.to_string() },
            bytes(model.bytes),
            model.digest.to_string(),
        ]);
    }
    table
}
