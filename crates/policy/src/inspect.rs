//! What there is to say about a component before anybody asks it anything.

use std::time::Instant;

use polder_core::Digest;
use polder_core::policy::PolicyKind;

use crate::{CONTRACT_VERSION, PolicyError, PolicyHost, contract};

/// A component that was found to be a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub kind: PolicyKind,
    /// The version of `polder:policy` that it is made for.
    pub contract: &'static str,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    pub component_bytes: u64,
    /// What it imports: names for types, and nothing else.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// How long it took to compile just now, in milliseconds.
    pub compile_ms: u64,
    /// Size of the native code, in bytes.
    pub compiled_bytes: u64,
    /// Whether its instances are pooled.
    pub is_pooled: bool,
    /// Linear memory of a fresh instance, in bytes.
    pub memory_bytes: u64,
}

impl PolicyHost {
    /// Checks and compiles a component, known or not, and says what it is.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, PolicyError> {
        let digest = self.check_bytes(bytes)?;
        let started = Instant::now();
        let component = self.compile(bytes)?;
        let compile_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let policy = self.admit(digest, bytes.len() as u64, &component)?;
        let (imports, exports) = contract::names_of(self.engine(), &component);
        let cannot = |error: wasmtime::Error| PolicyError::Host { reason: format!("{error:#}") };
        Ok(Inspection {
            kind: policy.kind(),
            contract: CONTRACT_VERSION,
            digest,
            component_bytes: policy.component_bytes(),
            imports,
            exports,
            compile_ms,
            compiled_bytes: component.serialize().map_err(cannot)?.len() as u64,
            is_pooled: policy.is_pooled(),
            memory_bytes: self.fresh(&policy)?.question.usage().memory_bytes,
        })
    }
}
