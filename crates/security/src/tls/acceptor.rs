//! The coordinator's door: one port for peers with a certificate and newcomers with a token.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{
    ENROLMENT_PROTOCOL, HANDSHAKE_TIMEOUT, HandshakeError, PEER_PROTOCOL, Refusal, SecureStream, TlsSetupError,
    client_verifier, provider,
};
use crate::credentials::Credentials;
use crate::identity::Identity;

/// How long, and how much, a refused client may still send before the connection is cut.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);
const PARTING_BYTES_MAX: u64 = 16 * 1024;

/// Who came in.
#[derive(Debug)]
pub enum Accepted {
    /// A worker or an operator, by its certificate.
    Peer { stream: SecureStream, identity: Identity },
    /// A newcomer that may enrol and do nothing else.
    Enrolling { stream: SecureStream },
}

/// Turns TCP connections into [`Accepted`] ones. A cheap handle: clones share the certificate, which can be replaced
/// while connections are being accepted.
#[derive(Clone)]
pub struct Acceptor {
    configs: Arc<RwLock<Configs>>,
    handshake_timeout: Duration,
}

#[derive(Clone)]
struct Configs {
    peers: Arc<ServerConfig>,
    enrolment: Arc<ServerConfig>,
}

impl Acceptor {
    /// A door for the coordinator with these `credentials` (of [`crate::CertificateAuthority::issue_server`]). It
    /// admits peers of the same authority.
    pub fn new(credentials: &Credentials) -> Result<Self, TlsSetupError> {
        let configs = Arc::new(RwLock::new(configs(credentials)?));
        Ok(Self { configs, handshake_timeout: HANDSHAKE_TIMEOUT })
    }

    /// Another limit than [`HANDSHAKE_TIMEOUT`] for one whole handshake.
    #[must_use]
    pub fn with_handshake_timeout(self, limit: Duration) -> Self {
        Self { handshake_timeout: limit, ..self }
    }

    /// From now on, new connections see this certificate. Those that are open, or in the middle of their handshake, go
    /// on.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), TlsSetupError> {
        let configs = configs(credentials)?;
        *self.configs.write().unwrap_or_else(PoisonError::into_inner) = configs;
        Ok(())
    }

    /// Does one handshake, within the limit. Run it in a task of its own, so that a slow client delays nobody else.
    pub async fn accept(&self, tcp: TcpStream) -> Result<Accepted, HandshakeError> {
        // A connection can be gone before it is looked at; then nobody knows where it came from.
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let peer = tcp.peer_addr().unwrap_or(unknown);
        let limit = self.handshake_timeout;
        let refused = |refusal| HandshakeError { peer, refusal };
        match timeout(limit, self.handshake(tcp, peer)).await {
            Err(_) => Err(refused(Refusal::TimedOut { limit })),
            Ok(Ok(accepted)) => Ok(accepted),
            Ok(Err((refusal, left))) => {
                if let Some(tcp) = left {
                    part(tcp).await;
                }
                Err(refused(refusal))
            }
        }
    }

    async fn handshake(&self, tcp: TcpStream, peer: SocketAddr) -> Result<Accepted, (Refusal, Option<TcpStream>)> {
        if let Err(error) = tcp.set_nodelay(true) {
            return Err((error.into(), Some(tcp)));
        }
        let mut greeting = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp);
        let hello = (&mut greeting).await;
        let hello = hello.map_err(|error| (error.into(), greeting.take_io()))?;
        let enrols =
            hello.client_hello().alpn().is_some_and(|mut offered| offered.any(|name| name == ENROLMENT_PROTOCOL));
        let configs = self.configs.read().unwrap_or_else(PoisonError::into_inner).clone();
        let config = if enrols { configs.enrolment } else { configs.peers };
        let tls = hello.into_stream(config).into_fallible().await;
        let tls = tls.map_err(|(error, tcp)| (error.into(), Some(tcp)))?;
        admit(tls, peer, enrols).map_err(|refusal| (refusal, None))
    }
}

/// What a finished handshake makes of the client.
fn admit(tls: TlsStream<TcpStream>, peer: SocketAddr, enrols: bool) -> Result<Accepted, Refusal> {
    let session = tls.get_ref().1;
    // A client that offers no protocol at all gets through the handshake without one.
    let protocol = if enrols { ENROLMENT_PROTOCOL } else { PEER_PROTOCOL };
    if session.alpn_protocol() != Some(protocol) {
        return Err(Refusal::Protocol);
    }
    if enrols {
        return Ok(Accepted::Enrolling { stream: SecureStream::new(tls.into(), None, peer) });
    }
    let certificate = session.peer_certificates().and_then(<[_]>::first).ok_or(Refusal::NoCertificate)?;
    let identity = Identity::from_certificate(certificate).map_err(Refusal::Identity)?;
    Ok(Accepted::Peer { stream: SecureStream::new(tls.into(), Some(identity.clone()), peer), identity })
}

/// Lets a refused client read why. Closing a socket with bytes unread resets the connection, and a reset may overtake
/// the alert; so what it still sends is read and dropped, within bounds.
async fn part(mut tcp: TcpStream) {
    let farewell = async {
        tcp.shutdown().await?;
        tokio::io::copy(&mut tcp.take(PARTING_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // Either way the connection is over; there is nobody left to tell.
    let _ = timeout(PARTING_TIMEOUT, farewell).await;
}

fn configs(credentials: &Credentials) -> Result<Configs, TlsSetupError> {
    let found = credentials.identity();
    if *found != Identity::Coordinator {
        return Err(TlsSetupError::Identity { found: found.clone(), expected: "the coordinator" });
    }
    let key = Arc::new(SingleCertAndKey::from(credentials.certified_key()?));
    let config = |verifier, protocol: &[u8]| {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(key.clone());
        config.alpn_protocols = vec![protocol.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok::<_, rustls::Error>(Arc::new(config))
    };
    Ok(Configs {
        peers: config(client_verifier(credentials.authority())?, PEER_PROTOCOL)?,
        enrolment: config(WebPkiClientVerifier::no_client_auth(), ENROLMENT_PROTOCOL)?,
    })
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("handshake_timeout", &self.handshake_timeout).finish_non_exhaustive()
    }
}
