//! The coordinator: runs federated rounds.
//!
//! | module | holds |
//! | --- | --- |
//! | [`config`] | what a coordinator needs to know to start |
//! | [`house`] | what it has whether it leads or not: port, store, authority |
//! | [`lead`] | whose turn it is: follow until the lease is ours, lead until it is lost |
//! | [`driver`] | the one loop that owns the federation: apply, journal, act, publish |
//! | [`handle`] | the only way in for everybody else |
//! | [`store`], [`spool`] | what must not be lost: journal, log, blobs; updates on their way into a model |
//! | [`aggregation`] | the pipeline: spooled updates become the next model, chunk by chunk |
//! | [`backup`] | everything in plain files, and back |
//! | [`verify`] | whether every file holds what its name says |
//! | [`rehearsal`] | the pipeline on made-up files, for those who measure it |
//! | [`policies`] | which component answers which question |
//! | [`sessions`] | open worker streams, and what the workers last said of themselves |
//! | [`api`] | the gRPC services, one file each, thin; nothing decides anything there |
//! | [`meter`] | where the time goes |
//! | [`retention`] | what is kept of the past, and for how long |
//! | [`disk`] | how full the disk is, and what follows from that |
//! | [`server`] | the port: handshakes, then HTTP/2 |
//! | [`start`] | what is waited for before it is up |

pub mod aggregation;
mod api;
pub mod backup;
pub mod config;
mod disk;
mod driver;
mod handle;
mod house;
mod layouts;
mod lead;
mod meter;
mod policies;
pub mod rehearsal;
mod retention;
mod server;
mod sessions;
pub mod spool;
mod start;
pub mod store;
pub mod verify;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use handle::CoordinatorHandle;
pub use retention::Housekeeping;

use crate::house::House;
use crate::lead::Term;

/// Why a coordinator did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Spool(#[from] spool::SpoolError),
    #[error(transparent)]
    ClusterKey(#[from] polder_security::ClusterKeyError),
    #[error("the certificate authority cannot be used")]
    Authority(#[from] polder_security::AuthorityError),
    #[error("the operator's credentials cannot be written")]
    Credentials(#[from] polder_security::CredentialsError),
    #[error("the server's TLS cannot be set up")]
    Tls(#[from] polder_security::tls::TlsSetupError),
    #[error("the policy sandbox cannot be set up")]
    Policy(#[from] polder_policy::PolicyError),
    #[error("`{advertise}` cannot be advertised")]
    Advertise { advertise: String, source: polder_security::endpoint::EndpointError },
    #[error("cannot listen on {listen}: {hint}")]
    Listen { listen: SocketAddr, hint: &'static str, source: std::io::Error },
    #[error(
        "journal entry {seq} cannot be read: a newer version wrote it, or it is damaged; start the newer version, or restore \
         a backup"
    )]
    JournalEntry { seq: u64, source: serde_json::Error },
    #[error("journal entry {seq} does not fit what came before it; restore the directory from a backup")]
    JournalRefused { seq: u64, source: Box<polder_core::federation::Refusal> },
    #[error(
        "the snapshot after journal entry {seq} cannot be read: a newer version wrote it, or it is damaged; start the newer \
         version, or restore a backup"
    )]
    Snapshot { seq: u64, source: serde_json::Error },
    #[error(
        "the snapshot after journal entry {seq} was made under rules {rules}, and this version knows them up to {ours}; \
         start the newer version"
    )]
    SnapshotNewer { seq: u64, rules: u32, ours: u32 },
    #[error(
        "a coordinator at {peer} has the same id as this one: one's directory is a copy of the other's; remove `{}`, and this \
         one is another",
        member.display()
    )]
    Twin { peer: String, member: std::path::PathBuf },
    #[error("`{}` cannot be written", path.display())]
    Write { path: std::path::PathBuf, source: std::io::Error },
    #[error("the server stopped")]
    Server(#[from] tonic::transport::Error),
}

impl CoordinatorError {
    /// Whether it is worth waiting and trying again: the database, the object store or the disk does not serve for now.
    fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => error.is_passing(),
            Self::Spool(error) => error.is_passing(),
            _ => store::objects::is_full(self),
        }
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Store(store::StoreError::Full { .. }) | Self::Spool(spool::SpoolError::Full { .. }))
            || store::objects::is_full(self)
    }
}

/// A coordinator that is ready: its port is bound, and it leads unless another one does.
pub struct Coordinator {
    house: Arc<House>,
    /// The term that has begun already.
    term: Option<Term>,
    listening: SocketAddr,
}

impl Coordinator {
    /// Binds the port, opens the store, and leads if nobody else does; with a database of its own that is always so.
    ///
    /// Waits for a database or an object store that is away, and for room on the disk, for as long as that takes.
    pub async fn build(config: Config) -> Result<Self, CoordinatorError> {
        let (listen, dir) = (config.listen, config.dir.clone());
        let house = start::until_it_passes(&dir, async || House::open(config.clone()).await).await?;
        let house = Arc::new(house);
        let listening = house.listener.local_addr().map_err(server::listen_error(listen))?;
        let term = start::until_it_passes(&dir, async || lead::lead_at_once(&house).await).await?;
        Ok(Self { house, term, listening })
    }

    /// Where workers and operators reach it.
    #[must_use]
    pub fn endpoint(&self) -> &polder_security::Endpoint {
        &self.house.endpoint
    }

    /// The address it is bound to.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// The way to the federation, for the term that has begun; none while another coordinator leads.
    #[must_use]
    pub fn handle(&self) -> Option<CoordinatorHandle> {
        self.term.as_ref().map(Term::handle)
    }

    /// Serves until `shutdown`: then no new connection is taken, streams end, what is in the inbox is journaled, and
    /// another coordinator may lead at once.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), CoordinatorError> {
        let Self { house, term, listening } = self;
        let role = if term.is_some() { "leads" } else { "follows" };
        tracing::info!(%listening, advertised = %house.endpoint, role, "coordinator is up");
        let ended = lead::take_turns(house, term, shutdown).await;
        tracing::info!("coordinator is down");
        ended
    }
}
