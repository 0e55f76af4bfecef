//! `polder policy list`

use clap::Args;
use polder_core::view::PolicyView;

use crate::args::Context;
use crate::output::{Table, bytes};

#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let policies = context.client().await?.policies().await?;
        if context.output.is_json() {
            return policies.iter().try_for_each(|policy| context.output.line(&policy.text));
        }
        context.output.table(&table(policies.iter().map(|policy| &policy.view)), "There is no policy.")
    }
}

pub(super) fn table<'a>(policies: impl Iterator<Item = &'a PolicyView>) -> Table {
    let mut table = Table::new(&["POLICY", "KIND", "FROM", ">SIZE", "DIGEST"]);
    for policy in policies {
        table.row([
            policy.name.to_string(),
            policy.kind.to_string(),
            if policy.is_builtin { "built in" } else { "pushed" }.into(),
            bytes(policy.bytes),
            policy.digest.to_string(),
        ]);
    }
    table
}
