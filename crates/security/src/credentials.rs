//! A certificate, its key and the authority behind it, in one private PEM file; and the way to new ones.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pem::Pem;
use polder_core::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::sign::CertifiedKey;

use crate::authority::BACKDATING;
use crate::certificate::{self, Fingerprint, Validity};
use crate::files::{self, FileError};
use crate::identity::{Identity, IdentityError};
use crate::tls;

/// Why credentials could not be loaded or saved; names the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{}` holds no usable credentials; enrol again with a new token", path.display())]
    Unusable { path: PathBuf, source: InvalidCredentials },
}

/// What is wrong with a certificate, a key and an authority that should go together.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCredentials {
    #[error(
        "expected two certificates (its own, then its authority's) and one private key in PEM, found {certificates} \
         and {keys}"
    )]
    Sections { certificates: usize, keys: usize },
    #[error("a certificate cannot be read")]
    Unreadable,
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the certificate was not signed by the authority beside it")]
    NotSigned,
    #[error("the private key cannot be used, or is not the key of the certificate")]
    Key(#[source] rustls::Error),
    #[error("the authority is {found}, but {expected} was expected")]
    WrongAuthority { found: Fingerprint, expected: Fingerprint },
    #[error("the certificate is not valid now; compare the clocks of this machine and the coordinator's")]
    NotNow(#[source] rustls::Error),
    #[error("the certificate is not one that the coordinator's authority issued to a worker or an operator")]
    NotIssued(#[source] rustls::Error),
}

/// What one side of a connection shows: certificate, key, and the authority that both sides trust.
pub struct Credentials {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    authority: CertificateDer<'static>,
    identity: Identity,
    validity: Validity,
}

impl Credentials {
    /// Puts together a certificate, its key (PKCS #8) and its authority, all in DER, after checking that they belong
    /// together. The clock is not looked at: expired credentials can be loaded, to be told so.
    pub fn new(
        certificate: CertificateDer<'static>,
        key: PrivatePkcs8KeyDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Self, InvalidCredentials> {
        let identity = Identity::from_certificate(&certificate)?;
        let validity = {
            let parsed = certificate::parse(&certificate).map_err(|_| InvalidCredentials::Unreadable)?;
            let issuer = certificate::parse(&authority).map_err(|_| InvalidCredentials::Unreadable)?;
            parsed.verify_signature(Some(issuer.public_key())).map_err(|_| InvalidCredentials::NotSigned)?;
            Validity::of(&parsed)
        };
        let credentials = Self { certificate, key, authority, identity, validity };
        credentials.certified_key().map_err(InvalidCredentials::Key)?;
        Ok(credentials)
    }

    /// Reads the file at `path`, which must be closed to everybody but its owner.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let text = files::read(path)?;
        Self::from_pem(&text).map_err(|source| CredentialsError::Unusable { path: path.into(), source })
    }

    /// Writes the file at `path`, mode 0600, in place of what is there: durably, and at once or not at all.
    pub fn save(&self, path: &Path) -> Result<(), CredentialsError> {
        Ok(files::replace(path, &self.to_pem())?)
    }

    fn from_pem(text: &str) -> Result<Self, InvalidCredentials> {
        let (mut certificates, mut keys) = split_pem(text);
        let (2, 1) = (certificates.len(), keys.len()) else {
            return Err(InvalidCredentials::Sections { certificates: certificates.len(), keys: keys.len() });
        };
        let (certificate, authority) = (certificates.remove(0), certificates.remove(0));
        Self::new(certificate, keys.remove(0), authority)
    }

    fn to_pem(&self) -> String {
        pem::encode_many(&[
            Pem::new(CERTIFICATE_TAG, self.certificate.as_ref()),
            Pem::new(CERTIFICATE_TAG, self.authority.as_ref()),
            Pem::new(KEY_TAG, self.key.secret_pkcs8_der()),
        ])
    }

    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate of the authority, in DER.
    #[must_use]
    pub fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// The authority's fingerprint, as in the token that led here.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority)
    }

    /// The last instant at which the certificate holds.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.validity.not_after
    }

    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now > self.validity.not_after
    }

    /// From half of the lifetime on, which leaves as long again for a coordinator that is away.
    #[must_use]
    pub fn needs_renewal(&self, now: Timestamp) -> bool {
        now >= self.renewal_at()
    }

    /// When half of the lifetime is over.
    #[must_use]
    pub fn renewal_at(&self) -> Timestamp {
        let backdating = u64::try_from(BACKDATING.as_millis()).unwrap_or(u64::MAX);
        let issued_at = self.validity.not_before.plus_ms(backdating);
        issued_at.plus_ms(self.validity.not_after.ms_since(issued_at) / 2)
    }

    /// Certificate and authority, the way they are sent, with the key. The authority goes along because a newcomer
    /// knows only its fingerprint.
    pub(crate) fn certified_key(&self) -> Result<CertifiedKey, rustls::Error> {
        let key = tls::provider().key_provider.load_private_key(PrivateKeyDer::Pkcs8(self.key.clone_key()))?;
        let certified = CertifiedKey::new(vec![self.certificate.clone(), self.authority.clone()], key);
        certified.keys_match()?;
        Ok(certified)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("authority", &self.fingerprint())
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// A fresh key and the request for a certificate for it. The key never leaves this process until it is saved.
pub struct KeyRequest {
    key: KeyPair,
    request: Vec<u8>,
}

impl KeyRequest {
    /// Makes a key and a request that names nobody: who we are is the coordinator's to say.
    pub fn generate() -> Result<Self, KeyRequestError> {
        let key = KeyPair::generate().map_err(KeyRequestError)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(KeyRequestError)?.der().to_vec();
        Ok(Self { key, request })
    }

    /// The PKCS #10 request in DER.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Makes credentials of the answer: a certificate and its authority, both in DER. Checks everything that a peer
    /// will check, so that a bad answer is noticed here and not at the next start: the authority is the one we trust
    /// (`expected`: from the token, or from the credentials being renewed), and the certificate is for our key, signed
    /// by it, and valid `now`.
    pub fn complete(
        &self,
        certificate: &[u8],
        authority: &[u8],
        expected: &Fingerprint,
        now: Timestamp,
    ) -> Result<Credentials, InvalidCredentials> {
        let found = Fingerprint::of(authority);
        if found != *expected {
            return Err(InvalidCredentials::WrongAuthority { found, expected: *expected });
        }
        let certificate = CertificateDer::from(certificate.to_vec());
        let authority = CertificateDer::from(authority.to_vec());
        tls::client_verifier(&authority)
            .and_then(|verifier| {
                let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
                verifier.verify_client_cert(&certificate, &[], now)
            })
            .map_err(|error| match error {
                rustls::Error::InvalidCertificate(
                    CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. },
                ) => InvalidCredentials::NotNow(error),
                error => InvalidCredentials::NotIssued(error),
            })?;
        Credentials::new(certificate, self.key.serialize_der().into(), authority)
    }
}

impl fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRequest").finish_non_exhaustive()
    }
}

/// No key could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a private key")]
pub struct KeyRequestError(#[source] rcgen::Error);

const CERTIFICATE_TAG: &str = "CERTIFICATE";
const KEY_TAG: &str = "PRIVATE KEY";

/// Certificates and private keys in a PEM text, in order. Text that is no PEM holds none.
pub(crate) fn split_pem(text: &str) -> (Vec<CertificateDer<'static>>, Vec<PrivatePkcs8KeyDer<'static>>) {
    let (mut certificates, mut keys) = (Vec::new(), Vec::new());
    for section in pem::parse_many(text).unwrap_or_default() {
        match section.tag() {
            CERTIFICATE_TAG => certificates.push(section.into_contents().into()),
            KEY_TAG => keys.push(section.into_contents().into()),
            _ => {}
        }
    }
    (certificates, keys)
}

#[cfg(test)]
mod tests;
