//! The join token: all that a newcomer needs, in one word to paste.
//!
//! ```text
//! polder1.<base64url, no padding, of:>
//!   length       u16, big-endian   of everything here, itself included
//!   token id     u8 length, text   which of the coordinator's tokens this is
//!   endpoint     u16 length, text  where to go
//!   fingerprint  32 bytes          SHA-256 of the CA certificate to trust there
//!   secret       32 bytes          shown once; the coordinator keeps only its hash
//!   checksum     4 bytes           first of SHA-256 of all before
//! ```
//!
//! Length and checksum are there for people: they tell a token that was cut or altered on its way from one that the
//! coordinator does not know. What protects the token is its secret.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use polder_core::TokenId;
use ring::digest::{Context, SHA256, digest};

use crate::authority::{NoRandomness, random};
use crate::certificate::Fingerprint;
use crate::endpoint::Endpoint;

/// Longest text that is looked at, in bytes; a token with the longest names is below 600.
pub const TOKEN_TEXT_BYTES_MAX: usize = 1024;

const VERSION: &str = "1";
const CHECKSUM_BYTES: usize = 4;

/// Where to enrol, whom to trust there, and the secret that lets in.
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct JoinToken {
    pub id: TokenId,
    pub endpoint: Endpoint,
    /// Of the coordinator's CA certificate.
    pub fingerprint: Fingerprint,
    pub secret: TokenSecret,
}

/// Why a text is no join token, and what to do about it. None of these repeats the text: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error(
        "this is not a join token: one starts with `polder1.`; copy the whole line that `polder token create` printed"
    )]
    NotAToken,
    #[error(
        "this is a join token of version {version}, and this program knows version {VERSION}; use the coordinator's \
         version of `polder`"
    )]
    OtherVersion { version: String },
    #[error("the join token was cut short; copy the whole line that `polder token create` printed")]
    Truncated,
    #[error("the join token was altered on its way; copy it again, as `polder token create` printed it")]
    Altered,
    #[error(
        "the join token holds something that this program does not understand; ask for a new one (`polder token \
         create`)"
    )]
    Malformed,
}

impl JoinToken {
    /// A token with a new random id and secret.
    pub fn generate(endpoint: Endpoint, fingerprint: Fingerprint) -> Result<Self, NoRandomness> {
        // Hex digits always make a name, so only the random bytes can be missing.
        let id = TokenId::new(HEXLOWER.encode(&random::<6>()?)).map_err(|_| NoRandomness)?;
        Ok(Self { id, endpoint, fingerprint, secret: TokenSecret(random()?) })
    }

    /// The text to hand over. It holds the secret: print it once, log it never.
    #[must_use]
    pub fn encode(&self) -> String {
        let (id, endpoint) = (self.id.as_str(), self.endpoint.to_string());
        let length = 2 + 1 + id.len() + 2 + endpoint.len() + 32 + 32 + CHECKSUM_BYTES;
        let mut bytes = Vec::with_capacity(length);
        // No length is near its limit: a name has at most 63 bytes, a DNS name 255.
        bytes.extend_from_slice(&(length as u16).to_be_bytes());
        bytes.push(id.len() as u8);
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&(endpoint.len() as u16).to_be_bytes());
        bytes.extend_from_slice(endpoint.as_bytes());
        bytes.extend_from_slice(self.fingerprint.as_bytes());
        bytes.extend_from_slice(&self.secret.0);
        let checksum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(&checksum.as_ref()[..CHECKSUM_BYTES]);
        format!("polder{VERSION}.{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads a token; white space around it does not matter.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > TOKEN_TEXT_BYTES_MAX {
            return Err(TokenError::NotAToken);
        }
        let bytes = unwrap(body(text)?.as_bytes())?;
        let mut rest = bytes.get(2..).ok_or(TokenError::Malformed)?;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count).ok_or(TokenError::Malformed)?;
            rest = tail;
            Ok::<_, TokenError>(head)
        };
        let id_length = usize::from(take(1)?[0]);
        let id = parse_text(take(id_length)?)?;
        let endpoint_length = u16::from_be_bytes(array(take(2)?)?);
        let endpoint = parse_text(take(usize::from(endpoint_length))?)?;
        let fingerprint = Fingerprint::from_bytes(array(take(32)?)?);
        let secret = TokenSecret(array(take(32)?)?);
        if !rest.is_empty() {
            return Err(TokenError::Malformed);
        }
        Ok(Self { id, endpoint, fingerprint, secret })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .field("endpoint", &self.endpoint)
            .field("fingerprint", &self.fingerprint)
            .field("secret", &self.secret)
            .finish()
    }
}

impl std::str::FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::parse(text)
    }
}

/// What follows the prefix, if the prefix is ours.
fn body(text: &str) -> Result<&str, TokenError> {
    let rest = text.strip_prefix("polder").ok_or(TokenError::NotAToken)?;
    let (version, body) = rest.split_once('.').ok_or(TokenError::NotAToken)?;
    if version == VERSION {
        return Ok(body);
    }
    if version.is_empty() || version.len() > 6 || !version.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TokenError::NotAToken);
    }
    Err(TokenError::OtherVersion { version: version.into() })
}

/// Takes base64, length and checksum off, telling a short text from a wrong one.
fn unwrap(text: &[u8]) -> Result<Vec<u8>, TokenError> {
    // Four characters hold three bytes, of which the first two are the length.
    let head = text.first_chunk::<4>().ok_or(TokenError::Truncated)?;
    let head = BASE64URL_NOPAD.decode(head).map_err(|_| TokenError::Altered)?;
    let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
    if text.len() < BASE64URL_NOPAD.encode_len(length) {
        return Err(TokenError::Truncated);
    }
    let mut bytes = BASE64URL_NOPAD.decode(text).map_err(|_| TokenError::Altered)?;
    let content = length.checked_sub(CHECKSUM_BYTES).filter(|_| bytes.len() == length).ok_or(TokenError::Altered)?;
    if digest(&SHA256, &bytes[..content]).as_ref()[..CHECKSUM_BYTES] != bytes[content..] {
        return Err(TokenError::Altered);
    }
    bytes.truncate(content);
    Ok(bytes)
}

fn parse_text<T: std::str::FromStr>(bytes: &[u8]) -> Result<T, TokenError> {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or(TokenError::Malformed)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], TokenError> {
    bytes.try_into().map_err(|_| TokenError::Malformed)
}

/// 256 random bits that let in once. Never printed: [`TokenSecret::expose`] is the only way to the bytes.
/// Secrets are compared by their hashes, so there is no `==` outside of tests.
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// A secret as it came over the wire.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        Ok(Self(array(bytes)?))
    }

    /// The secret itself, to be sent to the coordinator.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256, hex, of the secret behind a label of its own: what the coordinator keeps. A plain hash will do, because
    /// the secret is random and as long as the hash, so there is nothing to guess.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut context = Context::new(&SHA256);
        context.update(b"polder join token secret 1\0");
        context.update(&self.0);
        HEXLOWER.encode(context.finish().as_ref())
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests;
