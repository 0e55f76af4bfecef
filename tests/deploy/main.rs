//! What `deploy/` says is what the program takes: flags, variables, names and ports; and Kubernetes takes the manifests.

mod kubernetes;
mod programs;

use std::path::{Path, PathBuf};

use serde_json::Value;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Every document of a YAML file.
#[track_caller]
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The manifests, file by file.
fn manifests() -> Vec<PathBuf> {
    let folders = ["coordinator", "worker"].map(|folder| deploy().join("kubernetes").join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 6, "{paths:?}");
    paths
}
