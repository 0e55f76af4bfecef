//! One look at the processes and directories of a federation.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::local::LocalFederation;
use crate::output::{Table, bytes};

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    coordinator: u32,
    workers: Vec<u32>,
    dir: PathBuf,
}

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Sample {
    pub(super) at_seconds: f64,
    pub(super) rounds_committed: u64,
    pub(super) coordinator_memory_bytes: u64,
    pub(super) workers_memory_bytes: u64,
    pub(super) coordinator_descriptors: u64,
    pub(super) workers_descriptors: u64,
    pub(super) coordinator_threads: u64,
    pub(super) workers_threads: u64,
    pub(super) journal_bytes: u64,
    pub(super) blobs_bytes: u64,
    pub(super) spool_bytes: u64,
    pub(super) workers_disk_bytes: u64,
    pub(super) files: u64,
}

impl Watched {
    pub(super) fn of(federation: &LocalFederation, dir: &Path) -> Result<Self> {
        let coordinator = federation.coordinator_id().context("the coordinator has ended")?;
        Ok(Self { coordinator, workers: federation.worker_ids(), dir: dir.into() })
    }

    pub(super) fn look(&self, (at_seconds, rounds_committed): (f64, u64)) -> Result<Sample> {
        let coordinator = Process::of(self.coordinator)?;
        let workers: Vec<Process> = self.workers.iter().map(|id| Process::of(*id)).collect::<Result<_>>()?;
        let sum = |what: fn(&Process) -> u64| workers.iter().map(what).sum();
        let coordinators = self.dir.join("coordinator");
        let all = Usage::of(&coordinators, |_| true)?;
        let workers_disk = Usage::of(&self.dir.join("workers"), |_| true)?;
        let is_journal = |path: &Path| name(path).starts_with("journal");
        Ok(Sample {
            at_seconds,
            rounds_committed,
            coordinator_memory_bytes: coordinator.memory_bytes,
            workers_memory_bytes: sum(|process| process.memory_bytes),
            coordinator_descriptors: coordinator.descriptors,
            workers_descriptors: sum(|process| process.descriptors),
            coordinator_threads: coordinator.threads,
            workers_threads: sum(|process| process.threads),
            journal_bytes: Usage::of(&coordinators, is_journal)?.bytes,
            blobs_bytes: Usage::of(&coordinators.join("blobs"), |_| true)?.bytes,
            spool_bytes: Usage::of(&coordinators.join("spool"), |_| true)?.bytes,
            workers_disk_bytes: workers_disk.bytes,
            files: all.files + workers_disk.files,
        })
    }
}

/// A process, as /proc tells of it.
struct Process {
    memory_bytes: u64,
    descriptors: u64,
    threads: u64,
}

impl Process {
    fn of(id: u32) -> Result<Self> {
        let path = format!("/proc/{id}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}; this needs Linux"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.with_context(|| format!("{path} does not say {name}"))
        };
        let descriptors = format!("/proc/{id}/fd");
        let open = fs::read_dir(&descriptors).with_context(|| format!("cannot read {descriptors}"))?;
        Ok(Self {
            memory_bytes: field("VmRSS:")? * 1024,
            threads: field("Threads:")?,
            descriptors: open.count() as u64,
        })
    }
}

/// Files below a directory.
#[derive(Default)]
struct Usage {
    files: u64,
    bytes: u64,
}

impl Usage {
    /// What disappears while we look counts as gone.
    fn of(dir: &Path, counts: impl Fn(&Path) -> bool + Copy) -> Result<Self> {
        let mut usage = Self::default();
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(usage),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                let below = Self::of(&path, counts)?;
                usage.files += below.files;
                usage.bytes += below.bytes;
            } else if counts(&path) {
                usage.files += 1;
                usage.bytes += metadata.len();
            }
        }
        Ok(usage)
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// All looks; at most about forty of them, for people.
pub(super) fn table(samples: &[Sample]) -> Table {
    let mut table = Table::new(&[
        ">SECONDS",
        ">ROUNDS",
        ">COORDINATOR",
        ">WORKERS",
        ">FDS",
        ">THREADS",
        ">JOURNAL",
        ">BLOBS",
        ">SPOOL",
        ">WORKERS' DISK",
        ">FILES",
    ]);
    for sample in samples.iter().step_by(samples.len().div_ceil(40).max(1)) {
        table.row([
            format!("{:.0}", sample.at_seconds),
            sample.rounds_committed.to_string(),
            bytes(sample.coordinator_memory_bytes),
            bytes(sample.workers_memory_bytes),
            format!("{}+{}", sample.coordinator_descriptors, sample.workers_descriptors),
            format!("{}+{}", sample.coordinator_threads, sample.workers_threads),
            bytes(sample.journal_bytes),
            bytes(sample.blobs_bytes),
            bytes(sample.spool_bytes),
            bytes(sample.workers_disk_bytes),
            sample.files.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_its_files_are_seen() {
        if cfg!(not(target_os = "linux")) {
            return;
        }
        let process = Process::of(std::process::id()).unwrap();
        assert!(process.memory_bytes > 100_000 && process.threads >= 1 && process.descriptors >= 3);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("journal.sqlite-wal"), [0; 10]).unwrap();
        fs::write(dir.path().join("below/other"), [0; 5]).unwrap();
        let all = Usage::of(dir.path(), |_| true).unwrap();
        assert_eq!((all.files, all.bytes), (2, 15));
        assert_eq!(Usage::of(dir.path(), |path| name(path).starts_with("journal")).unwrap().bytes, 10);
        assert_eq!(Usage::of(&dir.path().join("gone"), |_| true).unwrap().files, 0);
    }
}
