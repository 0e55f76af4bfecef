//! Loading policies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::Digest;
use polder_core::policy::PolicyKind;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::ask::Question;
use crate::bindings::aggregation::Aggregation;
use crate::bindings::placement::Placement;
use crate::bindings::release::Release;
use crate::cache::Cache;
use crate::compile::{CompileIn, Compiler};
use crate::engine::Clock;
use crate::policy::{Guest, Inner, Policy};
use crate::{Builtin, Limits, NotAPolicy, PolicyError, builtin, compile, contract, engine};

/// The sandbox: its engines, one clock, the policies compiled so far.
pub struct PolicyHost {
    engine: Engine,
    /// For instances that are pooled.
    pool: Option<Engine>,
    clock: Clock,
    limits: Limits,
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
        let engine = engine::on_demand(&limits)?;
        let pool = engine::pooled(&limits);
        let cache = match cache {
            Some(path) => {
                let open = Cache::open(&path, &engine, limits.cache_bytes_max);
                Some(open.map_err(|source| PolicyError::Cache { path, source })?)
            }
            None => None,
        };
        Ok(Self {
            clock: Clock::start([&engine].into_iter().chain(&pool).cloned().collect())?,
            compiler: Compiler::new(CompileIn::Thread),
            loaded: Mutex::default(),
            engine,
            pool,
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
        let digest = self.check_bytes(bytes)?;
        if let Some(policy) = self.remembered(digest) {
            return Ok(policy);
        }
        let cached = self.cache.as_ref().and_then(|cache| cache.fetch(&self.engine, digest));
        let is_new = cached.is_none();
        let component = match cached {
            Some(component) => component,
            None => self.compile(bytes)?,
        };
        let policy = self.admit(digest, bytes.len() as u64, &component)?;
        if let Some(cache) = self.cache.as_ref().filter(|_| is_new) {
            cache.store(digest, &component);
        }
        self.remember(&policy);
        Ok(policy)
    }

    /// What can be said of a component before a compiler sees it; its digest, if that is nothing bad.
    pub(crate) fn check_bytes(&self, bytes: &[u8]) -> Result<Digest, NotAPolicy> {
        let (size, limit_bytes) = (bytes.len() as u64, self.limits.component_bytes_max);
        if size > limit_bytes {
            return Err(NotAPolicy::TooLarge { bytes: size, limit_bytes });
        }
        contract::check_layer(bytes)?;
        Ok(digest_of(bytes))
    }

    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Component, PolicyError> {
        self.compiler.compile(&self.engine, bytes, &self.limits)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Holds a compiled component to the contract and makes a first instance of it, which questions then repeat.
    pub(crate) fn admit(
        &self,
        digest: Digest,
        component_bytes: u64,
        component: &Component,
    ) -> Result<Policy, PolicyError> {
        let kind = contract::check(&self.engine, component)?;
        let guest = self.guest(&self.engine, component, kind)?;
        let mut first = self.question(&guest);
        let instance = guest.pre.instantiate(&mut first.store).map_err(|error| first.instance_failed(&error))?;
        // the functions' types, which are known of an instance only
        let types = match kind {
            PolicyKind::Placement => Placement::new(&mut first.store, &instance).map(drop),
            PolicyKind::Aggregation => Aggregation::new(&mut first.store, &instance).map(drop),
            PolicyKind::Release => Release::new(&mut first.store, &instance).map(drop),
        };
        types.map_err(|error| NotAPolicy::OtherTypes { reason: format!("{error:#}") })?;
        drop(first);
        let pooled = self.pool.as_ref().and_then(|pool| {
            let component = compile::again(pool, component)?;
            self.guest(pool, &component, kind).ok()
        });
        let inner = Inner { digest, kind, component_bytes, guest, pooled, traits: Mutex::default() };
        Ok(Policy { inner: Arc::new(inner) })
    }

    fn guest(&self, engine: &Engine, component: &Component, kind: PolicyKind) -> Result<Guest, NotAPolicy> {
        // policies import nothing, so the linker has nothing, and stays so
        let pre = Linker::new(engine).instantiate_pre(component);
        Guest::new(kind, pre.map_err(|error| NotAPolicy::OtherTypes { reason: format!("{error:#}") })?)
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        // whatever a panic left there is a policy that was admitted
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy with this digest, if it was loaded before and was not pushed out by others since.
    pub fn remembered(&self, digest: Digest) -> Option<Policy> {
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

    /// A store for the guest's engine.
    pub(crate) fn question(&self, guest: &Guest) -> Question<'_> {
        Question::new(guest.pre.engine(), &self.clock, &self.limits)
    }

    /// wasmtime panics when code meets a store of another engine.
    pub(crate) fn check_origin(&self, policy: &Policy) -> Result<(), PolicyError> {
        if Engine::same(policy.inner.guest.pre.engine(), &self.engine) {
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
