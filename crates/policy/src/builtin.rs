//! The policies that ship inside this crate: components like anybody's, built from `plugins/policies` by `cargo xtask` in `plugins`.

use std::sync::LazyLock;

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
        let known = builtins().iter().position(|builtin| std::ptr::eq(builtin.bytes, self.bytes));
        known.map_or_else(|| crate::host::digest_of(self.bytes), |index| DIGESTS[index])
    }
}

/// In the order of [`BUILTINS`].
static DIGESTS: LazyLock<Vec<Digest>> =
    LazyLock::new(|| BUILTINS.iter().map(|builtin| crate::host::digest_of(builtin.bytes)).collect());

/// The version of `plugins/policies`, which are released together.
const VERSION: &str = "0.2.0";

/// Declares policies: name, kind, one line for lists. The component is `plugins/dist/<name>.wasm`.
macro_rules! builtins {
    ($($name:literal, $kind:ident, $summary:literal;)*) => {
        &[$(Builtin {
            name: $name,
            kind: PolicyKind::$kind,
            version: VERSION,
            summary: $summary,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/dist/", $name, ".wasm")),
        }),*]
    };
}

/// The first of a kind is the one that decides where a run names none, or where the run's own failed.
const BUILTINS: &[Builtin] = builtins! {
    "least-loaded", Placement, "the worker with the most free slots, then the least busy CPU, first";
    "fedavg", Aggregation, "the mean, weighted by training examples (McMahan et al. 2017)";
};

/// All policies of ours, the default of each kind before others of its kind.
#[must_use]
pub fn builtins() -> &'static [Builtin] {
    BUILTINS
}

/// The policy of ours with this name, and this version if one is given.
#[must_use]
pub fn builtin_named(name: &str, version: Option<&str>) -> Option<&'static Builtin> {
    let mut named = builtins().iter().filter(|builtin| builtin.name == name);
    named.find(|builtin| version.is_none_or(|version| version == builtin.version))
}

/// The default of a kind.
pub(crate) fn default_of(kind: PolicyKind) -> Option<&'static Builtin> {
    builtins().iter().find(|builtin| builtin.kind == kind)
}
