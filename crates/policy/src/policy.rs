//! A policy that was loaded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::Digest;
use polder_core::policy::{AggregationTraits, PolicyKind};
use wasmtime::Engine;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::bindings::aggregation::AggregationPre;
use crate::bindings::placement::PlacementPre;
use crate::bindings::release::ReleasePre;
use crate::meter::Meter;

/// Descriptions kept for one policy, each for other parameters.
const TRAITS_KEPT_MAX: usize = 16;

/// A policy that was checked, compiled, and instantiated once. Cheap to clone; belongs to the host that loaded it.
#[derive(Clone)]
pub struct Policy {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) digest: Digest,
    pub(crate) component_bytes: u64,
    pub(crate) guest: Guest,
    /// What `describe` answered, by parameters; it is a function of them.
    pub(crate) traits: Mutex<BTreeMap<String, AggregationTraits>>,
}

pub(crate) enum Guest {
    Placement(PlacementPre<Meter>),
    Aggregation(Box<AggregationGuest>),
    Release(ReleasePre<Meter>),
}

pub(crate) struct AggregationGuest {
    pub(crate) pre: AggregationPre<Meter>,
    /// Where the component has `combine` and `step`.
    pub(crate) combine: ComponentExportIndex,
    pub(crate) step: ComponentExportIndex,
}

impl Guest {
    pub(crate) fn pre(&self) -> &InstancePre<Meter> {
        match self {
            Self::Placement(pre) => pre.instance_pre(),
            Self::Aggregation(guest) => guest.pre.instance_pre(),
            Self::Release(pre) => pre.instance_pre(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Placement(pre) => pre.engine(),
            Self::Aggregation(guest) => guest.pre.engine(),
            Self::Release(pre) => pre.engine(),
        }
    }
}

impl Policy {
    /// SHA-256 of the component's bytes, as `sha256sum` prints it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        match self.inner.guest {
            Guest::Placement(_) => PolicyKind::Placement,
            Guest::Aggregation(_) => PolicyKind::Aggregation,
            Guest::Release(_) => PolicyKind::Release,
        }
    }

    /// Size of the component, in bytes.
    #[must_use]
    pub fn component_bytes(&self) -> u64 {
        self.inner.component_bytes
    }

    fn traits(&self) -> MutexGuard<'_, BTreeMap<String, AggregationTraits>> {
        // whatever a panic left there was described
        self.inner.traits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known_traits(&self, parameters: &str) -> Option<AggregationTraits> {
        self.traits().get(parameters).cloned()
    }

    pub(crate) fn keep_traits(&self, parameters: &str, described: &AggregationTraits) {
        let mut traits = self.traits();
        if traits.len() < TRAITS_KEPT_MAX {
            traits.insert(parameters.into(), described.clone());
        }
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policy({}, {:?})", self.kind(), self.digest())
    }
}
