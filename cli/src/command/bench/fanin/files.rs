//! Room for sockets: two connections a worker, in this process and in the coordinator's, which inherits the limit.

use anyhow::{Result, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::output::talk;

/// Connections of one worker: its session, and its models and updates.
const CONNECTIONS: u64 = 2;
/// Files that are open for other reasons.
const OTHERS: u64 = 512;

/// Raises this process's limit of open files for so many workers; says what to do where it may not be raised that far.
pub(super) fn make_room(workers: u32) -> Result<()> {
    let wanted = CONNECTIONS * u64::from(workers) + OTHERS;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(wanted);
    ensure!(
        most >= wanted,
        "{workers} workers need {wanted} open files, and this user may have {most}; raise it with `ulimit -Hn {wanted}` as root, \
         or take fewer workers with --workers"
    );
    limit.current = Some(wanted);
    setrlimit(Resource::Nofile, limit)?;
    talk(&format!("raised the limit of open files to {wanted}"))
}
