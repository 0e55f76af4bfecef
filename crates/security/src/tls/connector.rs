//! The way to the coordinator, for peers and for newcomers.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use polder_core::Timestamp;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verifier::CoordinatorVerifier;
use super::{ENROLMENT_PROTOCOL, HANDSHAKE_TIMEOUT, PEER_PROTOCOL, SecureStream, TlsSetupError, provider};
use crate::certificate::{self, Fingerprint};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::identity::Identity;

/// rustls wants a name for the server; ours goes by its identity, and the name is not sent.
const SERVER_NAME: &str = "coordinator.polder";

/// A connection to the coordinator that did not come about. [`crate::explain()`] makes a sentence of it.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to the coordinator at {endpoint}")]
pub struct ConnectError {
    pub endpoint: Endpoint,
    #[source]
    pub failure: ConnectFailure,
    /// What we showed; None for a newcomer.
    pub presented: Option<Presented>,
}

/// What went wrong on the way to the coordinator.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    #[error("it cannot be reached")]
    Unreachable(#[source] io::Error),
    #[error("it did not answer within {limit:?}")]
    TimedOut { limit: Duration },
    #[error("it closed the connection without a word")]
    Closed,
    #[error("it does not speak Polder's protocol")]
    Protocol,
    #[error("the TLS connection failed")]
    Tls(#[source] io::Error),
}

/// What we showed of ourselves, so that a refusal can be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    pub identity: Identity,
    pub expires_at: Timestamp,
    /// Whether our own clock said that the certificate was over when we showed it.
    pub expired: bool,
}

/// Connects a worker or an operator. A cheap handle: clones share the credentials, which can be replaced while in use.
#[derive(Clone)]
pub struct Connector {
    state: Arc<RwLock<State>>,
    timeout: Duration,
}

#[derive(Clone)]
struct State {
    config: Arc<ClientConfig>,
    identity: Identity,
    expires_at: Timestamp,
}

impl Connector {
    /// Connects with these `credentials`, to the coordinator of their authority and nobody else.
    pub fn new(credentials: &Credentials) -> Result<Self, TlsSetupError> {
        Ok(Self { state: Arc::new(RwLock::new(State::new(credentials)?)), timeout: HANDSHAKE_TIMEOUT })
    }

    /// Another limit than [`HANDSHAKE_TIMEOUT`] for one whole connection attempt.
    #[must_use]
    pub fn with_timeout(self, limit: Duration) -> Self {
        Self { timeout: limit, ..self }
    }

    /// From now on, new connections show this certificate.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), TlsSetupError> {
        let state = State::new(credentials)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    /// Connects, and waits until the server has accepted us by sending its first bytes; those stay to be read.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<SecureStream, ConnectError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner).clone();
        let attempt = async {
            let mut tls = handshake(endpoint, state.config, PEER_PROTOCOL).await?;
            if tls.fill_buf().await.map_err(tls_failure)?.is_empty() {
                return Err(ConnectFailure::Closed);
            }
            finish(tls)
        };
        let presented = || Presented {
            identity: state.identity,
            expires_at: state.expires_at,
            expired: certificate::now() > state.expires_at,
        };
        within(self.timeout, attempt).await.map_err(|failure| ConnectError {
            endpoint: endpoint.clone(),
            failure,
            presented: Some(presented()),
        })
    }
}

impl State {
    fn new(credentials: &Credentials) -> Result<Self, TlsSetupError> {
        let identity = credentials.identity().clone();
        if identity == Identity::Coordinator {
            return Err(TlsSetupError::Identity { found: identity, expected: "a worker or an operator" });
        }
        let verifier = CoordinatorVerifier::of_authority(credentials.authority())?;
        let key = Arc::new(SingleCertAndKey::from(credentials.certified_key()?));
        let mut config = builder(verifier)?.with_client_cert_resolver(key);
        harden(&mut config, PEER_PROTOCOL);
        Ok(Self { config: Arc::new(config), identity, expires_at: credentials.expires_at() })
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Connects a newcomer that has a token and no certificate yet.
#[derive(Clone)]
pub struct EnrolmentConnector {
    config: Arc<ClientConfig>,
    timeout: Duration,
}

impl EnrolmentConnector {
    /// Trusts the one authority whose certificate has this fingerprint.
    pub fn new(fingerprint: Fingerprint) -> Result<Self, TlsSetupError> {
        let mut config = builder(CoordinatorVerifier::of_fingerprint(fingerprint))?.with_no_client_auth();
        harden(&mut config, ENROLMENT_PROTOCOL);
        Ok(Self { config: Arc::new(config), timeout: HANDSHAKE_TIMEOUT })
    }

    /// Another limit than [`HANDSHAKE_TIMEOUT`] for one whole connection attempt.
    #[must_use]
    pub fn with_timeout(self, limit: Duration) -> Self {
        Self { timeout: limit, ..self }
    }

    /// Connects to the coordinator that issued the token. Nothing, the secret least of all, is sent to anybody else.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<SecureStream, ConnectError> {
        let attempt = async { finish(handshake(endpoint, self.config.clone(), ENROLMENT_PROTOCOL).await?) };
        within(self.timeout, attempt).await.map_err(|failure| ConnectError {
            endpoint: endpoint.clone(),
            failure,
            presented: None,
        })
    }
}

impl std::fmt::Debug for EnrolmentConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolmentConnector").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn builder(
    verifier: impl ServerCertVerifier + 'static,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    // The verifier does all that webpki does, and then reads the identity instead of the host name.
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

fn harden(config: &mut ClientConfig, protocol: &[u8]) {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
}

async fn within<T>(
    limit: Duration,
    attempt: impl Future<Output = Result<T, ConnectFailure>>,
) -> Result<T, ConnectFailure> {
    timeout(limit, attempt).await.unwrap_or(Err(ConnectFailure::TimedOut { limit }))
}

async fn handshake(
    endpoint: &Endpoint,
    config: Arc<ClientConfig>,
    protocol: &[u8],
) -> Result<TlsStream<TcpStream>, ConnectFailure> {
    let address = (endpoint.host(), endpoint.port());
    let tcp = TcpStream::connect(address).await.map_err(ConnectFailure::Unreachable)?;
    tcp.set_nodelay(true).map_err(ConnectFailure::Unreachable)?;
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| ConnectFailure::Tls(io::Error::other(error)))?;
    let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(tls_failure)?;
    // A server that knows no ALPN at all finishes the handshake without one.
    if tls.get_ref().1.alpn_protocol() != Some(protocol) {
        return Err(ConnectFailure::Protocol);
    }
    Ok(tls)
}

fn tls_failure(error: io::Error) -> ConnectFailure {
    match super::tls_error(&error) {
        None if error.kind() == io::ErrorKind::UnexpectedEof => ConnectFailure::Closed,
        _ => ConnectFailure::Tls(error),
    }
}

fn finish(tls: TlsStream<TcpStream>) -> Result<SecureStream, ConnectFailure> {
    let peer = tls.get_ref().0.peer_addr().map_err(ConnectFailure::Unreachable)?;
    // The verifier let nobody else through.
    Ok(SecureStream::new(tls.into(), Some(Identity::Coordinator), peer))
}
