//! Whom each side believes: the usual chain and dates, by webpki, and then the one identity in the certificate.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::{provider, refuse, roots};
use crate::certificate::Fingerprint;
use crate::identity::{Identity, IdentityError};

/// The server's side: a client is a worker or an operator with a certificate of ours.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
}

impl PeerVerifier {
    pub(super) fn new(webpki: Arc<dyn ClientCertVerifier>) -> Self {
        Self { webpki }
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.webpki.verify_client_cert(certificate, intermediates, now)?;
        match Identity::from_certificate(certificate) {
            Ok(Identity::Worker { .. } | Identity::Operator { .. }) => Ok(verified),
            Ok(found) => Err(refuse(IdentityError::Unexpected { found, expected: "a worker or an operator" })),
            Err(error) => Err(refuse(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// No certificate that the server sent is the authority named by our token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's authority is not {expected}, which the token names")]
pub struct UntrustedAuthority {
    pub expected: Fingerprint,
}

/// The client's side: the server is the coordinator of our authority. Its address plays no part: a name in DNS says
/// who answers, the identity in the certificate says who it is.
pub(super) struct CoordinatorVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

enum Trust {
    /// A peer has its authority's certificate.
    Authority(RootCertStore),
    /// A newcomer has its fingerprint, and takes the certificate from what the server sends.
    Fingerprint(Fingerprint),
}

impl CoordinatorVerifier {
    pub(super) fn of_authority(authority: &CertificateDer<'static>) -> Result<Self, rustls::Error> {
        Ok(Self { trust: Trust::Authority(roots(authority)?), algorithms: algorithms() })
    }

    pub(super) fn of_fingerprint(fingerprint: Fingerprint) -> Self {
        Self { trust: Trust::Fingerprint(fingerprint), algorithms: algorithms() }
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

impl fmt::Debug for CoordinatorVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorVerifier").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned;
        let roots = match &self.trust {
            Trust::Authority(roots) => roots,
            Trust::Fingerprint(expected) => {
                let authority = intermediates.iter().find(|der| Fingerprint::of(der) == *expected);
                let authority = authority.ok_or_else(|| refuse(UntrustedAuthority { expected: *expected }))?;
                pinned = super::roots(&authority.clone().into_owned())?;
                &pinned
            }
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)?;
        match Identity::from_certificate(certificate) {
            Ok(Identity::Coordinator) => Ok(ServerCertVerified::assertion()),
            Ok(found) => Err(refuse(IdentityError::Unexpected { found, expected: "the coordinator" })),
            Err(error) => Err(refuse(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
