//! `polder token create`

use std::time::Duration;

use clap::Args;
use polder_core::Region;
use polder_security::OperatorName;

use crate::args::{Context, duration};
use crate::client::TokenFor;

/// The longest that a coordinator lets a token wait.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("bearer").required(true))]
pub(crate) struct Create {
    /// Let a worker of this region join (`polder worker start --join TOKEN`).
    #[arg(long, group = "bearer")]
    region: Option<Region>,
    /// Let an operator of this name in (`polder login TOKEN`).
    #[arg(long, value_name = "NAME", group = "bearer")]
    operator: Option<OperatorName>,
    /// How long the token waits to be used; at most 30 days.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    expires: Duration,
}

impl Create {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let bearer = match (self.region, self.operator) {
            (Some(region), _) => TokenFor::Worker(region),
            (None, Some(name)) => TokenFor::Operator(name),
            (None, None) => return Err(crate::failure::Ended::usage("give --region REGION or --operator NAME")),
        };
        let token = context.client().await?.create_token(&bearer, self.expires).await?;
        if context.output.is_json() { context.output.object(&token) } else { context.output.line(&token.token) }
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a token that expires at once is of no use".into()),
        lifetime if lifetime > LIFETIME_MAX => Err("a token waits for 30 days at most; write `30d` or less".into()),
        lifetime => Ok(lifetime),
    }
}
