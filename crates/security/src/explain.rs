//! One actionable sentence for a connection to the coordinator that failed.
//!
//! By the time an error reaches a person it is wrapped: gRPC around HTTP around I/O around TLS. This walks the chain
//! down to what it knows, and says what happened, whose doing it was, and what to do now. The words are a worker's or
//! an operator's; the coordinator's own log has [`crate::HandshakeError`].

use std::error::Error;
use std::io;
use std::iter::successors;

use polder_core::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use crate::certificate::date;
use crate::identity::{Identity, IdentityError};
use crate::tls::{ConnectError, ConnectFailure, Presented, UntrustedAuthority};

/// How deep a chain of causes is followed; a chain longer than this is a loop.
const CAUSES_MAX: usize = 32;

/// Explains `error`, or whatever among its causes is about reaching the coordinator. None if nothing is.
///
/// With a [`ConnectError`] in the chain the sentence says which address and which certificate; a bare TLS error (from a
/// connection of somebody else's making) is explained as well as can be without.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let attempt = causes(error).find_map(|cause| cause.downcast_ref::<ConnectError>());
    let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    let context = Context { attempt };
    match (tls, attempt) {
        (Some(tls), _) => Some(context.tls(tls)),
        (None, Some(attempt)) => Some(context.failure(&attempt.failure)),
        (None, None) => None,
    }
}

/// `error` and what is behind it. An [`io::Error`] hides the error it was made of from `source`, so it is asked for it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&cause| {
        let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| cause.source())
    })
    .take(CAUSES_MAX)
}

/// What is known about the attempt.
struct Context<'a> {
    attempt: Option<&'a ConnectError>,
}

