//! The region's data sets. They are read once at start, so that a wrong one is refused there and then, and kept in memory
//! in the split that was last asked for. Nothing of them ever leaves but its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use polder_train::{DataError, DataSource, Split};

/// A data set that a worker was given and cannot offer.
#[derive(Debug, thiserror::Error)]
#[error("data set `{name}` cannot be used")]
pub struct DataSetRefused {
    pub name: String,
    pub source: Box<DataError>,
}

/// All data sets of this worker, by name.
#[derive(Clone, Debug)]
pub struct DataSets(Arc<BTreeMap<String, DataSet>>);

/// One data set; without files it is a name that only the synthetic trainer can use.
#[derive(Clone, Debug)]
pub struct DataSet {
    name: String,
    files: Option<Files>,
}

#[derive(Clone, Debug)]
struct Files {
    path: PathBuf,
    /// Features of an example, and classes.
    shape: (usize, usize),
    kept: Arc<Mutex<Kept>>,
}

/// The split last asked for, with what was asked.
#[derive(Debug)]
struct Kept {
    holdout: f64,
    seed: u64,
    split: Arc<Split>,
}

impl DataSets {
    /// Reads every data set; blocks until that is done.
    pub fn open(paths: &BTreeMap<String, Option<PathBuf>>) -> Result<Self, DataSetRefused> {
        let open = |(name, path): (&String, &Option<PathBuf>)| {
            let refuse = |source| DataSetRefused { name: name.clone(), source: Box::new(source) };
            let files = path.clone().map(Files::open).transpose().map_err(refuse)?;
            Ok((name.clone(), DataSet { name: name.clone(), files }))
        };
        Ok(Self(Arc::new(paths.iter().map(open).collect::<Result<_, _>>()?)))
    }

    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&DataSet> {
        self.0.get(name)
    }
}

impl DataSet {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is anything to read.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// Features of an example, and classes, as they were at the start; `None` for a data set without files.
    #[must_use]
    pub fn shape(&self) -> Option<(usize, usize)> {
        self.files.as_ref().map(|files| files.shape)
    }

    /// The rows, divided as [`DataSource::load_split`] does; read anew where the split kept in memory is another one.
    /// `None` for a data set without files. Blocks.
    pub fn split(&self, holdout: f64, seed: u64) -> Option<Result<Arc<Split>, DataError>> {
        self.files.as_ref().map(|files| files.split(holdout, seed))
    }
}

impl Files {
    fn open(path: PathBuf) -> Result<Self, DataError> {
        let kept = Kept::read(&path, 0.0, 0)?;
        let split = &kept.split.train;
        tracing::info!(path = %path.display(), "read {} examples of {} classes", split.examples(), split.classes());
        let shape = (split.feature_count(), split.classes());
        Ok(Self { path, shape, kept: Arc::new(Mutex::new(kept)) })
    }

    fn split(&self, holdout: f64, seed: u64) -> Result<Arc<Split>, DataError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nothing is held out, there is nothing to choose by the seed.
        let is_same = kept.holdout == holdout && (kept.seed == seed || holdout == 0.0);
        if !is_same {
            *kept = Kept::read(&self.path, holdout, seed)?;
        }
        Ok(kept.split.clone())
    }
}

impl Kept {
    fn read(path: &std::path::Path, holdout: f64, seed: u64) -> Result<Self, DataError> {
        let split = Arc::new(DataSource::open(path)?.load_split(holdout, seed)?);
        Ok(Self { holdout, seed, split })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(rows: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("points.csv");
        std::fs::write(&path, format!("x,y,label\n{rows}")).unwrap();
        std::fs::write(dir.path().join("points.schema.toml"), "[label]\ncolumn = \"label\"\nclasses = 2\n").unwrap();
        (dir, path)
    }

    fn open(path: PathBuf) -> Result<DataSets, DataSetRefused> {
        DataSets::open(&BTreeMap::from([("points".to_owned(), Some(path)), ("name-only".to_owned(), None)]))
    }

    #[test]
    fn a_split_is_kept_until_another_is_asked_for() {
        let (_dir, path) = csv("0,1,0\n1,0,1\n2,1,0\n3,0,1\n");
        let sets = open(path).unwrap();
        let points = sets.get("points").unwrap();
        let whole = points.split(0.0, 7).unwrap().unwrap();
        assert_eq!((whole.train.examples(), whole.held_out.is_none()), (4, true));
        assert!(Arc::ptr_eq(&whole, &points.split(0.0, 8).unwrap().unwrap()));
        let half = points.split(0.5, 1).unwrap().unwrap();
        assert_eq!((half.train.examples(), half.held_out.as_ref().unwrap().examples()), (2, 2));
        assert!(Arc::ptr_eq(&half, &points.split(0.5, 1).unwrap().unwrap()));
        assert!(!Arc::ptr_eq(&half, &points.split(0.5, 2).unwrap().unwrap()));
        assert!(sets.get("name-only").unwrap().split(0.0, 0).is_none());
    }

    #[test]
    fn a_wrong_data_set_is_refused_by_name_file_and_line() {
        let (_dir, path) = csv("0,1,0\n1,zwei,1\n");
        let refused = open(path.clone()).unwrap_err();
        let text = format!("{refused}: {}", refused.source);
        assert!(text.contains("data set `points`"), "{text}");
        assert!(text.contains("points.csv") && text.contains("line 3") && text.contains("zwei"), "{text}");
        let missing = open(path.with_file_name("gone.csv")).unwrap_err();
        assert!(missing.source.to_string().contains("no such file"), "{}", missing.source);
    }
}
