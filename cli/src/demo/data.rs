//! The demo's data: one fifth held out for all, the rest split over regions so that each knows some classes well and
//! others hardly.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use polder_train::{DataSet, DataSource, digits};

/// Share of all examples that no region trains on.
const HELD_OUT: f64 = 0.2;
/// Label skew: Dirichlet's α (Hsu et al. 2019); the smaller, the fewer classes a region knows.
const ALPHA: f64 = 0.3;
/// The first regions' names; more are numbered.
const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];

/// One region of the demo.
pub(crate) struct DemoRegion {
    pub(crate) name: String,
    pub(crate) data: DataSet,
    /// Where its worker finds it.
    pub(crate) path: PathBuf,
}

pub(crate) struct DemoData {
    pub(crate) regions: Vec<DemoRegion>,
    /// Everything the regions have, together: what the pooled baseline trains on.
    pub(crate) pooled: DataSet,
    pub(crate) held_out: DataSet,
    /// What the data is, for the report.
    pub(crate) source: String,
}

/// Splits the data set at `source` (the digits in the binary if none) over `regions` and writes each region's part below `dir`.
pub(crate) fn prepare(source: Option<&Path>, regions: usize, seed: u64, dir: &Path) -> Result<DemoData> {
    let (all, described) = match source {
        None => (digits()?, "UCI Optical Recognition of Handwritten Digits (1,797 images of 8x8)".to_owned()),
        Some(path) => (DataSource::open(path)?.load()?, path.display().to_string()),
    };
    ensure!(regions >= 1, "a federation needs at least one region; use --regions 1 or more");
    let split = all.split(HELD_OUT, seed)?;
    let held_out = split.held_out.context("the data set is too small to hold a fifth out")?;
    let parts = split.train.dirichlet_split(regions, ALPHA, seed)?;
    let mut written = Vec::with_capacity(regions);
    for (index, data) in parts.into_iter().enumerate() {
        let name = region_name(index);
        let folder = dir.join("regions").join(&name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("demo.csv.gz");
        data.write_csv(&path)?;
        written.push(DemoRegion { name, data, path });
    }
    Ok(DemoData { regions: written, pooled: split.train, held_out, source: described })
}

fn region_name(index: usize) -> String {
    REGIONS.get(index).map_or_else(|| format!("region-{}", index + 1), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_goes_to_one_region_or_is_held_out() {
        let dir = tempfile::tempdir().unwrap();
        let data = prepare(None, 5, 7, dir.path()).unwrap();
        let trained: usize = data.regions.iter().map(|region| region.data.examples()).sum();
        assert_eq!(trained, data.pooled.examples());
        assert_eq!(trained + data.held_out.examples(), 1797);
        let names: Vec<_> = data.regions.iter().map(|region| region.name.as_str()).collect();
        assert_eq!(names, ["eu-west", "us-east", "ap-south", "region-4", "region-5"]);
        let first = &data.regions[0];
        assert!(DataSource::open(&first.path).unwrap().load().unwrap() == first.data, "the file differs from the data");
    }
}
