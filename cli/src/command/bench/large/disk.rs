//! Whether there is room for it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::statvfs;

/// What else lies there, and what a file system keeps for itself.
const BESIDE: u64 = 512 << 20;

/// Refuses to begin what the disk cannot hold: the model, every worker's update, and the next model. Gives what that is.
pub(super) fn make_sure(dir: &Path, model_bytes: u64, workers: u32) -> Result<u64> {
    let needed = needed(model_bytes, workers);
    let found = statvfs(dir).with_context(|| format!("cannot tell how much is free in {}", dir.display()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    ensure!(
        free >= needed + BESIDE,
        "{} has {} free, and {} are needed; give another directory with --dir, or a smaller model with --mib",
        dir.display(),
        crate::output::bytes(free),
        crate::output::bytes(needed + BESIDE)
    );
    Ok(needed)
}

fn needed(model_bytes: u64, workers: u32) -> u64 {
    model_bytes * (u64::from(workers) + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused_and_the_words_say_how_much_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(make_sure(dir.path(), 1 << 10, 4).unwrap(), 6 << 10);
        let refusal = make_sure(dir.path(), 1 << 50, 2).unwrap_err().to_string();
        assert!(refusal.contains("4.00 PiB") && refusal.contains("--mib"), "{refusal}");
    }
}
