//! The coordinator's certificate authority: one key, kept in one file, that signs everything.
//!
//! What a certificate says is decided here and by the caller, never by the request: a [`CertificateRequest`] lends its
//! public key and nothing else.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use polder_core::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use crate::certificate::{self, Fingerprint, Validity};
use crate::credentials::{Credentials, InvalidCredentials, split_pem};
use crate::files::{self, FileError};
use crate::identity::Identity;
use crate::sealed::{ClusterKey, SealError};

/// The file inside the authority's directory: certificate and key in PEM.
pub const AUTHORITY_FILE: &str = "authority.pem";
/// What the sealed authority of a shared database is sealed for.
const SEALED_FOR: &str = "polder certificate authority";
/// How long a new authority lives: ten years.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far certificates reach into the past, so that a peer whose clock is a little behind can use one at once.
pub const BACKDATING: Duration = Duration::from_secs(5 * 60);
/// Largest certificate request that is looked at, in bytes; ours are below 300.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Most names one server certificate may carry.
pub const SERVER_NAMES_MAX: usize = 32;

/// Why the authority could not be opened, or would not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "`{}` holds no usable certificate authority; restore it from a backup, or remove it to start a new \
         authority, with which every worker must enrol again",
        path.display()
    )]
    Unusable { path: PathBuf, source: UnusableAuthority },
    #[error(
        "the certificate authority in the database cannot be opened with this cluster key; give this coordinator the \
         key file that the federation's other coordinators have"
    )]
    Sealed(#[from] SealError),
    #[error("the certificate authority in the database is not usable; restore the database from a backup")]
    SealedUnusable(#[source] UnusableAuthority),
    #[error(
        "`{}` holds another certificate authority ({local}) than the database ({shared}): this directory belonged to \
         another federation; give another directory, or remove that file if nothing needs it any more",
        path.display()
    )]
    Foreign { path: PathBuf, local: Fingerprint, shared: Fingerprint },
    #[error(
        "the certificate authority expired at {}; start a new one and enrol every worker again",
        certificate::date(*at)
    )]
    AuthorityExpired { at: Timestamp },
    #[error("`{name}` is neither a DNS name nor an IP address")]
    ServerName { name: String },
    #[error("a server certificate needs 1 to {SERVER_NAMES_MAX} names, not {count}")]
    ServerNames { count: usize },
    #[error("only the coordinator's own server certificate may say that it is the coordinator")]
    CoordinatorAsClient,
    #[error("the certificate request is not usable: {why}")]
    BadRequest { why: &'static str },
    #[error("a date is out of range: {} plus {lifetime:?}", certificate::date(*now))]
    Date { now: Timestamp, lifetime: Duration },
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("cannot make a certificate")]
    Generate(#[source] rcgen::Error),
    #[error("the certificate just made does not hold")]
    Inconsistent(#[source] InvalidCredentials),
}

/// What is wrong with an authority's file.
#[derive(Debug, thiserror::Error)]
pub enum UnusableAuthority {
    #[error("it should hold one certificate and one private key in PEM, but holds {certificates} and {keys}")]
    Sections { certificates: usize, keys: usize },
    #[error("its certificate cannot be read, or is not a CA certificate")]
    NotAnAuthority,
    #[error("its key cannot be read")]
    Key(#[source] rcgen::Error),
    #[error("its key is not the key of its certificate")]
    KeyMismatch,
}

/// The authority that every certificate of one coordinator comes from.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    not_after: Timestamp,
}

impl CertificateAuthority {
    /// Opens the authority in `dir`, or makes a new one there (directory 0700, file 0600, durable before it is used).
    /// `now` dates a new one.
    pub fn create_or_open(dir: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        files::create_dir(dir)?;
        let path = dir.join(AUTHORITY_FILE);
        // Whoever comes second opens what the first has made.
        if !path.exists() && files::create(&path, &new_authority(now)?)? {
            tracing::info!(path = %path.display(), "made a new certificate authority");
        }
        let text = files::read(&path)?;
        Self::from_pem(&text).map_err(|source| AuthorityError::Unusable { path, source })
    }

    /// For the database that several coordinators share: the authority in `dir`, where a single coordinator has made one
    /// before, else a new one; sealed with `key`.
    pub fn sealed(dir: &Path, key: &ClusterKey, now: Timestamp) -> Result<Vec<u8>, AuthorityError> {
        let path = dir.join(AUTHORITY_FILE);
        let text = if path.exists() {
            let text = files::read(&path)?;
            Self::from_pem(&text).map_err(|source| AuthorityError::Unusable { path, source })?;
            text
        } else {
            new_authority(now)?
        };
        Ok(key.seal(SEALED_FOR, text.as_bytes())?)
    }

    /// Opens what [`CertificateAuthority::sealed`] made. One in `dir` must be the same.
    pub fn open_sealed(dir: &Path, key: &ClusterKey, sealed: &[u8]) -> Result<Self, AuthorityError> {
        let text = String::from_utf8(key.open(SEALED_FOR, sealed)?).map_err(|_| SealError::Damaged)?;
        let shared = Self::from_pem(&text).map_err(AuthorityError::SealedUnusable)?;
        let path = dir.join(AUTHORITY_FILE);
        if path.exists() {
            let text = files::read(&path)?;
            let local = match Self::from_pem(&text) {
                Ok(local) => local.fingerprint(),
                Err(source) => return Err(AuthorityError::Unusable { path, source }),
            };
            if local != shared.fingerprint() {
                return Err(AuthorityError::Foreign { path, local, shared: shared.fingerprint() });
            }
        }
        Ok(shared)
    }

    fn from_pem(text: &str) -> Result<Self, UnusableAuthority> {
        let (mut certificates, mut keys) = split_pem(text);
        let (1, 1) = (certificates.len(), keys.len()) else {
            return Err(UnusableAuthority::Sections { certificates: certificates.len(), keys: keys.len() });
        };
        let (certificate, key) = (certificates.remove(0), keys.remove(0));
        let key = KeyPair::try_from(&key).map_err(UnusableAuthority::Key)?;
        let parsed = certificate::parse(&certificate).map_err(|_| UnusableAuthority::NotAnAuthority)?;
        if !parsed.is_ca() {
            return Err(UnusableAuthority::NotAnAuthority);
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(UnusableAuthority::KeyMismatch);
        }
        let not_after = Validity::of(&parsed).not_after;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| UnusableAuthority::NotAnAuthority)?;
        Ok(Self { issuer, certificate, not_after })
    }

    /// SHA-256 of the CA certificate: what a join token carries.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The CA certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for the coordinator's port, with a fresh key. `names` are the DNS names and IP addresses by which
    /// it may be reached; Polder's own peers go by the identity instead, so that an address may change.
    pub fn issue_server(
        &self,
        names: &[String],
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Credentials, AuthorityError> {
        if names.is_empty() || names.len() > SERVER_NAMES_MAX {
            return Err(AuthorityError::ServerNames { count: names.len() });
        }
        let names = names.iter().map(|name| server_name(name)).collect::<Result<Vec<_>, _>>()?;
        self.issue_with_key(&Identity::Coordinator, names, ExtendedKeyUsagePurpose::ServerAuth, now, lifetime)
    }

    /// Credentials with a fresh key for a worker or an operator, for when both sides are this machine: the operator
    /// credentials that the coordinator writes at its first start.
    pub fn issue_client(
        &self,
        identity: &Identity,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Credentials, AuthorityError> {
        not_coordinator(identity)?;
        self.issue_with_key(identity, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth, now, lifetime)
    }

    /// A certificate for the key of `request`, saying `identity` and nothing that the request claims. DER.
    pub fn sign_request(
        &self,
        request: &CertificateRequest,
        identity: &Identity,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        not_coordinator(identity)?;
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue(&request.public_key, identity, Vec::new(), usage, now, lifetime)
    }

    pub(crate) fn issue_with_key(
        &self,
        identity: &Identity,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Credentials, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Generate)?;
        let certificate = self.issue(&key, identity, names, usage, now, lifetime)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Credentials::new(certificate, key, self.certificate.clone()).map_err(AuthorityError::Inconsistent)
    }

    fn issue(
        &self,
        public_key: &impl PublicKeyData,
        identity: &Identity,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        if now >= self.not_after {
            return Err(AuthorityError::AuthorityExpired { at: self.not_after });
        }
        let mut params = params(now, lifetime)?;
        params.not_after = params.not_after.min(instant(self.not_after, now, lifetime)?);
        params.subject_alt_names = names;
        params.subject_alt_names.push(SanType::URI(identity.uri().try_into().map_err(AuthorityError::Generate)?));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(public_key, &self.issuer).map_err(AuthorityError::Generate)?;
        Ok(signed.der().clone())
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// A certificate request whose own signature was verified: whoever sent it has the private key.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    public_key: SubjectPublicKeyInfo,
}

impl CertificateRequest {
    /// Reads a PKCS #10 request in DER (RFC 2986), at most [`REQUEST_BYTES_MAX`] long. The names and extensions it asks
    /// for are not even looked at.
    pub fn verify(der: &[u8]) -> Result<Self, AuthorityError> {
        let refuse = |why| AuthorityError::BadRequest { why };
        if der.len() > REQUEST_BYTES_MAX {
            return Err(refuse("it is too long"));
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| refuse("it is not a PKCS #10 request"))?;
        if !rest.is_empty() {
            return Err(refuse("something follows it"));
        }
        request.verify_signature().map_err(|_| refuse("it is not signed by the key that it names"))?;
        let public_key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
            .map_err(|_| refuse("its kind of key is not supported"))?;
        // One kind of key everywhere; a certificate for another would only fail later, in a handshake.
        if public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(refuse("its key is not an ECDSA key on P-256"));
        }
        Ok(Self { public_key })
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo), hex: tells whether the same key asks again.
    #[must_use]
    pub fn key_hash(&self) -> String {
        let spki = self.public_key.subject_public_key_info();
        HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, &spki).as_ref())
    }
}