impl Context<'_> {
    /// The server, where nothing proves that it is the coordinator.
    fn server(&self) -> String {
        match self.attempt {
            Some(attempt) => format!("the server at {}", attempt.endpoint),
            None => "the server".into(),
        }
    }

    fn presented(&self) -> Option<&Presented> {
        self.attempt?.presented.as_ref()
    }

    /// How to get a certificate that the coordinator accepts.
    fn remedy(&self) -> String {
        match self.presented().map(|presented| &presented.identity) {
            Some(Identity::Operator { .. }) => {
                "copy the operator credentials again from the coordinator's data directory".into()
            }
            Some(Identity::Worker { region, .. }) => worker_remedy(region.as_str()),
            _ => worker_remedy("REGION"),
        }
    }

    fn failure(&self, failure: &ConnectFailure) -> String {
        let server = self.server();
        match failure {
            ConnectFailure::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused => format!(
                "nothing listens at the coordinator's address: {server} refused the connection; check that the \
                 coordinator is running and that the address is right"
            ),
            ConnectFailure::Unreachable(error) => format!(
                "{server} cannot be reached ({error}); check the address, and that the network lets this machine \
                 connect to it"
            ),
            ConnectFailure::TimedOut { limit } => format!(
                "{server} did not answer within {} s; check the address, and that nothing on the way holds \
                 connections back",
                limit.as_secs_f32()
            ),
            ConnectFailure::Closed => format!(
                "{server} closed the connection without a word; it may be shutting down, or something on the way \
                 cuts connections"
            ),
            ConnectFailure::Protocol => not_polder(&server),
            ConnectFailure::Tls(error) => {
                format!("the connection to {server} broke during the handshake ({error}); try again")
            }
        }
    }

    fn tls(&self, error: &rustls::Error) -> String {
        let server = self.server();
        match error {
            rustls::Error::AlertReceived(alert) => self.alert(*alert),
            rustls::Error::InvalidCertificate(error) => self.certificate(error),
            rustls::Error::InvalidMessage(_) => {
                format!("{server} answers, but not with TLS; check that this is the coordinator's address and port")
            }
            rustls::Error::PeerIncompatible(_) => not_tls13(&server),
            rustls::Error::NoApplicationProtocol => not_polder(&server),
            error => format!("the TLS connection to {server} failed: {error}"),
        }
    }

    /// The coordinator refused us.
    fn alert(&self, alert: AlertDescription) -> String {
        let remedy = self.remedy();
        match alert {
            AlertDescription::CertificateRequired => {
                format!("the coordinator requires a certificate and we have none; {remedy}")
            }
            AlertDescription::CertificateExpired => self.expired(),
            AlertDescription::UnknownCA | AlertDescription::DecryptError => format!(
                "the coordinator refused our certificate: it comes from another authority, so this is another \
                 coordinator or one that was set up anew; check the address, or {remedy}"
            ),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => {
                format!("the coordinator refused our certificate: it does not name a worker or an operator; {remedy}")
            }
            AlertDescription::NoApplicationProtocol => not_polder(&self.server()),
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => not_tls13(&self.server()),
            alert => format!("{} ended the TLS handshake (alert {alert:?}); its log says why", self.server()),
        }
    }

    /// One alert stands for two things, and for two clocks: ours can tell which.
    fn expired(&self) -> String {
        let remedy = self.remedy();
        match self.presented() {
            Some(presented) if !presented.expired => format!(
                "the coordinator refused our certificate: by its clock it has expired or is not valid yet, by ours \
                 it is valid until {}; compare the clocks of both machines",
                date(presented.expires_at)
            ),
            Some(presented) => format!(
                "the coordinator refused our certificate: it has expired ({}); {remedy}",
                date(presented.expires_at)
            ),
            None => format!("the coordinator refused our certificate: it has expired; {remedy}"),
        }
    }

    /// We refused the server.
    fn certificate(&self, error: &CertificateError) -> String {
        let server = self.server();
        match error {
            CertificateError::ExpiredContext { time, not_after } => format!(
                "the coordinator's certificate expired at {} and our clock says {}; if the clock is right, restart \
                 the coordinator: it renews its certificate",
                instant(*not_after),
                instant(*time)
            ),
            CertificateError::NotValidYetContext { time, not_before } => format!(
                "the coordinator's certificate is valid from {} on and our clock says {}; set this machine's clock, \
                 or the coordinator's",
                instant(*not_before),
                instant(*time)
            ),
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "{server} is not our coordinator: its certificate comes from another authority; check the address, \
                 or, if the coordinator was set up anew, {}",
                self.remedy()
            ),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                impostor(&server, "its certificate is not one for servers")
            }
            CertificateError::Other(other) => {
                let other = other.0.as_ref();
                if other.is::<UntrustedAuthority>() {
                    format!(
                        "{server} is not the coordinator that issued this token: its authority has another \
                         fingerprint; check the address, or ask for a new token (`polder token create`)"
                    )
                } else if let Some(IdentityError::Unexpected { found, .. }) = other.downcast_ref() {
                    impostor(&server, &format!("its certificate is for {found}"))
                } else {
                    impostor(&server, &other.to_string())
                }
            }
            error => format!("the certificate of {server} was refused: {error}"),
        }
    }
}

fn worker_remedy(region: &str) -> String {
    format!("ask for a new token (`polder token create --region {region}`) and start the worker with `--join TOKEN`")
}

fn impostor(server: &str, why: &str) -> String {
    format!(
        "{server} is not the coordinator: {why}; check the address, and tell whoever runs the coordinator: this may \
         be an attack"
    )
}

fn not_polder(server: &str) -> String {
    format!("{server} speaks TLS, but not Polder's protocol; check that this is the coordinator's address and port")
}

fn not_tls13(server: &str) -> String {
    format!(
        "{server} does not speak TLS 1.3, which every coordinator does; check the address, and for a proxy on the way"
    )
}

fn instant(time: UnixTime) -> String {
    date(Timestamp(time.as_secs().saturating_mul(1000)))
}

#[cfg(test)]
mod tests;
