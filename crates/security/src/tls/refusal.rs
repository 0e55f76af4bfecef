//! Why the coordinator let somebody not in, for its log: who, and what was wrong.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::tls_error;
use crate::certificate::date;
use crate::identity::IdentityError;
use polder_core::Timestamp;

/// A connection that came to nothing. Nothing is wrong on our side.
#[derive(Debug, thiserror::Error)]
#[error("refused the connection from {peer}")]
pub struct HandshakeError {
    pub peer: SocketAddr,
    #[source]
    pub refusal: Refusal,
}

/// What was wrong with a newcomer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("it does not speak TLS; there is no plaintext mode")]
    NotTls,
    #[error("it does not speak TLS 1.3 as we do")]
    Incompatible(#[source] rustls::Error),
    #[error("it speaks none of our protocols (ALPN `h2` or `polder-enrol/1`)")]
    Protocol,
    #[error("it presented no certificate; a worker gets one by enrolling (`polder worker start --join TOKEN`)")]
    NoCertificate,
    #[error("its certificate is from another authority")]
    UnknownAuthority,
    #[error("its certificate expired{}; it must enrol again with a new token", at(*not_after))]
    Expired { not_after: Option<Timestamp> },
    #[error("its certificate is not valid yet{}; compare the clocks", at(*not_before))]
    NotValidYet { not_before: Option<Timestamp> },
    #[error("its certificate is not for clients")]
    Purpose,
    #[error("its certificate does not say who it is")]
    Identity(#[source] IdentityError),
    #[error("it refused us (TLS alert `{alert:?}`)")]
    RefusedUs { alert: AlertDescription },
    #[error("it did not finish the handshake within {limit:?}")]
    TimedOut { limit: Duration },
    #[error("it closed the connection during the handshake")]
    Closed,
    #[error("the TLS handshake failed")]
    Tls(#[source] rustls::Error),
    #[error("the connection broke")]
    Io(#[source] io::Error),
}

fn at(instant: Option<Timestamp>) -> String {
    instant.map(|instant| format!(" ({})", date(instant))).unwrap_or_default()
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match tls_error(&error) {
            Some(tls) => tls.clone().into(),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error),
        }
    }
}

impl From<rustls::Error> for Refusal {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::NotTls,
            rustls::Error::PeerIncompatible(_) => Self::Incompatible(error),
            rustls::Error::NoApplicationProtocol => Self::Protocol,
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::AlertReceived(alert) => Self::RefusedUs { alert },
            rustls::Error::InvalidCertificate(error) => certificate(error),
            error => Self::Tls(error),
        }
    }
}

fn certificate(error: CertificateError) -> Refusal {
    let instant = |time: rustls::pki_types::UnixTime| Some(Timestamp(time.as_secs().saturating_mul(1000)));
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Refusal::UnknownAuthority,
        CertificateError::Expired => Refusal::Expired { not_after: None },
        CertificateError::ExpiredContext { not_after, .. } => Refusal::Expired { not_after: instant(not_after) },
        CertificateError::NotValidYet => Refusal::NotValidYet { not_before: None },
        CertificateError::NotValidYetContext { not_before, .. } => {
            Refusal::NotValidYet { not_before: instant(not_before) }
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Refusal::Purpose,
        CertificateError::Other(other) => match other.0.downcast_ref::<IdentityError>() {
            Some(identity) => Refusal::Identity(identity.clone()),
            None => Refusal::Tls(CertificateError::Other(other).into()),
        },
        error => Refusal::Tls(error.into()),
    }
}
