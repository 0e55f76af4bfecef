//! `polder run set-policy`

use clap::Args;
use polder_core::RunId;
use polder_core::policy::OnFailure;

use crate::args::{Context, on_failure};
use crate::client::PolicyWish;
use crate::output::plain;

#[derive(Debug, Args)]
pub(crate) struct SetPolicy {
    run: RunId,
    /// Who is to decide how updates become a model.
    #[arg(long, value_name = "NAME[@VERSION]")]
    aggregation: Option<String>,
    /// Its parameters [default: {}; those in force if the policy stays the same].
    #[arg(long, value_name = "JSON")]
    aggregation_parameters: Option<String>,
    /// What happens to a round when it fails: retry, previous, builtin or abandon.
    #[arg(long, value_name = "WHAT", value_parser = on_failure)]
    aggregation_on_failure: Option<OnFailure>,
    /// Who is to decide who trains.
    #[arg(long, value_name = "NAME[@VERSION]")]
    placement: Option<String>,
    /// Its parameters [default: {}; those in force if the policy stays the same].
    #[arg(long, value_name = "JSON")]
    placement_parameters: Option<String>,
    /// What happens to a round when it fails: retry, previous, builtin or abandon.
    #[arg(long, value_name = "WHAT", value_parser = on_failure)]
    placement_on_failure: Option<OnFailure>,
}

impl SetPolicy {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let wish = |policy, parameters, on_failure| {
            let wish = PolicyWish { policy, parameters, on_failure };
            Some(wish).filter(|wish| *wish != PolicyWish::default())
        };
        let placement = wish(self.placement, self.placement_parameters, self.placement_on_failure);
        let aggregation = wish(self.aggregation, self.aggregation_parameters, self.aggregation_on_failure);
        let client = context.client().await?;
        let swapped = client.set_policies(&self.run, placement, aggregation).await?;
        if context.output.is_json() {
            return context.output.object(&swapped);
        }
        let mut text = format!("From round {} on, {} is decided by", swapped.from_round, swapped.run);
        for (kind, policy) in [("placement", &swapped.placement), ("aggregation", &swapped.aggregation)] {
            let (parameters, on_failure) = (plain(&policy.parameters), policy.on_failure);
            text += &format!("\n  {kind:<12} {policy} {parameters}, on failure: {on_failure}");
        }
        context.output.line(&text)
    }
}
