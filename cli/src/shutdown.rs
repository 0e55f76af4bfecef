//! Ctrl-C, SIGTERM and SIGHUP; and for a child of `demo` or `bench`, the end of its parent.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::failure::{Ended, Exit};
use crate::local::PARENT_PIPE_VARIABLE;

/// The signals, heard from now on.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None under `nohup`, which has it ignored.
    hangup: Option<Signal>,
    /// Ends once stdin does, if that is a pipe from our parent; it counts once.
    parent: Option<JoinHandle<()>>,
}

impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let hangup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let parent = std::env::var_os(PARENT_PIPE_VARIABLE).map(|_| tokio::task::spawn_blocking(read_to_end));
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup, parent })
    }

    /// The next one, as the exit it asks for.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
            () = hung_up(&mut self.hangup) => Exit::HungUp,
            () = orphaned(&mut self.parent) => Exit::Terminated,
        }
    }

    /// Does `start`, unless a signal comes first. What blocks must be on other threads: the signals are heard on this one.
    pub(crate) async fn unless_stopped<T>(
        &mut self,
        start: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            started = start => started,
            exit = self.next() => Err(Ended::error(exit, "stopped before it was up")),
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn orphaned(parent: &mut Option<JoinHandle<()>>) {
    match parent {
        Some(reading) => {
            // However the reading ended, nobody is there any more.
            let _ = reading.await;
            *parent = None;
        }
        None => std::future::pending().await,
    }
}

fn read_to_end() {
    // A pipe that cannot be read has ended as well.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

/// Whether we were started with SIGHUP ignored; no where /proc does not tell.
fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is signal 1, the lowest bit.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Runs `service` until it ends. The first signal cancels `shutdown` and lets it end in order; the second does not wait
/// for that.
pub(crate) async fn in_order<T>(
    mut signals: Signals,
    shutdown: CancellationToken,
    service: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::pin!(service);
    tokio::select! {
        ended = &mut service => return ended,
        _ = signals.next() => {
            tracing::info!("stopping; once more stops at once");
            shutdown.cancel();
        }
    }
    tokio::select! {
        ended = service => ended,
        exit = signals.next() => Err(Ended::error(exit, "stopped before everything was in order")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_heeded() {
        assert!(ignores_hangup("Name:\tpolder\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }

    #[tokio::test]
    async fn a_parent_ends_once() {
        let mut parent = Some(tokio::spawn(async {}));
        orphaned(&mut parent).await;
        assert!(parent.is_none(), "the second signal must be another's");
    }
}
