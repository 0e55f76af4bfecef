//! Who is who: Polder's certificate authority, enrolment material, identities, TLS and the authorization table.
//!
//! This is the only crate that makes certificates. There is no plaintext mode: the coordinator's one port speaks
//! TLS 1.3 and nothing else, a peer without a certificate of our authority can do exactly one thing (enrol with a
//! token), and a certificate carries exactly one [`Identity`], which the coordinator alone decides.
//!
//! | module | holds |
//! | --- | --- |
//! | [`authority`] | the coordinator's CA: kept in one file, signs requests, issues certificates |
//! | [`identity`] | what a certificate says of its bearer: one `polder://` URI |
//! | [`endpoint`] | where the coordinator listens: `host:port` |
//! | [`token`] | what a newcomer is given: where to go, whom to trust there, and a secret to show once |
//! | [`credentials`] | a certificate, its key and its CA in one private file; requests for new ones |
//! | [`sealed`] | secrets that lie in a shared database, sealed with the cluster key |
//! | [`signature`] | who vouches for a policy: Ed25519 over its digest |
//! | [`tls`] | the handshakes, both sides |
//! | [`mod@explain`] | one actionable sentence for a failed connection |
//! | [`authorization`] | RPC × role, as a table an auditor can read |

pub mod authority;
pub mod authorization;
mod certificate;
pub mod credentials;
pub mod endpoint;
pub mod explain;
pub mod files;
pub mod identity;
pub mod sealed;
pub mod signature;
pub mod tls;
pub mod token;

#[cfg(test)]
mod testing;

pub use authority::{AuthorityError, CertificateAuthority, CertificateRequest};
pub use authorization::{Denied, Permit, Role, authorize};
pub use certificate::Fingerprint;
pub use credentials::{Credentials, CredentialsError, KeyRequest};
pub use endpoint::Endpoint;
pub use explain::explain;
pub use identity::{Identity, OperatorName};
pub use sealed::{ClusterKey, ClusterKeyError, SealError};
pub use signature::{PublicKey, SignatureError, Signer};
pub use tls::{Accepted, Acceptor, ConnectError, Connector, EnrolmentConnector, HandshakeError, SecureStream};
pub use token::{JoinToken, TokenSecret};
