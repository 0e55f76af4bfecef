//! Who vouches for a policy: Ed25519 (RFC 8032) signatures over its digest.
//!
//! What is signed is the line `polder policy signature v1` and the digest's text, so that a signature made for this purpose
//! means nothing anywhere else. A signer is known by its public key, `ed25519:` and 64 hexadecimal digits; there is no
//! chain and no expiry: whoever trusts a signer lists it. Keys are PKCS#8 PEM files as OpenSSL writes them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use polder_core::policy::PolicySignature;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::files::{self, FileError};

/// What makes a signature one of a policy, and of this format.
const PREFIX: &str = "polder policy signature v1\n";
const LABEL: &str = "ed25519:";
const PEM_TAG: &str = "PRIVATE KEY";

/// Why nothing was signed, or why a signature does not hold.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "`{}` holds no private key; a signing key is made with `openssl genpkey -algorithm ed25519 -out key.pem`",
        path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "the key in `{}` is encrypted; decrypt it to a file of its own with `openssl pkey -in {} -out key.pem`",
        path.display(), path.display()
    )]
    Encrypted { path: PathBuf },
    #[error(
        "the key in `{}` is no Ed25519 key; make one with `openssl genpkey -algorithm ed25519 -out key.pem`",
        path.display()
    )]
    OtherKey { path: PathBuf },
    #[error("`{text}` is no signer; write `ed25519:` and the 64 hexadecimal digits of the public key")]
    NoSigner { text: String },
    #[error("the signature is no Ed25519 signature; expected 128 hexadecimal digits")]
    NoSignature,
    #[error("the signature by {signer} is not one of {digest}; sign these very bytes again")]
    Wrong { signer: PublicKey, digest: String },
}

/// A signer's public key, by which it is known. In text: `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LABEL}{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let bytes = text.strip_prefix(LABEL).and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| SignatureError::NoSigner { text: text.chars().take(100).collect() })
    }
}

/// A private key that signs policies.
#[derive(Debug)]
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Reads a PKCS#8 key (version 1, as OpenSSL writes it, or 2) from a PEM file that only its owner may read.
    pub fn from_pem_file(path: &Path) -> Result<Self, SignatureError> {
        let text = files::read(path)?;
        let blocks = pem::parse_many(&text).unwrap_or_default();
        let Some(key) = blocks.iter().find(|block| block.tag() == PEM_TAG) else {
            let is_encrypted = blocks.iter().any(|block| block.tag() == "ENCRYPTED PRIVATE KEY");
            let path = path.into();
            return Err(if is_encrypted { SignatureError::Encrypted { path } } else { SignatureError::NoKey { path } });
        };
        // Version 1 has no public key to check against the private one.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.contents());
        pair.map(Self).map_err(|_| SignatureError::OtherKey { path: path.into() })
    }

    /// The public key, as lists of trusted signers name it.
    #[must_use]
    pub fn signer(&self) -> String {
        self.public_key().to_string()
    }

    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut key = [0; 32];
        // An Ed25519 public key has these 32 bytes.
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// Signs the policy with this digest (`sha256:<hex>`).
    #[must_use]
    pub fn sign(&self, digest_text: &str) -> PolicySignature {
        let signature = self.0.sign(&message(digest_text));
        PolicySignature { signer: self.signer(), signature: HEXLOWER.encode(signature.as_ref()) }
    }
}

/// Whether `signature` is its signer's for the policy with this digest (`sha256:<hex>`). Whether that signer is trusted is
/// another question.
pub fn verify(digest_text: &str, signature: &PolicySignature) -> Result<(), SignatureError> {
    let signer: PublicKey = signature.signer.parse()?;
    let bytes = HEXLOWER_PERMISSIVE.decode(signature.signature.as_bytes()).map_err(|_| SignatureError::NoSignature)?;
    if bytes.len() != 64 {
        return Err(SignatureError::NoSignature);
    }
    let holds = UnparsedPublicKey::new(&ED25519, signer.0).verify(&message(digest_text), &bytes);
    holds.map_err(|_| SignatureError::Wrong { signer, digest: digest_text.chars().take(100).collect() })
}

fn message(digest_text: &str) -> Vec<u8> {
    [PREFIX.as_bytes(), digest_text.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
