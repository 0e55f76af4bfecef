//! `polder model list`

use std::collections::BTreeMap;

use clap::Args;
use polder_core::RunId;
use polder_core::view::ModelView;

use crate::args::Context;
use crate::output::{Table, bytes, talk};

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
        context.output.table(&table(models.iter().map(|model| &model.view)), "There is no model yet.")?;
        match removed(models.iter().map(|model| &model.view)) {
            0 => Ok(()),
            removed => talk(&format!(
                "{removed} older versions were removed: a run keeps the submitted model, the newest, the best evaluated, and \
                 as many others as its `retention.models` says."
            )),
        }
    }
}

/// Versions that there were and that are not kept.
fn removed<'a>(models: impl Iterator<Item = &'a ModelView>) -> u64 {
    let mut of_runs: BTreeMap<&RunId, (u64, u64)> = BTreeMap::new();
    for model in models {
        let (newest, kept) = of_runs.entry(&model.run).or_default();
        *newest = model.version.max(*newest);
        *kept += 1;
    }
    of_runs.values().map(|(newest, kept)| (newest + 1).saturating_sub(*kept)).sum()
}

fn table<'a>(models: impl Iterator<Item = &'a ModelView>) -> Table {
    let mut table = Table::new(&["RUN", ">VERSION", ">ROUND", ">SIZE", "KEPT AS", "DIGEST"]);
    for model in models {
        table.row([
            model.run.to_string(),
            model.version.to_string(),
            if model.round == 0 { "-".into() } else { model.round.to_string() },
            bytes(model.bytes),
            model.kept_as.clone(),
            model.digest.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use polder_core::Digest;

    use super::*;

    #[test]
    fn models_say_why_they_are_kept_and_what_is_gone_is_counted() {
        let model = |version, kept_as: &str| ModelView {
            run: "digits-3f9a1c".parse().unwrap(),
            version,
            round: u32::try_from(version).unwrap(),
            digest: Digest::blake3([1; 32]),
            bytes: 2048,
            kept_as: kept_as.into(),
        };
        let models = [model(0, "submitted"), model(3, "best"), model(8, "newest")];
        assert_eq!(removed(models.iter()), 6);
        assert_eq!(removed(models[..1].iter()), 0);
        let text = table(models.iter()).render(false);
        assert!(text.contains("VERSION  ROUND      SIZE  KEPT AS    DIGEST"), "{text}");
        assert!(text.contains("      3      3  2.00 KiB  best       blake3:01"), "{text}");
    }
}
