//! `polder coordinator start`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use polder_coordinator::config::Shared;
use polder_coordinator::{Config, Coordinator, Housekeeping};
use polder_policy::{CompileIn, Limits};
use polder_security::{Endpoint, PublicKey};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::Context;
use crate::failure::Ended;
use crate::output::talk;
use crate::shutdown::{Signals, in_order};

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Where everything durable lies [default: $POLDER_HOME/coordinator].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The address to listen on; port 0 takes any free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// What workers and operators dial, where that is not the address listened on; join tokens carry it.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<Endpoint>,
    /// A file of other limits for policies; `polder policy show` lists them all.
    #[arg(long, value_name = "FILE.toml")]
    policy_limits: Option<PathBuf>,
    /// Take only policies that this key signed (repeat it for several): `ed25519:` and 64 hexadecimal digits.
    #[arg(long, value_name = "SIGNER")]
    require_signer: Vec<PublicKey>,
    /// Where blobs and updates are kept beside the directory: `s3://BUCKET/PREFIX`, `gs://…`, `az://…`, or `file:///DIR`
    /// for a directory that all coordinators see.
    #[arg(long, value_name = "URL", env = "POLDER_BLOBS")]
    blobs: Option<String>,
    #[command(flatten)]
    housekeeping: HousekeepingArgs,
    #[command(flatten)]
    shared: SharedArgs,
}

/// What is kept of the past, and how much of the disk is left free.
#[derive(Debug, Args)]
#[command(next_help_heading = "Housekeeping")]
struct HousekeepingArgs {
    /// Entries of the journal that stay after a snapshot covers them, for auditors.
    #[arg(long, value_name = "ENTRIES", default_value_t = Housekeeping::default().journal_entries)]
    retain_journal: u64,
    /// Lines of the log that stay, the newest ones; `polder run log` shows them.
    #[arg(long, value_name = "LINES", default_value_t = Housekeeping::default().log_lines)]
    retain_log: u64,
    /// Rounds of each run that stay, the newest ones; `polder round show` shows them.
    #[arg(long, value_name = "ROUNDS", default_value_t = Housekeeping::default().rounds_per_run)]
    retain_rounds: u64,
    /// Free space below which no updates, models or new rounds are taken on until there is more [default: 256, or 1 % of a
    /// smaller disk].
    #[arg(long, value_name = "MIB")]
    disk_reserve: Option<u64>,
}

impl HousekeepingArgs {
    fn checked(&self) -> Housekeeping {
        Housekeeping {
            journal_entries: self.retain_journal,
            log_lines: self.retain_log,
            rounds_per_run: self.retain_rounds,
            disk_reserve_bytes: self.disk_reserve.map(|mib| mib.saturating_mul(1 << 20)),
            ..Housekeeping::default()
        }
    }
}

/// Several coordinators over one database.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several coordinators")]
struct SharedArgs {
    /// The database that coordinators share: `postgres://USER@HOST/DATABASE`. One of them leads, the others follow and take
    /// over. Needs --blobs and --cluster-key.
    #[arg(long, value_name = "URL", env = "POLDER_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// The key that the federation's certificate authority is sealed with in the database: a file of at least 32 random
    /// bytes in base64, the same for every coordinator.
    #[arg(long, value_name = "FILE", env = "POLDER_CLUSTER_KEY_FILE")]
    cluster_key: Option<PathBuf>,
    /// Where the other coordinators reach this one, where that is not the address listened on.
    #[arg(long, value_name = "HOST:PORT", env = "POLDER_PEER")]
    peer: Option<Endpoint>,
}

impl SharedArgs {
    fn checked(self, blobs: Option<&str>) -> anyhow::Result<Option<Shared>> {
        let Some(database) = self.database else { return Ok(None) };
        if blobs.is_none() {
            let text = "coordinators that share a database must share blobs too: give --blobs s3://BUCKET/PREFIX (or gs://, \
                        az://), or --blobs file:///DIR for a directory that all of them see";
            return Err(Ended::usage(text));
        }
        let Some(cluster_key) = self.cluster_key else {
            let text = "coordinators that share a database need a common key: make one with `head -c 32 /dev/urandom | \
                        base64 > FILE; chmod 600 FILE`, give every coordinator the same, and name it with --cluster-key FILE";
            return Err(Ended::usage(text));
        };
        Ok(Some(Shared { database, cluster_key, peer: self.peer.map(|peer| peer.to_string()) }))
    }
}

/// What `--json` prints once the coordinator is ready.
#[derive(Serialize)]
struct Up {
    listening: SocketAddr,
    endpoint: String,
    dir: PathBuf,
    /// The profile of this machine's operator, for `--profile`.
    profile: PathBuf,
    /// Whether it leads, or follows another coordinator, when it is up.
    leads: bool,
}

impl Start {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let dir = match self.dir {
            Some(dir) => dir,
            None => context.home()?.coordinator(),
        };
        let dir = std::path::absolute(&dir).with_context(|| format!("`{}` is no directory", dir.display()))?;
        let config = Config {
            advertise: self.advertise.map(|to| to.to_string()),
            limits: self.policy_limits.as_deref().map(limits).transpose()?.unwrap_or_default(),
            compile_in: compile_in(),
            required_signers: self.require_signer,
            housekeeping: self.housekeeping.checked(),
            shared: self.shared.checked(self.blobs.as_deref())?,
            blobs: self.blobs,
            ..Config::new(&dir, self.listen)
        };
        // On another thread: it replays the journal and compiles policies, which would keep signals from being heard.
        let runtime = tokio::runtime::Handle::current();
        let building = tokio::task::spawn_blocking(move || runtime.block_on(Coordinator::build(config)));
        let build = async { building.await?.context("the coordinator cannot start") };
        let coordinator = signals.unless_stopped(build).await?;

        let up = Up {
            listening: coordinator.listening(),
            endpoint: coordinator.endpoint().to_string(),
            profile: dir.join("operator"),
            dir,
            leads: coordinator.handle().is_some(),
        };
        if context.output.is_json() {
            context.output.object(&up)?;
        } else {
            talk(&format!(
                "The coordinator listens on {} and keeps its files in {}.\n\
                 Let a worker join with a token: polder token create --region REGION",
                up.listening,
                up.dir.display()
            ))?;
        }
        let shutdown = CancellationToken::new();
        let service = coordinator.run(shutdown.clone());
        in_order(signals, shutdown, async { service.await.context("the coordinator stopped") }).await
    }
}

fn limits(path: &Path) -> anyhow::Result<Limits> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    toml::from_str(&text).map_err(|error| Ended::usage(format!("`{}` is no list of limits: {error}", path.display())))
}

/// In a child process of this very program; where that cannot be found, here.
fn compile_in() -> CompileIn {
    match std::env::current_exe() {
        Ok(program) => CompileIn::Process { program, arguments: vec!["policy-compiler".into()] },
        Err(error) => {
            tracing::warn!(%error, "this program cannot be found, so policies are compiled without a limit of memory");
            CompileIn::Thread
        }
    }
}
