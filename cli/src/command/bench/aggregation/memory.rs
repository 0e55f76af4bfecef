//! How much memory aggregating takes at its peak: a process of its own for each case, as a peak never falls again.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use polder_coordinator::rehearsal::{Choice, Rehearsal};
use polder_policy::{Limits, PolicyHost};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::{Bench, Measured};

/// Files that stand for all updates in turn; where bytes come from takes no memory.
const FILES: usize = 4;

/// What the other process is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MemoryCase {
    policy: String,
    k: usize,
    n: usize,
}

/// Has a child process aggregate.
pub(super) async fn measure(bench: &Bench, policy: &str, k: usize, full: usize) -> Result<Measured> {
    let (dir, n) = (bench.directory()?, bench.parameters(full));
    drop(Rehearsal::make(dir.path(), k, FILES, n).await?);
    let case = serde_json::to_string(&MemoryCase { policy: policy.into(), k, n })?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut child = Command::new(program);
    child.args(["bench", "aggregation", "--json", "--memory-case", &case, "--dir"]).arg(dir.path()).kill_on_drop(true);
    let output = child.output().await.context("cannot start this program again")?;
    if !output.status.success() {
        bail!("{policy} with {k} updates: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let measured: Measured = serde_json::from_slice(&output.stdout).context("the child said something else")?;
    Ok(Measured { wanted: "below 1.5, whatever K", ..measured })
}

impl MemoryCase {
    /// Aggregates once, in this process, in the files that [`measure`] made.
    pub(super) async fn measure_here(&self, dir: &Path) -> Result<Measured> {
        let Self { policy, k, n } = self;
        let round = Rehearsal::open(dir, *k, FILES, *n).await?;
        let host = PolicyHost::new(Limits::default(), None)?;
        let choice = Choice::of(&host, policy, "{}")?;
        let model_bytes = round.model_bytes();
        let aggregate = move || {
            let before = start_again();
            let started = Instant::now();
            round.aggregate(&host, &choice)?;
            let seconds = started.elapsed().as_secs_f64();
            Ok::<_, anyhow::Error>((seconds, before.zip(kib("VmHWM:"))))
        };
        let (seconds, memory) = tokio::task::spawn_blocking(aggregate).await??;
        Ok(Measured {
            name: "memory at its peak".into(),
            k: *k,
            n: *n,
            policy: policy.clone(),
            seconds,
            peak_bytes: memory.map(|(before, peak)| peak.saturating_sub(before) * 1024),
            model_bytes: Some(model_bytes),
            ..Measured::default()
        })
    }
}

/// Sets the recorded peak to what is resident now, and gives that; none where the system cannot.
fn start_again() -> Option<u64> {
    fs::write("/proc/self/clear_refs", "5").ok()?;
    kib("VmRSS:")
}

fn kib(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
