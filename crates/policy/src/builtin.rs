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
    "round-robin", Placement, "every worker in turn";
    "weighted-round-robin", Placement, "every worker in turn, as often as its weight says (Katevenis et al. 1991)";
    "least-connections", Placement, "the worker with the fewest assignments first";
    "uniform-random", Placement, "workers drawn at random (McMahan et al. 2017)";
    "latency-and-load", Placement, "an example: fast workers first, unless they are busy";
    "fedavg", Aggregation, "the mean, weighted by training examples (McMahan et al. 2017)";
    "fedavgm", Aggregation, "the mean, with server momentum (Hsu et al. 2019)";
    "fedadam", Aggregation, "the mean, then a step of Adam (Reddi et al. 2021)";
    "fedyogi", Aggregation, "the mean, then a step of Yogi (Reddi et al. 2021)";
    "fedadagrad", Aggregation, "the mean, then a step of Adagrad (Reddi et al. 2021)";
    "fedprox", Aggregation, "the mean of proximal local training (Li et al. 2020)";
    "scaffold", Aggregation, "control variates against drift (Karimireddy et al. 2020)";
    "feddyn", Aggregation, "a dynamic regularizer against drift (Acar et al. 2021)";
    "fednova", Aggregation, "updates normalized by their local steps (Wang et al. 2020)";
    "qfedavg", Aggregation, "more weight where the loss is high (Li et al. 2020)";
    "fedmedian", Aggregation, "the median of every parameter (Yin et al. 2018)";
    "trimmed-mean", Aggregation, "the mean without the extremes of every parameter (Yin et al. 2018)";
    "krum", Aggregation, "the update nearest to the others (Blanchard et al. 2017)";
    "multi-krum", Aggregation, "the mean of the updates nearest to the others (Blanchard et al. 2017)";
    "bulyan", Aggregation, "Krum's choice, then the values around the median (El Mhamdi et al. 2018)";
    "rfa", Aggregation, "the geometric median (Pillutla et al. 2022)";
    "norm-clipping", Aggregation, "the mean of updates clipped to a norm (Sun et al. 2019)";
    "fltrust", Aggregation, "weights by cosine to the geometric median (after Cao et al. 2021)";
    "fedbuff", Aggregation, "buffered rounds, weighted by staleness (Nguyen et al. 2022)";
    "diloco", Aggregation, "an outer step with Nesterov's momentum (Douillard et al. 2023)";
    "allow-all", Release, "every update leaves as it is";
    "clip", Release, "updates leave no longer than a norm (McMahan et al. 2018)";
    "min-cohort", Release, "updates leave only into rounds of enough workers";
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
