//! The coordinator: runs federated rounds.
//!
//! | module | holds |
//! | --- | --- |
//! | [`config`] | what a coordinator needs to know to start |
//! | [`driver`] | the one loop that owns the federation: apply, journal, act, publish |
//! | [`handle`] | the only way in for everybody else |
//! | [`store`], [`spool`] | what must not be lost: journal, log, blobs; updates on their way into a model |
//! | [`aggregation`] | the pipeline: spooled updates become the next model, chunk by chunk |
//! | [`rehearsal`] | the pipeline on made-up files, for those who measure it |
//! | [`policies`] | which component answers which question |
//! | [`sessions`] | open worker streams, and what the workers last said of themselves |
//! | [`api`] | the gRPC services, one file each, thin; nothing decides anything there |
//! | [`meter`] | where the time goes |
//! | [`server`] | the port: handshakes, then HTTP/2 |

pub mod aggregation;
mod api;
pub mod config;
mod driver;
mod handle;
mod layouts;
mod meter;
mod policies;
pub mod rehearsal;
mod server;
mod sessions;
pub mod spool;
pub mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use polder_policy::PolicyHost;
use polder_security::CertificateAuthority;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use handle::CoordinatorHandle;

use crate::driver::{Driver, Performer};
use crate::policies::Policies;
use crate::server::Server;
use crate::sessions::Sessions;
use crate::spool::Spool;
use crate::store::Store;

/// Why a coordinator did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Spool(#[from] spool::SpoolError),
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
    #[error("journal entry {seq} cannot be read; restore the directory from a backup")]
    JournalEntry { seq: u64, source: serde_json::Error },
    #[error("journal entry {seq} does not fit what came before it; restore the directory from a backup")]
    JournalRefused { seq: u64, source: Box<polder_core::federation::Refusal> },
    #[error("`{}` cannot be written", path.display())]
    Write { path: std::path::PathBuf, source: std::io::Error },
    #[error("the server stopped")]
    Server(#[from] tonic::transport::Error),
}

/// A coordinator that is ready to serve: its port is bound, its past is replayed.
pub struct Coordinator {
    driver: Driver,
    server: Server,
    handle: CoordinatorHandle,
    endpoint: polder_security::Endpoint,
    listening: SocketAddr,
}

impl Coordinator {
    /// Puts a coordinator together, in the order in which its parts need each other.
    pub async fn build(config: Config) -> Result<Self, CoordinatorError> {
        let listener = server::bind(config.listen).await?;
        let listening = listener.local_addr().map_err(server::listen_error(config.listen))?;
        let endpoint = config.endpoint(listening)?;

        let store = Arc::new(Store::open(&config.dir).await?);
        let spool = Spool::open(&config.dir.join("spool"))?;
        let authority = Arc::new(CertificateAuthority::create_or_open(&config.dir.join("ca"), config::wall_clock())?);
        config.write_operator_profile(&authority, &endpoint)?;

        let host = PolicyHost::new(config.limits.clone(), Some(config.dir.join("policy-cache")))?;
        let host = Arc::new(host.compiling_in(config.compile_in.clone()));
        let policies = Policies::new(host, store.clone(), config.required_signers.clone().into());
        let sessions = Sessions::default();
        let layouts = layouts::Layouts::new(store.blobs().clone());

        let performer =
            Performer::new(store.clone(), spool.clone(), policies.clone(), sessions.clone(), layouts.clone());
        let (driver, handle) = Driver::recover(store.clone(), performer, &config.times).await?;
        let services = api::Services {
            handle: handle.clone(),
            store,
            spool,
            authority: authority.clone(),
            endpoint: endpoint.clone(),
            policies,
            sessions,
            layouts,
            uploads: api::Uploads::default(),
            times: config.times,
        };
        let server = Server::new(listener, config, &authority, &endpoint, services)?;
        Ok(Self { driver, server, handle, endpoint, listening })
    }

    /// Where workers and operators reach it.
    #[must_use]
    pub fn endpoint(&self) -> &polder_security::Endpoint {
        &self.endpoint
    }

    /// The address it is bound to.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.listening
    }

    #[must_use]
    pub fn handle(&self) -> CoordinatorHandle {
        self.handle.clone()
    }

    /// Serves until `shutdown`: then no new connection is taken, streams end, and what is in the inbox is journaled.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), CoordinatorError> {
        let Self { driver, server, handle, .. } = self;
        drop(handle);
        tracing::info!(listening = %self.listening, advertised = %self.endpoint, "coordinator is up");
        // If either ends, the other has nothing left to do.
        let both = shutdown.child_token();
        let driver = async {
            let _end = both.clone().drop_guard();
            driver.run(both.clone()).await
        };
        let server = async {
            let _end = both.clone().drop_guard();
            server.run(both.clone()).await
        };
        let (driver, server) = tokio::join!(driver, server);
        tracing::info!("coordinator is down");
        driver.and(server)
    }
}
