//! Secrets that lie where others can read them: the certificate authority in a database that several coordinators share.
//!
//! Every coordinator of a federation has the same cluster key, in a file of its own. A sealed secret is
//! `version (1) ‖ salt (32) ‖ AES-256-GCM of the secret`; its key is HKDF-SHA256 of the cluster key under that salt, so no
//! key ever seals two secrets, and what it is for goes into both, so that one secret cannot be taken for another.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::authority::{NoRandomness, random};
use crate::files::FILE_BYTES_MAX;

/// Fewest random bytes in a cluster key.
pub const CLUSTER_KEY_BYTES_MIN: usize = 32;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
/// How a key file is made, for those who have none.
const MAKE_ONE: &str = "make one with `head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE`";

/// Why a cluster key cannot be used; names the file, never its content.
#[derive(Debug, thiserror::Error)]
pub enum ClusterKeyError {
    #[error("cannot read the cluster key `{}`; {MAKE_ONE}, and give every coordinator the same", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "the cluster key `{}` may be read by everybody on this machine (mode {mode:o}); run `chmod o= {}`",
        path.display(), path.display()
    )]
    TooOpen { path: PathBuf, mode: u32 },
    #[error(
        "the cluster key `{}` must be at least {CLUSTER_KEY_BYTES_MIN} random bytes in base64 or hexadecimal; {MAKE_ONE}",
        path.display()
    )]
    NotAKey { path: PathBuf },
}

/// Why something could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it was sealed with another cluster key, or altered since")]
    WrongKey,
    #[error("it was sealed by a newer version of Polder (its form is {version}, this one knows {VERSION})")]
    Newer { version: u8 },
    #[error("it is not sealed as it should be; it is damaged")]
    Damaged,
    #[error("the system gave no random bytes")]
    Random,
}

impl From<NoRandomness> for SealError {
    fn from(_: NoRandomness) -> Self {
        Self::Random
    }
}

/// The secret that the coordinators of one federation share.
pub struct ClusterKey(Vec<u8>);

impl ClusterKey {
    /// Reads the file at `path`. Its group may read it, as a mounted secret's does; others may not.
    pub fn load(path: &Path) -> Result<Self, ClusterKeyError> {
        let read = |source| ClusterKeyError::Read { path: path.into(), source };
        let file = File::open(path).map_err(read)?;
        let mode = mode(&file).map_err(read)?;
        if mode & 0o007 != 0 {
            return Err(ClusterKeyError::TooOpen { path: path.into(), mode });
        }
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(read)?;
        Self::parse(&text).ok_or_else(|| ClusterKeyError::NotAKey { path: path.into() })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        // Hexadecimal first: its digits are base64 too, but would be another key.
        let key = HEXLOWER_PERMISSIVE.decode(&text).or_else(|_| BASE64.decode(&text)).ok()?;
        // Nobody's random bytes are all the same.
        let is_random = key.len() >= CLUSTER_KEY_BYTES_MIN && key.iter().any(|byte| *byte != key[0]);
        is_random.then_some(Self(key))
    }

    /// Seals `secret`, which is for `purpose` and nothing else.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let salt = random::<SALT_BYTES>()?;
        let mut sealed = secret.to_vec();
        let key = self.sealing_key(&salt, purpose)?;
        key.seal_in_place_append_tag(nonce(), Aad::from(purpose), &mut sealed).map_err(|_| SealError::Damaged)?;
        Ok([&[VERSION], &salt[..], &sealed].concat())
    }

    /// Opens what [`ClusterKey::seal`] made for the same purpose with the same key.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Damaged)?;
        if *version != VERSION {
            return Err(SealError::Newer { version: *version });
        }
        let (salt, sealed) = rest.split_at_checked(SALT_BYTES).ok_or(SealError::Damaged)?;
        let key = self.sealing_key(salt, purpose)?;
        let mut secret = sealed.to_vec();
        let length =
            key.open_in_place(nonce(), Aad::from(purpose), &mut secret).map_err(|_| SealError::WrongKey)?.len();
        secret.truncate(length);
        Ok(secret)
    }

    fn sealing_key(&self, salt: &[u8], purpose: &str) -> Result<LessSafeKey, SealError> {
        let extracted = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let info = [purpose.as_bytes()];
        let key = extracted.expand(&info, &AES_256_GCM).map_err(|_| SealError::Damaged)?;
        Ok(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey")
    }
}

/// Always the same: the salt makes a new key for every sealing.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(unix)]
fn mode(file: &File) -> std::io::Result<u32> {
    use std::os::unix::fs::MetadataExt;

    Ok(file.metadata()?.mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &File) -> std::io::Result<u32> {
    Ok(0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &[u8] = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

    fn key() -> ClusterKey {
        ClusterKey::parse(KEY).unwrap()
    }

    #[test]
    fn only_the_same_key_and_purpose_open_what_was_sealed() {
        let sealed = key().seal("authority", b"secret").unwrap();
        assert_eq!(key().open("authority", &sealed).unwrap(), b"secret");
        assert_eq!(key().open("another", &sealed), Err(SealError::WrongKey));
        let other = ClusterKey::parse(b"ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100").unwrap();
        assert_eq!(other.open("authority", &sealed), Err(SealError::WrongKey));
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_ne!(key().seal("authority", b"secret").unwrap(), sealed, "two sealings have two keys");
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let sealed = key().seal("authority", b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(key().open("authority", &altered).is_err(), "byte {at}");
            assert!(key().open("authority", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let zeros = "00".repeat(32);
        for text in
            ["", "short", "AAECAwQFBgcICQoLDA0ODw==", &zeros, "not base64 at all, however long this text may be"]
        {
            assert!(ClusterKey::parse(text.as_bytes()).is_none(), "{text}");
        }
        // As `base64` breaks a longer key into lines.
        assert!(ClusterKey::parse(&[KEY, b"  ", b"\r\n"].concat()).is_some());
    }

    #[test]
    fn a_key_file_says_what_is_wrong_with_it_and_never_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let missing = ClusterKey::load(&path).unwrap_err().to_string();
        assert!(missing.contains("head -c 32 /dev/urandom | base64"), "{missing}");
        std::fs::write(&path, KEY).unwrap();
        let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o644);
        assert!(matches!(ClusterKey::load(&path), Err(ClusterKeyError::TooOpen { mode: 0o644, .. })));
        set(0o440);
        assert_eq!(format!("{:?}", ClusterKey::load(&path).unwrap()), "ClusterKey");
        set(0o600);
        std::fs::write(&path, "hunter2").unwrap();
        let refused = ClusterKey::load(&path).unwrap_err().to_string();
        assert!(refused.contains("at least 32 random bytes") && !refused.contains("hunter2"), "{refused}");
    }
}
