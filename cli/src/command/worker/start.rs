//! `polder worker start`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use polder_core::{Region, WorkerName};
use polder_security::{Endpoint, JoinToken};
use polder_worker::{Config, RawConfig, State, Worker};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::args::{Context, duration};
use crate::component;
use crate::failure::Ended;
use crate::home::Home;
use crate::output::{Output, talk};
use crate::shutdown::{Signals, in_order};

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// What `polder token create --region REGION` printed; not needed again once the worker has joined.
    #[arg(long, value_name = "TOKEN", env = "POLDER_TOKEN", hide_env_values = true)]
    join: Option<String>,
    /// A data set that this region has: its name in run files, and a CSV or IDX file or a folder with one. Repeat for
    /// more.
    #[arg(long, value_name = "NAME=PATH", required = true)]
    data: Vec<String>,
    /// What the worker is called [default: REGION-1, or a name made of the token].
    #[arg(long)]
    name: Option<WorkerName>,
    /// The region it takes itself for; a token for another region is refused.
    #[arg(long)]
    region: Option<Region>,
    /// Assignments it takes at once.
    #[arg(long, default_value_t = 1)]
    slots: u32,
    /// Where it keeps its files [default: $POLDER_HOME/workers/NAME].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where the coordinator is, if it cannot be reached at the address in the token.
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: Option<Endpoint>,
    /// Work only under aggregation policies that this region accepts (repeat it for several): a digest
    /// (`sha256:...`), a signer (`ed25519:...`), or the name of a built-in policy [default: all].
    #[arg(long, value_name = "DIGEST|SIGNER|NAME")]
    allow_aggregation: Vec<String>,
    /// The release policy that decides on every update before it leaves this region: the name of a built-in one, or a
    /// component here [default: allow-all].
    #[arg(long, value_name = "NAME|FILE.wasm")]
    release: Option<String>,
    /// Its parameters [default: {}].
    #[arg(long, value_name = "JSON", requires = "release")]
    release_parameters: Option<String>,
    /// How often to keep a checkpoint of training, which goes on from it after a crash [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    checkpoint_every: Option<Duration>,
    /// How long a trainer may say nothing before it is taken to hang and is tried again [default: 30m].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    trainer_silence: Option<Duration>,
    /// Tell the coordinator whatever a trainer that crashes says, which may quote data of this region; else only what cannot.
    #[arg(long)]
    share_trainer_output: bool,
}

/// What `--json` prints once the worker has its first session.
#[derive(Serialize)]
struct Up {
    worker: WorkerName,
    region: Region,
    dir: PathBuf,
}

impl Start {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let (name, dir) = match self.dir {
            // What lies in the directory may say who we are.
            Some(dir) => (self.name, dir),
            None => {
                let home = context.home()?;
                let name = name_of(self.name, self.region.as_ref(), self.join.as_deref(), &home)?;
                (Some(name.clone()), home.worker(&name))
            }
        };
        let wrapped = self.release.as_deref().map(component::for_worker).transpose()?.flatten();
        let raw = RawConfig {
            dir: dir.clone(),
            join: self.join,
            endpoint: self.coordinator.map(|to| to.to_string()),
            name: name.map(String::from),
            region: self.region.map(String::from),
            data: self.data,
            slots: Some(self.slots),
            allow_aggregation: self.allow_aggregation,
            release: wrapped.as_ref().map(|(_, file)| file.clone()).or(self.release),
            release_parameters: self.release_parameters,
            checkpoint_every: self.checkpoint_every,
            trainer_silence: self.trainer_silence,
            shares_trainer_output: self.share_trainer_output,
        };
        let config = Config::try_from(raw)?;
        // Data sets are read here, which may take long.
        let building = tokio::task::spawn_blocking(move || Worker::build(config));
        let build = async { building.await?.context("the worker cannot start") };
        let worker = signals.unless_stopped(build).await?;
        drop(wrapped);
        let shutdown = CancellationToken::new();
        in_order(signals, shutdown.clone(), serve(worker, dir, context.output, shutdown)).await
    }
}

async fn serve(worker: Worker, dir: PathBuf, output: Output, shutdown: CancellationToken) -> anyhow::Result<()> {
    let announcing = announce(worker.state(), dir, output);
    let working = worker.run(shutdown);
    tokio::pin!(working);
    let ended = tokio::select! {
        ended = &mut working => ended,
        announced = announcing => {
            announced?;
            working.await
        }
    };
    ended.context("the worker stopped")
}

/// Says so once the worker has its first session.
async fn announce(mut state: watch::Receiver<State>, dir: PathBuf, output: Output) -> anyhow::Result<()> {
    let connected = state.wait_for(|state| matches!(state, State::Connected { .. })).await.map(|state| state.clone());
    // The sender is gone only if the worker is, which speaks for itself.
    let Ok(State::Connected { worker, region }) = connected else { return Ok(()) };
    if output.is_json() {
        return output.object(&Up { worker, region, dir });
    }
    talk(&format!("{worker} works for region {region} and keeps its files in {}.", dir.display()))
}

/// The worker's name: the one given; else made of the region or of the token's id, the same each time; else that of the
/// only worker ever started here.
fn name_of(
    given: Option<WorkerName>,
    region: Option<&Region>,
    token: Option<&str>,
    home: &Home,
) -> anyhow::Result<WorkerName> {
    match (given, region, token) {
        (Some(name), _, _) => Ok(name),
        (None, Some(region), _) => WorkerName::new(format!("{region}-1"))
            .context("the region's name is too long to make a worker's; give --name"),
        (None, None, Some(token)) => Ok(WorkerName::new(format!("worker-{}", token.parse::<JoinToken>()?.id))?),
        (None, None, None) => match home.worker_names().as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Ended::usage(
                "no worker has joined from here yet; give --join TOKEN (from `polder token create --region REGION`)",
            )),
            many => {
                let names: Vec<&str> = many.iter().map(WorkerName::as_str).collect();
                Err(Ended::usage(format!(
                    "several workers were started here; choose one with --name: {}",
                    names.join(", ")
                )))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_or_made_or_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let region: Region = "eu-west".parse().unwrap();
        let name = |given: Option<&str>, region, token| {
            name_of(given.map(|name| name.parse().unwrap()), region, token, &home).map(String::from)
        };
        assert_eq!(name(Some("mine"), Some(&region), Some("polder1.x")).unwrap(), "mine");
        assert_eq!(name(None, Some(&region), Some("polder1.x")).unwrap(), "eu-west-1");
        assert!(name(None, None, Some("polder1.x")).is_err(), "a token that is none makes no name");
        assert!(name(None, None, None).unwrap_err().to_string().contains("no worker has joined"));

        let joined = |name: &str| {
            std::fs::create_dir_all(home.workers().join(name)).unwrap();
            std::fs::write(home.workers().join(name).join("credentials.pem"), "x").unwrap();
        };
        joined("eu-west-1");
        assert_eq!(name(None, None, None).unwrap(), "eu-west-1");
        joined("us-east-1");
        assert!(name(None, None, None).unwrap_err().to_string().ends_with("--name: eu-west-1, us-east-1"));
    }
}
