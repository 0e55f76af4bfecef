//! Coordinators' directories over one object store, of any kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polder_coordinator::spool::{Announced, Spool, SpoolError, SpooledUpdate};
use polder_coordinator::store::{Store, StoreConfig, StoreError};
use polder_core::{AssignmentId, Digest};
use polder_tensor::{Layout, Parameters, TensorSpec};
use tempfile::TempDir;

/// The port of the S3 server, in the process that has its credentials.
pub(super) const S3_PORT: &str = "POLDER_TEST_S3_PORT";
pub(super) const BUCKET: &str = "polder";

/// Where the copies that count are.
pub(super) struct World {
    dir: TempDir,
    /// None where everything lies in the coordinator's own directory.
    blobs: Option<String>,
}

impl World {
    pub(super) fn local() -> Option<Self> {
        Some(Self { dir: tempfile::tempdir().unwrap(), blobs: None })
    }

    pub(super) fn directory() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Some(format!("file://{}", dir.path().join("shared dir").display()).replace(' ', "%20"));
        Some(Self { dir, blobs })
    }

    /// None in a process without the server's credentials.
    pub(super) fn s3() -> Option<Self> {
        std::env::var_os(S3_PORT)?;
        let dir = tempfile::tempdir().unwrap();
        // Each test has a part of the bucket to itself.
        let prefix = dir.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_lowercase();
        Some(Self { blobs: Some(format!("s3://{BUCKET}/test/{prefix}")), dir })
    }

    pub(super) fn is_shared(&self) -> bool {
        self.blobs.is_some()
    }

    /// The object store's own directory, where it has one.
    pub(super) fn objects(&self) -> PathBuf {
        self.dir.path().join("shared dir")
    }

    /// The path of an object for [`S3::put`](polder_tests::s3::S3::put).
    pub(super) fn s3_path(&self, key: &str) -> String {
        format!("/{}/{key}", self.blobs.as_deref().unwrap().trim_start_matches("s3://"))
    }

    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A coordinator's directory.
    pub(super) async fn open(&self, name: &str) -> House {
        self.try_open(name).await.unwrap()
    }

    pub(super) async fn try_open(&self, name: &str) -> Result<House, StoreError> {
        let dir = self.dir(name);
        if self.blobs.is_some() && !dir.join("journal.sqlite").exists() {
            // All of them are one federation's, as they are with a database in common.
            let alone = Store::open(&StoreConfig::local(&dir)).await?;
            alone.meta_put_if_absent("federation", b"f00d").await?;
        }
        let store = Store::open(&StoreConfig { blobs: self.blobs.clone(), ..StoreConfig::local(&dir) }).await?;
        let spool = Spool::open(&dir.join("spool"), store.blobs().objects().cloned()).unwrap();
        Ok(House { store, spool })
    }
}

pub(super) struct House {
    pub(super) store: Store,
    pub(super) spool: Spool,
}

impl House {
    /// Loses all local copies, as a new machine would.
    pub(super) fn wipe(&self) {
        let mut files = Vec::new();
        collect(&self.store.dir().join("blobs"), &mut files);
        collect(&self.store.dir().join("spool"), &mut files);
        for file in files.iter().filter(|file| file.file_name().unwrap() != "objects") {
            fs::remove_file(file).unwrap();
        }
    }

    /// Takes an update, as an upload brings it.
    pub(super) fn receive(&self, assignment: &AssignmentId, seed: u32) -> Result<SpooledUpdate, SpoolError> {
        let file = update(seed);
        let digest = digest(&file);
        let announced =
            Announced { assignment: assignment.clone(), layout: layout(), digest, bytes: file.len() as u64 };
        let held = self.spool.status(assignment, &digest)?;
        let mut receiver = self.spool.resume(announced, held)?;
        receiver.write(&file[usize::try_from(held).unwrap()..])?;
        receiver.finish()
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

pub(super) fn files(dir: &Path) -> usize {
    let mut files = Vec::new();
    if dir.exists() {
        collect(dir, &mut files);
    }
    files.len()
}

fn layout() -> Arc<Layout> {
    Arc::new(Layout::new(vec![TensorSpec::new("w", [700, 40])]).unwrap())
}

pub(super) fn update(seed: u32) -> Vec<u8> {
    let values = (0..28_000).map(|at| (at as f32).mul_add(0.25, seed as f32)).collect();
    Parameters::new(layout(), values).unwrap().to_safetensors()
}

pub(super) fn assignment(round: u32, worker: &str) -> AssignmentId {
    AssignmentId { run: "digits-1".parse().unwrap(), round, worker: worker.parse().unwrap() }
}

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::blake3(*blake3::hash(bytes).as_bytes())
}

/// Bytes that do not repeat soon, of more than one part.
pub(super) fn model() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(20_000_003).collect()
}
