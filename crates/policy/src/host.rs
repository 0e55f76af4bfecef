//! Loading policies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::Digest;
use polder_core::policy::PolicyKind;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::ask::Question;
use crate::bindings::aggregation::{Aggregation, AggregationPre};
use crate::bindings::placement::{Placement, PlacementPre};
use crate::bindings::release::{Release, ReleasePre};
use crate::cache::Cache;
use crate::compile::{CompileIn, Compiler};
use crate::engine::{Clock, engine};
use crate::meter::Meter;
use crate::policy::{Guest, Inner, Policy};
use crate::{Builtin, Limits, NotAPolicy, PolicyError, builtin, chunks, contract};

/// The sandbox: one engine, one clock, the policies compiled so far.
pub struct PolicyHost {
    engine: Engine,
    clock: Clock,
    limits: Limits,
    /// Empty, and stays so.
    linker: Linker<Meter>,
    compiler: Compiler,
    cache: Option<Cache>,
    loaded: Mutex<Loaded>,
}

/// Policies by digest, with the load they were last asked for in.
#[derive(Default)]
struct Loaded {
    loads: u64,
    policies: BTreeMap<Digest, (u64, Policy)>,
}

impl PolicyHost {
    /// A host with these limits. In `cache`, a directory of its own that it makes if need be, it keeps what it compiled.
    ///
    /// # Errors
    /// [`PolicyError::Host`] if the machine cannot run the sandbox, [`PolicyError::Cache`] if the directory cannot be used.
    pub fn new(limits: Limits, cache: Option<PathBuf>) -> Result<Self, PolicyError> {
        let engine = engine(&limits)?;
        let cache = match cache {
            Some(path) => {
                let open = Cache::open(&path, &engine, limits.cache_bytes_max);
                Some(open.map_err(|source| PolicyError::Cache { path, source })?)
            }
            None => None,
        };
        Ok(Self {
            clock: Clock::start(&engine)?,
            linker: Linker::new(&engine),
            compiler: Compiler::new(CompileIn::Thread),
            loaded: Mutex::default(),
            engine,
            limits,
            cache,
        })
    }

    /// The same host, which compiles there; [`CompileIn::Thread`] before.
    #[must_use]
    pub fn compiling_in(mut self, place: CompileIn) -> Self {
        self.compiler = Compiler::new(place);
        self
    }

    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks and compiles a component. Cheap for one that is compiled already.
    ///
    /// # Errors
    /// [`PolicyError::NotAPolicy`] says what is wrong with the bytes; the others mean that compiling or making a first instance
    /// went beyond the limits or trapped.
    pub fn load(&self, bytes: &[u8]) -> Result<Policy, PolicyError> {
        let (size, limit_bytes) = (bytes.len() as u64, self.limits.component_bytes_max);
        if size > limit_bytes {
            return Err(NotAPolicy::TooLarge { bytes: size, limit_bytes }.into());
        }
        contract::check_layer(bytes)?;
        let digest = digest_of(bytes);
        if let Some(policy) = self.remembered(digest) {
            return Ok(policy);
        }
        let cached = self.cache.as_ref().and_then(|cache| cache.fetch(&self.engine, digest));
        let is_new = cached.is_none();
        let component = match cached {
            Some(component) => component,
            None => self.compiler.compile(&self.engine, bytes, &self.limits)?,
        };
        let policy = self.admit(digest, size, &component)?;
        if let Some(cache) = self.cache.as_ref().filter(|_| is_new) {
            cache.store(digest, &component);
        }
        self.remember(&policy);
        Ok(policy)
    }

    /// Holds a compiled component to the contract and makes a first instance of it, which questions then repeat.
    fn admit(&self, digest: Digest, component_bytes: u64, component: &Component) -> Result<Policy, PolicyError> {
        let kind = contract::check(&self.engine, component)?;
        let other_types = |error: wasmtime::Error| NotAPolicy::OtherTypes { reason: format!("{error:#}") };
        let pre = self.linker.instantiate_pre(component).map_err(other_types)?;
        let mut first = self.question();
        let instance = pre.instantiate(&mut first.store).map_err(|error| first.instance_failed(&error))?;
        let guest = match kind {
            PolicyKind::Placement => {
                Placement::new(&mut first.store, &instance).map_err(other_types)?;
                Guest::Placement(PlacementPre::new(pre).map_err(other_types)?)
            }
            PolicyKind::Aggregation => {
                Aggregation::new(&mut first.store, &instance).map_err(other_types)?;
                let pre = AggregationPre::new(pre).map_err(other_types)?;
                Guest::Aggregation(Box::new(chunks::find(component, pre)?))
            }
            PolicyKind::Release => {
                Release::new(&mut first.store, &instance).map_err(other_types)?;
                Guest::Release(ReleasePre::new(pre).map_err(other_types)?)
            }
        };
        Ok(Policy { inner: Arc::new(Inner { digest, component_bytes, guest, traits: Mutex::default() }) })
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        // whatever a panic left there is a policy that was admitted
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, digest: Digest) -> Option<Policy> {
        let mut loaded = self.loaded();
        loaded.loads += 1;
        let now = loaded.loads;
        let (last, policy) = loaded.policies.get_mut(&digest)?;
        *last = now;
        Some(policy.clone())
    }

    fn remember(&self, policy: &Policy) {
        let mut loaded = self.loaded();
        let now = loaded.loads;
        loaded.policies.insert(policy.digest(), (now, policy.clone()));
        while loaded.policies.len() > self.limits.compiled_policies_max as usize {
            let Some(digest) = loaded.policies.iter().min_by_key(|(_, (last, _))| *last).map(|(digest, _)| *digest)
            else {
                return;
            };
            loaded.policies.remove(&digest);
        }
    }

    /// The built-in policy that decides where a run names none, or where the run's own failed.
    ///
    /// # Errors
    /// As for [`load`](Self::load); limits that are too small for our own policies are found out here.
    pub fn builtin(&self, kind: PolicyKind) -> Result<Policy, PolicyError> {
        let Some(Builtin { bytes, .. }) = builtin::default_of(kind) else {
            return Err(PolicyError::Host { reason: format!("no built-in {kind} policy") });
        };
        self.load(bytes)
    }

    pub(crate) fn question(&self) -> Question<'_> {
        Question::new(&self.engine, &self.clock, &self.limits)
    }

    /// wasmtime panics when code meets a store of another engine.
    pub(crate) fn check_origin(&self, policy: &Policy) -> Result<(), PolicyError> {
        if Engine::same(policy.inner.guest.engine(), &self.engine) {
            return Ok(());
        }
        Err(PolicyError::Host { reason: "the policy was loaded by another host; load it into this one".into() })
    }
}

impl std::fmt::Debug for PolicyHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyHost").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// How policies are named.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut array = [0; 32];
    array.copy_from_slice(digest.as_ref());
    Digest::sha256(array)
}
