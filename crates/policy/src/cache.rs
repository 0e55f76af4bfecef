//! The directory that keeps what this host compiled.
//!
//! Compiled code is native code: wasmtime checks its version and settings, and nothing else, before it is run. So an entry is
//! sealed: its first 32 bytes are an HMAC-SHA256 of the rest under a key that lies in the same directory, which only its owner
//! can enter. What was altered, cut short, renamed or put there by somebody else does not verify, is dropped with a warning, and is
//! compiled again. Precompiled code is never taken from anywhere else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use polder_core::Digest;
use ring::rand::SecureRandom;
use ring::{digest, hmac};
use wasmtime::Engine;
use wasmtime::component::Component;

const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const SEAL_BYTES: usize = 32;
const SUFFIX: &str = ".cwasm";

pub(crate) struct Cache {
    directory: PathBuf,
    key: hmac::Key,
    /// Names the compiler, its settings and this CPU's features; other code than for these is of no use.
    compatibility: String,
    bytes_max: u64,
}

impl Cache {
    /// Opens or makes the directory, for its owner alone.
    pub(crate) fn open(directory: &Path, engine: &Engine, bytes_max: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mode = fs::metadata(directory)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(directory = %directory.display(), "others could enter the policy cache; closing it to them");
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key(directory)?);
        Ok(Self { directory: directory.into(), key, compatibility: compatibility(engine), bytes_max })
    }

    /// What was compiled from the component of this digest, if it is here and nobody touched it.
    pub(crate) fn fetch(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let path = self.path(digest);
        let entry = match read(&path, self.bytes_max) {
            Ok(entry) => entry,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(entry = %path.display(), %error, "cannot read a compiled policy; compiling it again");
                return None;
            }
        };
        let code = entry
            .split_at_checked(SEAL_BYTES)
            .and_then(|(seal, code)| hmac::verify(&self.entry_key(&path), code, seal).is_ok().then_some(code));
        let Some(code) = code else {
            tracing::warn!(entry = %path.display(), "a compiled policy was altered; dropping it and compiling it again");
            let _ = fs::remove_file(&path);
            return None;
        };
        match deserialize(engine, code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(entry = %path.display(), error = %format!("{error:#}"), "compiling a policy again");
                None
            }
        }
    }

    /// Keeps what was compiled. Failing to is worth a warning and nothing more.
    pub(crate) fn store(&self, digest: Digest, component: &Component) {
        let path = self.path(digest);
        let stored = component.serialize().map_err(|error| io::Error::other(format!("{error:#}"))).and_then(|code| {
            self.make_room(code.len() as u64)?;
            let seal = hmac::sign(&self.entry_key(&path), &code);
            replace(&path, &[seal.as_ref(), &code])
        });
        if let Err(error) = stored {
            tracing::warn!(entry = %path.display(), %error, "cannot keep a compiled policy; it is compiled again next time");
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(format!("{}-{}{SUFFIX}", digest.hex(), self.compatibility))
    }

    /// A key for one entry alone, so that one entry under another's name does not verify.
    fn entry_key(&self, path: &Path) -> hmac::Key {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.key, name).as_ref())
    }

    /// Removes what other compilers left, then the oldest entries, until `bytes` more fit.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.bytes_max {
            return Err(io::Error::other(format!("{bytes} bytes do not fit into cache_bytes_max, {}", self.bytes_max)));
        }
        let ours = format!("-{}{SUFFIX}", self.compatibility);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.ends_with(SUFFIX) {
                continue;
            }
            if name.ends_with(&ours) {
                let metadata = entry.metadata()?;
                entries.push((metadata.modified()?, metadata.len(), entry.path()));
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        entries.sort();
        let mut used: u64 = entries.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in entries {
            if used.saturating_add(bytes) <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            used -= len;
        }
        Ok(())
    }
}

#[allow(unsafe_code)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `Component::deserialize` wants bytes that `Component::serialize` made, unaltered. The caller verified an HMAC under a
    // key that only this directory's owner can read, and only `Cache::store` seals, right after serializing.
    unsafe { Component::deserialize(engine, code) }
}

/// The directory's key, made on first use. One of a wrong length is replaced, which makes every entry invalid.
fn key(directory: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = directory.join(KEY_FILE);
    match fs::read(&path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => return Ok(key),
            Err(_) => tracing::warn!(key = %path.display(), "the policy cache's key is damaged; starting a new cache"),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = [0; KEY_BYTES];
    let random = ring::rand::SystemRandom::new();
    random.fill(&mut key).map_err(|_| io::Error::other("the system gave no random bytes for the cache's key"))?;
    replace(&path, &[&key])?;
    Ok(key)
}

fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut entry = Vec::new();
    let limit = bytes_max.saturating_add(SEAL_BYTES as u64);
    if File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut entry)? as u64 > limit {
        return Err(io::Error::other("larger than the whole cache may be"));
    }
    Ok(entry)
}

/// Writes a file whole or not at all, for its owner alone.
fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    for part in parts {
        file.write_all(part)?;
    }
    fs::rename(&partial, path)
}

/// wasmtime's own compatibility hash, by a hash function that is the same in every build.
fn compatibility(engine: &Engine) -> String {
    struct Sha(digest::Context);

    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }

    let mut hasher = Sha(digest::Context::new(&digest::SHA256));
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
