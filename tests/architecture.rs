//! The picture in ARCHITECTURE.md, executable: which crate may depend on which, and who alone knows what.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may depend on whom, of ours. Everything points at the core; the core points at nothing.
const EDGES: &[(&str, &[&str])] = &[
    ("polder-core", &[]),
    ("polder-tensor", &["polder-core"]),
    ("polder-policy", &["polder-core"]),
    ("polder-security", &["polder-core"]),
    ("polder-proto", &["polder-core"]),
    ("polder-sim", &["polder-core"]),
    ("polder-train", &["polder-core", "polder-tensor"]),
    ("polder-coordinator", &["polder-core", "polder-policy", "polder-proto", "polder-security", "polder-tensor"]),
    (
        "polder-worker",
        &["polder-core", "polder-policy", "polder-proto", "polder-security", "polder-tensor", "polder-train"],
    ),
    (
        "polder",
        &[
            "polder-coordinator",
            "polder-core",
            "polder-policy",
            "polder-proto",
            "polder-security",
            "polder-sim",
            "polder-tensor",
            "polder-train",
            "polder-worker",
        ],
    ),
];

/// Libraries that only one of our crates may know, so that a change of theirs stops there.
const KNOWN_BY_ONE: &[(&str, &str)] = &[
    ("wasmtime", "polder-policy"),
    ("burn", "polder-train"),
    ("rcgen", "polder-security"),
    ("rustls", "polder-security"),
    ("tokio-rustls", "polder-security"),
    ("sqlx", "polder-coordinator"),
    ("object_store", "polder-coordinator"),
    ("nvml-wrapper", "polder-worker"),
    ("clap", "polder"),
    ("wit-component", "polder"),
];

/// What the core must do without: no clock, no files, no network, no randomness of its own.
const NOT_IN_THE_CORE: &[&str] =
    &["tokio", "tonic", "wasmtime", "rustls", "rand", "rand_chacha", "tracing", "tempfile"];

/// Normal dependencies by package of the workspace; dev-dependencies are the tests' own business.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    let packages = metadata.workspace_packages().into_iter().filter(|package| package.name.as_str() != "polder-tests");
    packages
        .map(|package| {
            let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
            (package.name.to_string(), normal.map(|dependency| dependency.name.clone()).collect())
        })
        .collect()
}

#[test]
fn crates_depend_on_each_other_as_planned() {
    let planned: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let found = dependencies();
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        planned.keys().copied().collect::<Vec<_>>(),
        "a crate is missing from the plan, or from the workspace"
    );
    for (package, dependencies) in &found {
        for ours in dependencies.iter().filter(|name| found.contains_key(*name)) {
            assert!(planned[package.as_str()].contains(&ours.as_str()), "{package} may not depend on {ours}");
        }
    }
}

#[test]
fn each_library_is_known_by_one_crate() {
    for (package, dependencies) in dependencies() {
        for (library, owner) in KNOWN_BY_ONE {
            assert!(
                package == *owner || !dependencies.contains(*library),
                "{package} knows {library}; only {owner} may"
            );
        }
    }
}

#[test]
fn the_core_stays_pure() {
    let core = &dependencies()["polder-core"];
    let found: Vec<_> = NOT_IN_THE_CORE.iter().filter(|library| core.contains(**library)).collect();
    assert!(found.is_empty(), "the core depends on {found:?}");
}

#[test]
fn architecture_md_names_every_crate() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md")).unwrap();
    for (package, _) in EDGES {
        assert!(text.contains(&format!("`{package}`")), "ARCHITECTURE.md does not mention `{package}`");
    }
}

/// What the journal may hold in the format of these migrations. An older program stops leading when it meets a newer
/// format, and would stop altogether at an event that it does not know: a new kind of event takes a new migration, which
/// may be empty, and both lists here.
const JOURNAL: (&[&str], &[&str]) = (
    &["postgres/0001_store.sql", "sqlite/0001_journal.sql", "sqlite/0002_leadership.sql"],
    &[
        "aggregated",
        "aggregation-failed",
        "aggregation-impossible",
        "assignment-accepted",
        "assignment-declined",
        "assignment-failed",
        "coordinator-started",
        "evaluation-received",
        "placement-answered",
        "placement-failed",
        "policies-set",
        "policy-pushed",
        "policy-removed",
        "run-stopped",
        "run-submitted",
        "time-passed",
        "token-created",
        "token-redeemed",
        "update-lost",
        "update-received",
        "worker-connected",
        "worker-disconnected",
        "worker-drained",
    ],
);

#[test]
fn a_new_event_comes_with_a_new_format_of_the_journal() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../coordinator/migrations"));
    let mut migrations: Vec<String> = ["postgres", "sqlite"]
        .iter()
        .flat_map(|database| std::fs::read_dir(root.join(database)).unwrap())
        .map(|file| file.unwrap().path().strip_prefix(root).unwrap().display().to_string())
        .collect();
    migrations.sort();
    // serde names every kind when it meets one that it does not know.
    let unknown = serde_json::from_str::<polder_core::Event>(r#"{"event":"?"}"#).unwrap_err().to_string();
    let mut kinds: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
    kinds.sort_unstable();
    assert_eq!((migrations, kinds), (JOURNAL.0.iter().map(ToString::to_string).collect(), JOURNAL.1.to_vec()));
}
