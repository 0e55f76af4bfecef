//! What a certificate says of its bearer: exactly one URI among its subject alternative names.
//!
//! | bearer | URI |
//! | --- | --- |
//! | a worker | `polder://worker/<region>/<name>` |
//! | an operator | `polder://operator/<name>` |
//! | the coordinator | `polder://coordinator` |
//!
//! The subject and every other field are left empty and never read, so there is one place where a name can be.

use std::fmt;
use std::str::FromStr;

use polder_core::id::NAME_BYTES_MAX;
use polder_core::{Region, WorkerName};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use crate::certificate;

const SCHEME: &str = "polder://";

/// Who the other side of a connection is, by its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    Worker { name: WorkerName, region: Region },
    Operator { name: OperatorName },
    Coordinator,
}

impl Identity {
    /// The URI that a certificate carries for this identity.
    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::Worker { name, region } => format!("{SCHEME}worker/{region}/{name}"),
            Self::Operator { name } => format!("{SCHEME}operator/{name}"),
            Self::Coordinator => format!("{SCHEME}coordinator"),
        }
    }

    /// The identity behind a URI, by the table above and nothing else: no other case, no trailing slash, no query.
    pub fn from_uri(uri: &str) -> Result<Self, IdentityError> {
        let refuse = || IdentityError::UnknownUri { uri: uri.chars().take(200).collect() };
        let path = uri.strip_prefix(SCHEME).ok_or_else(refuse)?;
        let parts: Vec<&str> = path.splitn(4, '/').collect();
        match parts[..] {
            ["worker", region, name] => Ok(Self::Worker {
                name: WorkerName::new(name).map_err(|_| refuse())?,
                region: Region::new(region).map_err(|_| refuse())?,
            }),
            ["operator", name] => Ok(Self::Operator { name: name.parse().map_err(|_| refuse())? }),
            ["coordinator"] => Ok(Self::Coordinator),
            _ => Err(refuse()),
        }
    }

    /// The identity in a certificate. This reads; whether the certificate is to be believed is for [`crate::tls`].
    pub fn from_certificate(der: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let certificate = certificate::parse(der).map_err(|_| IdentityError::Unreadable)?;
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.count()) {
            (Some(uri), 0) => Self::from_uri(uri),
            (None, _) => Err(IdentityError::NoUri),
            (Some(_), others) => Err(IdentityError::ManyUris { count: others + 1 }),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker { name, region } => write!(f, "worker `{name}` of region `{region}`"),
            Self::Operator { name } => write!(f, "operator `{name}`"),
            Self::Coordinator => f.write_str("the coordinator"),
        }
    }
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("the certificate carries no identity: it has no URI among its alternative names")]
    NoUri,
    #[error("the certificate carries {count} URIs where one identity is expected")]
    ManyUris { count: usize },
    #[error("the certificate carries `{uri}`, which is no Polder identity")]
    UnknownUri { uri: String },
    #[error("the certificate is for {found}, but {expected} was expected here")]
    Unexpected { found: Identity, expected: &'static str },
}

/// What an operator is called: the same alphabet as every other name, so that it fits a URI, a path and a log line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorName(String);

impl OperatorName {
    /// Checks `text` and makes a name of it.
    pub fn new(text: &str) -> Result<Self, OperatorNameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let starts_well = text.bytes().next().is_some_and(plain);
        let allowed = text.bytes().all(|b| plain(b) || matches!(b, b'-' | b'_' | b'.'));
        if starts_well && allowed && text.len() <= NAME_BYTES_MAX {
            Ok(Self(text.into()))
        } else {
            Err(OperatorNameError { text: text.chars().take(80).collect() })
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OperatorName {
    type Err = OperatorNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no operator's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an operator name; use 1 to {NAME_BYTES_MAX} of a-z, 0-9, `-`, `_` and `.`, starting with a \
     letter or digit"
)]
pub struct OperatorNameError {
    text: String,
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;
    use crate::testing::{operator, worker};

    #[test]
    fn uri_and_back() {
        for (identity, uri) in [
            (worker("eu-west", "eu-west-1"), "polder://worker/eu-west/eu-west-1"),
            (operator("ada"), "polder://operator/ada"),
            (Identity::Coordinator, "polder://coordinator"),
        ] {
            assert_eq!(identity.uri(), uri);
            assert_eq!(Identity::from_uri(uri), Ok(identity));
        }
    }

    #[test]
    fn near_misses_are_refused() {
        for uri in [
            "",
            "polder://",
            "polder:/coordinator",
            "POLDER://coordinator",
            "polder://coordinator/",
            "polder://coordinator?x",
            "https://coordinator",
            "polder://operator",
            "polder://operator/",
            "polder://operator/a/b",
            "polder://operator/Ada",
            "polder://worker/eu-west",
            "polder://worker/eu-west/",
            "polder://worker//eu-west-1",
            "polder://worker/eu-west/w/extra",
            "polder://worker/../eu-west-1",
            "polder://worker/eu%2dwest/w",
            " polder://coordinator",
        ] {
            assert!(Identity::from_uri(uri).is_err(), "{uri} was accepted");
        }
    }

    #[test]
    fn a_certificate_names_exactly_one() {
        let read = |uris: &[&str]| {
            let mut params = CertificateParams::new(["localhost".into()]).unwrap();
            params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
            Identity::from_certificate(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
        };
        assert_eq!(read(&["polder://coordinator"]), Ok(Identity::Coordinator));
        assert_eq!(read(&[]), Err(IdentityError::NoUri));
        assert_eq!(read(&["polder://operator/ada", "polder://coordinator"]), Err(IdentityError::ManyUris { count: 2 }));
        assert_eq!(read(&["polder://coordinator", "https://x"]), Err(IdentityError::ManyUris { count: 2 }));
        assert!(matches!(read(&["https://x"]), Err(IdentityError::UnknownUri { .. })));
        assert_eq!(Identity::from_certificate(&vec![1, 2, 3].into()), Err(IdentityError::Unreadable));
    }

    #[test]
    fn operator_names_are_checked() {
        assert!(OperatorName::new("ada.lovelace").is_ok());
        for bad in ["", "-a", "Ada", "a b", "a/b", &"a".repeat(64)] {
            assert!(OperatorName::new(bad).is_err(), "{bad} was accepted");
        }
    }
}
