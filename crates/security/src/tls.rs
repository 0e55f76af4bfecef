//! The handshakes. One port, TLS 1.3 and nothing below it, and two kinds of newcomer told apart by ALPN:
//!
//! | the client offers | it must show | it becomes |
//! | --- | --- | --- |
//! | [`ENROLMENT_PROTOCOL`] | nothing; it trusts us by the fingerprint in its token | [`Accepted::Enrolling`] |
//! | anything else | a certificate of our authority that names a worker or an operator | [`Accepted::Peer`] |
//!
//! No session is ever resumed: resumption would skip the verification of certificates, and with it their expiry.
//!
//! In TLS 1.3 a client is done before the server has seen the client's certificate, so a refusal arrives where the
//! first answer should be. [`Connector::connect`] therefore waits for the server's first bytes (an HTTP/2 server sends
//! its SETTINGS at once), so that a connection it returns has been accepted, and a refusal keeps its reason.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, OtherError, RootCertStore};

mod acceptor;
mod connector;
mod refusal;
mod stream;
mod verifier;

#[cfg(test)]
pub(crate) mod tests;

pub use acceptor::{Accepted, Acceptor};
pub use connector::{ConnectError, ConnectFailure, Connector, EnrolmentConnector, Presented};
pub use refusal::{HandshakeError, Refusal};
pub use stream::SecureStream;
pub use verifier::UntrustedAuthority;

use verifier::PeerVerifier;

/// What peers speak inside: HTTP/2, for gRPC.
pub const PEER_PROTOCOL: &[u8] = b"h2";
/// What a newcomer without a certificate speaks: HTTP/2 too, but only the enrolment service.
pub const ENROLMENT_PROTOCOL: &[u8] = b"polder-enrol/1";
/// How long a handshake may take, from the first byte to the last.
pub const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// TLS cannot be set up with these credentials.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("the certificate is for {found}, but {expected} is needed here")]
    Identity { found: crate::Identity, expected: &'static str },
}

/// The cryptography: ring's, and no process-wide default that another crate could change.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes ring the choice of libraries that ask for the process's own, such as clients of object stores; nothing of ours
/// does. Called before the first of them is set up; later calls change nothing.
pub fn use_ring() {
    // An error says that somebody has chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Verifies what a client shows: its chain and dates up to `authority`, and that it names a worker or an operator.
pub(crate) fn client_verifier(
    authority: &CertificateDer<'static>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let webpki = WebPkiClientVerifier::builder_with_provider(roots(authority)?.into(), provider())
        .build()
        .map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))?;
    Ok(Arc::new(PeerVerifier::new(webpki)))
}

fn roots(authority: &CertificateDer<'static>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    Ok(roots)
}

/// An error of ours as rustls carries it; the other side gets the alert `certificate_unknown`.
fn refuse(error: impl std::error::Error + Send + Sync + 'static) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// The rustls error behind an I/O error of `tokio-rustls`, if there is one.
fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