fn not_coordinator(identity: &Identity) -> Result<(), AuthorityError> {
    match identity {
        Identity::Coordinator => Err(AuthorityError::CoordinatorAsClient),
        Identity::Worker { .. } | Identity::Operator { .. } => Ok(()),
    }
}

/// Certificate and key of a new authority, in PEM. Its name is random, so that a certificate of another Polder
/// authority is recognised as such and not taken for a forgery of ours.
fn new_authority(now: Timestamp) -> Result<String, AuthorityError> {
    let key = KeyPair::generate().map_err(AuthorityError::Generate)?;
    let mut params = params(now, AUTHORITY_LIFETIME)?;
    let name = format!("Polder CA {}", HEXLOWER.encode(&random::<8>()?));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(AuthorityError::Generate)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

/// No names, a random serial number, valid from a little before `now` until `lifetime` after it.
fn params(now: Timestamp, lifetime: Duration) -> Result<CertificateParams, AuthorityError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut params = CertificateParams::default();
    params.not_before = instant(Timestamp(now.0.saturating_sub(ms(BACKDATING))), now, lifetime)?;
    params.not_after = instant(now.plus_ms(ms(lifetime)), now, lifetime)?;
    params.distinguished_name = DistinguishedName::new();
    // Positive and never shortened: 20 bytes is the most that RFC 5280 (4.1.2.2) allows.
    let mut serial = random::<20>()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn instant(at: Timestamp, now: Timestamp, lifetime: Duration) -> Result<OffsetDateTime, AuthorityError> {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Date { now, lifetime })
}

fn server_name(name: &str) -> Result<SanType, AuthorityError> {
    let refuse = || AuthorityError::ServerName { name: name.chars().take(300).collect() };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    match ServerName::try_from(name) {
        Ok(ServerName::DnsName(_)) => Ok(SanType::DnsName(name.try_into().map_err(|_| refuse())?)),
        _ => Err(refuse()),
    }
}

/// The system's source of randomness failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
