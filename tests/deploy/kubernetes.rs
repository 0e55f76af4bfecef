//! The manifests against Kubernetes' own schema, where a program that carries it is at hand: `.ci/servers` installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::manifests;

/// `kubernetes-validate`: on the path, or where `.ci/servers` puts it.
fn validator() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers/venv/bin/kubernetes-validate");
    let candidates = [PathBuf::from("kubernetes-validate"), installed];
    candidates.into_iter().find(|program| Command::new(program).arg("--version").output().is_ok())
}

#[test]
#[allow(clippy::print_stderr)]
fn the_manifests_fit_the_schema() {
    let Some(validator) = validator() else {
        eprintln!("skipped: there is no kubernetes-validate here; `.ci/servers` installs it");
        return;
    };
    let of_kubernetes = |path: &PathBuf| path.file_name().is_some_and(|name| name != "kustomization.yaml");
    let files: Vec<PathBuf> = manifests().into_iter().filter(of_kubernetes).collect();
    let checked = Command::new(&validator).arg("--strict").args(&files).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    let broken = tempfile::tempdir().unwrap();
    let path = broken.path().join("broken.yaml");
    let good = std::fs::read_to_string(&files[0]).unwrap();
    std::fs::write(&path, good.replace("spec:", "spec:\n  noSuchField: 1")).unwrap();
    let refused = Command::new(&validator).arg("--strict").arg(&path).output().unwrap();
    assert!(!refused.status.success(), "the validator takes anything: {refused:?}");
}
