//! Vectors as long as a model, one file a run.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use polder_core::id::PolicyName;
use polder_core::{Digest, RunId};
use polder_tensor::{Layout, Parameters};
use serde::{Deserialize, Serialize};

use crate::durable;

/// Most runs whose vector is kept; each is as large as the run's model.
pub(super) const RUNS_MAX: usize = 8;
/// Longest first line that is read, in bytes.
const HEAD_BYTES_MAX: u64 = 1024;

/// What a vector belongs to, beside its run and its layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) policy: PolicyName,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// SCAFFOLD's c_i.
    ControlVariate,
    /// FedDyn's h_i.
    DynamicRegularizer,
}

/// The file's first line; a safetensors file follows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    key: Key,
    digest: Digest,
}

/// All vectors of a worker.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    runs_max: usize,
}

impl Store {
    pub(super) fn at(dir: PathBuf) -> Self {
        Self { dir, runs_max: RUNS_MAX }
    }

    fn path(&self, run: &RunId) -> PathBuf {
        self.dir.join(format!("{run}.correction"))
    }

    /// What is kept of `run` under `key`, if it has the layout `layout`.
    pub(super) fn get(&self, run: &RunId, key: &Key, layout: &Layout) -> Option<Parameters> {
        let path = self.path(run);
        match read(&path, key, layout) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("`{}` is not used and counts as all zero: {error}", path.display());
                None
            }
        }
    }

    /// Keeps `kept`; makes room by forgetting the run used longest ago.
    pub(super) fn put(&self, run: &RunId, key: &Key, kept: &Parameters) -> io::Result<()> {
        let path = self.path(run);
        let head = Head { key: key.clone(), digest: kept.digest() };
        let head = serde_json::to_string(&head).map_err(io::Error::other)?;
        durable::replace(&path, |file| {
            writeln!(file, "{head}")?;
            kept.write(file)
        })?;
        self.make_room(&path)
    }

    pub(super) fn forget(&self, run: &RunId) -> io::Result<()> {
        match fs::remove_file(self.path(run)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn make_room(&self, newest: &Path) -> io::Result<()> {
        let mut others: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path() != newest {
                others.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        others.sort();
        let surplus = (others.len() + 1).saturating_sub(self.runs_max);
        for (_, path) in others.into_iter().take(surplus) {
            tracing::info!("`{}` makes room for another run", path.display());
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn read(path: &Path, key: &Key, layout: &Layout) -> io::Result<Option<Parameters>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut head = String::new();
    io::Read::take(&mut file, HEAD_BYTES_MAX).read_line(&mut head)?;
    let kept: Head = serde_json::from_str(&head).map_err(io::Error::other)?;
    if kept.key != *key {
        return Ok(None);
    }
    let parameters = Parameters::read(&mut file, layout.file_bytes()).map_err(io::Error::other)?;
    if let Some(difference) = layout.difference(parameters.layout()) {
        return Err(io::Error::other(format!("it is of another model: {difference}")));
    }
    if parameters.digest() != kept.digest {
        return Err(io::Error::other("it is damaged: its digest is another"));
    }
    Ok(Some(parameters))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use polder_tensor::TensorSpec;

    use super::*;

    fn run(name: &str) -> RunId {
        RunId::new(name).unwrap()
    }

    fn key(policy: &str, kind: Kind) -> Key {
        Key { policy: policy.parse().unwrap(), kind }
    }

    fn vector(values: &[f32]) -> Parameters {
        let layout = Layout::new(vec![TensorSpec::new("w", [values.len()])]).unwrap();
        Parameters::new(Arc::new(layout), values.to_vec()).unwrap()
    }

    #[test]
    fn a_vector_outlives_the_worker_and_belongs_to_run_policy_kind_and_layout() {
        let dir = tempfile::tempdir().unwrap();
        let store = || Store::at(dir.path().join("corrections"));
        let (kept, scaffold) = (vector(&[1.0, -2.0, 0.5]), key("scaffold", Kind::ControlVariate));
        let layout = kept.layout();
        assert_eq!(store().get(&run("a"), &scaffold, layout), None);
        store().put(&run("a"), &scaffold, &kept).unwrap();
        assert_eq!(store().get(&run("a"), &scaffold, layout), Some(kept.clone()));
        assert_eq!(store().get(&run("b"), &scaffold, layout), None);
        assert_eq!(store().get(&run("a"), &key("mine", Kind::ControlVariate), layout), None);
        assert_eq!(store().get(&run("a"), &key("scaffold", Kind::DynamicRegularizer), layout), None);
        assert_eq!(store().get(&run("a"), &scaffold, vector(&[0.0; 2]).layout()), None);
        store().forget(&run("a")).unwrap();
        store().forget(&run("a")).unwrap();
        assert_eq!(store().get(&run("a"), &scaffold, layout), None);
    }

    #[test]
    fn a_damaged_vector_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().into());
        let (kept, scaffold) = (vector(&[1.0, -2.0, 0.5]), key("scaffold", Kind::ControlVariate));
        store.put(&run("a"), &scaffold, &kept).unwrap();
        let path = dir.path().join("a.correction");
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damage in [flipped.as_slice(), &whole[..whole.len() - 1], &whole[..10], b""] {
            fs::write(&path, damage).unwrap();
            assert_eq!(store.get(&run("a"), &scaffold, kept.layout()), None);
        }
    }

    #[test]
    fn the_run_used_longest_ago_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store { dir: dir.path().into(), runs_max: 2 };
        let (kept, scaffold) = (vector(&[1.0]), key("scaffold", Kind::ControlVariate));
        let used = |name: &str, seconds| {
            store.put(&run(name), &scaffold, &kept).unwrap();
            let file = File::options().write(true).open(store.path(&run(name))).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        let has = |name| store.get(&run(name), &scaffold, kept.layout()).is_some();
        used("b", 1);
        used("a", 2);
        used("b", 3);
        used("c", 4);
        assert_eq!(["a", "b", "c"].map(has), [false, true, true]);
    }
}
