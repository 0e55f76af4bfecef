//! What the demo leaves behind: `report.json`, `plot.svg`, `model.safetensors`; and the table at its end.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use polder_core::view::RoundView;
use polder_tensor::Parameters;
use serde::Serialize;

use super::baseline::Baselines;
use super::plot::{self, Point};
use crate::failure::Ended;

/// The demo's result: the one object that `--json` prints, and `report.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) run: String,
    pub(crate) rounds: u64,
    /// Of the federated model on the held-out examples.
    pub(crate) accuracy: f64,
    pub(crate) loss: f64,
    pub(crate) best_region: String,
    pub(crate) best_region_accuracy: f64,
    pub(crate) pooled_accuracy: f64,
    /// From the demo's start to the run's end, without the baselines.
    pub(crate) seconds: f64,
    /// From the demo's start until the first worker trained.
    pub(crate) first_training_seconds: f64,
    /// Models to workers and updates back.
    pub(crate) bytes_sent: u64,
    pub(crate) workers: usize,
    pub(crate) policies: Vec<PolicyUsed>,
    pub(crate) seed: u64,
    pub(crate) data: String,
    pub(crate) held_out_examples: usize,
    pub(crate) regions: Vec<RegionResult>,
    /// BLAKE3 of the final model's file.
    pub(crate) model: String,
    pub(crate) by_round: Vec<Point>,
    pub(crate) report_dir: PathBuf,
}

#[derive(Debug, Serialize)]
pub(crate) struct PolicyUsed {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) digest: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct RegionResult {
    pub(crate) region: String,
    pub(crate) examples: usize,
    /// Examples by class.
    pub(crate) classes: Vec<usize>,
    /// Of a model that this region trains alone, on the same held-out examples.
    pub(crate) accuracy_alone: f64,
}

/// Bytes that a round's models and updates took.
pub(crate) fn bytes_of(round: &RoundView) -> u64 {
    let updates: u64 = round.cohort.iter().filter_map(|seat| seat.update_bytes).sum();
    updates + round.base.bytes * round.cohort.len() as u64
}

impl Report {
    /// Writes everything below `report_dir`.
    pub(crate) fn write(&self, model: &Parameters, baselines: &Baselines) -> Result<()> {
        let write = |name: &str, bytes: &[u8]| {
            let path = self.report_dir.join(name);
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        write("report.json", &serde_json::to_vec_pretty(self)?)?;
        write("model.safetensors", &model.to_safetensors())?;
        let plot = self.report_dir.join("plot.svg");
        plot::draw(&plot, &self.by_round, self.best_region_accuracy, baselines.pooled.accuracy)
    }

    /// The closing table, for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |left: &str, right: String| text.push_str(&format!("  {left:<34}{right}\n"));
        line("federated accuracy", format!("{:.4}", self.accuracy));
        line("best single region", format!("{:.4}  ({})", self.best_region_accuracy, self.best_region));
        line("pooled in one place", format!("{:.4}", self.pooled_accuracy));
        line("rounds committed", format!("{} with {} workers", self.rounds, self.workers));
        line("first training after", format!("{:.2} s", self.first_training_seconds));
        line("run finished after", format!("{:.1} s", self.seconds));
        line("bytes moved", human_bytes(self.bytes_sent));
        for policy in &self.policies {
            line(&format!("{} policy", policy.kind), format!("{}  {}", policy.name, policy.digest));
        }
        line("model", self.model.clone());
        line("report", self.report_dir.join("report.json").display().to_string());
        line("", self.report_dir.join("plot.svg").display().to_string());
        line("", self.report_dir.join("model.safetensors").display().to_string());
        text
    }
}

fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// The directory that a report goes to; made if it is not there, and checked to take files.
pub(crate) fn prepare_dir(dir: &Path) -> Result<PathBuf> {
    let prepared = std::fs::create_dir_all(dir).and_then(|()| {
        // Gone as soon as it is there.
        tempfile::tempfile_in(dir)?;
        dir.canonicalize()
    });
    prepared.map_err(|error| Ended::usage(format!("no report can be written to `{}`: {error}", dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_has_no_place_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let made = prepare_dir(&dir.path().join("a/b")).unwrap();
        assert_eq!(std::fs::read_dir(made).unwrap().count(), 0, "the check left something");
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let refused = prepare_dir(&file).unwrap_err();
        assert!(refused.to_string().contains(&file.display().to_string()), "{refused}");
    }
}
