//! `polder login`

use clap::Args;
use polder_security::{Endpoint, JoinToken};
use serde::Serialize;

use crate::args::Context;
use crate::client::{Client, enrol_operator};
use crate::home::Profile;
use crate::output::talk;

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// What `polder token create --operator NAME` printed.
    #[arg(env = "POLDER_TOKEN", hide_env_values = true)]
    token: String,
    /// Where the coordinator is, if it cannot be reached at the address in the token.
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: Option<Endpoint>,
}

#[derive(Serialize)]
struct LoggedIn {
    identity: String,
    endpoint: String,
    profile: std::path::PathBuf,
}

impl Login {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let token: JoinToken = self.token.parse()?;
        let dir = match &context.globals.profile {
            Some(dir) => dir.clone(),
            None => context.home()?.operator(),
        };
        // Before the token is used up: a place that cannot be written to should cost nothing.
        let profile = Profile::create(&dir)?;
        let endpoint = self.coordinator.unwrap_or_else(|| token.endpoint.clone());
        let credentials = enrol_operator(&token, &endpoint).await?;
        profile.save(&credentials, &endpoint)?;
        Client::connect(endpoint.clone(), &credentials).await?;

        let logged_in =
            LoggedIn { identity: credentials.identity().to_string(), endpoint: endpoint.to_string(), profile: dir };
        if context.output.is_json() {
            return context.output.object(&logged_in);
        }
        talk(&format!("You are {} of the coordinator at {}.", logged_in.identity, logged_in.endpoint))
    }
}
