//! The policies that ship inside this crate: components like anybody's, built from `plugins/policies` by `cargo xtask` in `plugins`.

use polder_core::Digest;
use polder_core::policy::PolicyKind;

/// One policy of ours.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    pub name: &'static str,
    pub kind: PolicyKind,
    pub version: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// The component.
    pub bytes: &'static [u8],
}

impl Builtin {
    /// The SHA-256 digest that names it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        crate::host::digest_of(self.bytes)
    }
}

macro_rules! component {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/dist/", $file))
    };
}

/// The version of `plugins/policies`, which are released together.
const VERSION: &str = "0.1.0";

/// The first of a kind is the one that decides where a run names none, or where the run's own failed.
const BUILTINS: [Builtin; 2] = [
    Builtin {
        name: "least-loaded",
        kind: PolicyKind::Placement,
        version: VERSION,
        summary: "the worker with the most free slots, then the least busy CPU, first",
        bytes: component!("least-loaded.wasm"),
    },
    Builtin {
        name: "fedavg",
        kind: PolicyKind::Aggregation,
        version: VERSION,
        summary: "the mean, weighted by training examples (McMahan et al. 2017)",
        bytes: component!("fedavg.wasm"),
    },
];

/// All policies of ours, the default of each kind before others of its kind.
#[must_use]
pub fn builtins() -> &'static [Builtin] {
    const { &BUILTINS }
}

/// The default of a kind.
pub(crate) fn default_of(kind: PolicyKind) -> Option<&'static Builtin> {
    builtins().iter().find(|builtin| builtin.kind == kind)
}
