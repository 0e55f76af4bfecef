//! A policy that was loaded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::Digest;
use polder_core::policy::{AggregationTraits, PolicyKind};
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::NotAPolicy;
use crate::bindings::aggregation::AggregationIndices;
use crate::bindings::placement::PlacementIndices;
use crate::bindings::release::ReleaseIndices;
use crate::contract::CONTRACT_VERSION;
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
    pub(crate) kind: PolicyKind,
    pub(crate) component_bytes: u64,
    pub(crate) guest: Guest,
    /// The same for the engine whose instances are pooled, if it fits there.
    pub(crate) pooled: Option<Guest>,
    /// What `describe` answered, by parameters; it is a function of them.
    pub(crate) traits: Mutex<BTreeMap<String, AggregationTraits>>,
}

/// A component that is ready to be instantiated, and where it has its functions.
pub(crate) struct Guest {
    pub(crate) pre: InstancePre<Meter>,
    pub(crate) exports: Exports,
}

pub(crate) enum Exports {
    Placement(PlacementIndices),
    Aggregation { questions: AggregationIndices, combine: ComponentExportIndex, step: ComponentExportIndex },
    Release(ReleaseIndices),
}

impl Guest {
    /// Finds what the world of this kind has.
    ///
    /// # Errors
    /// [`NotAPolicy::OtherTypes`] if it is not there.
    pub(crate) fn new(kind: PolicyKind, pre: InstancePre<Meter>) -> Result<Self, NotAPolicy> {
        let exports = match kind {
            PolicyKind::Placement => PlacementIndices::new(&pre).map(Exports::Placement),
            PolicyKind::Release => ReleaseIndices::new(&pre).map(Exports::Release),
            PolicyKind::Aggregation => aggregation(&pre),
        };
        let exports = exports.map_err(|error| NotAPolicy::OtherTypes { reason: format!("{error:#}") })?;
        Ok(Self { pre, exports })
    }
}

fn aggregation(pre: &InstancePre<Meter>) -> wasmtime::Result<Exports> {
    let component = pre.component();
    let interface = component.get_export_index(None, format!("polder:policy/aggregator@{CONTRACT_VERSION}"));
    let function = |name: &str| {
        let found = component.get_export_index(interface.as_ref(), name);
        found.ok_or_else(|| wasmtime::Error::msg(format!("there is no {name}")))
    };
    Ok(Exports::Aggregation {
        questions: AggregationIndices::new(pre)?,
        combine: function("combine")?,
        step: function("step")?,
    })
}

impl Policy {
    /// SHA-256 of the component's bytes, as `sha256sum` prints it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        self.inner.kind
    }

    /// Size of the component, in bytes.
    #[must_use]
    pub fn component_bytes(&self) -> u64 {
        self.inner.component_bytes
    }

    /// Whether its instances are pooled.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.inner.pooled.is_some()
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
