//! Open worker streams, and what the workers last said of themselves. Nothing here survives a restart, and nothing needs to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::policy::WorkerLoad;
use polder_core::{Region, WorkerName};
use polder_proto::convert;
use polder_proto::v1::{CoordinatorMessage, WorkerProgress, coordinator_message};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::config::now;

/// Messages that may wait for a worker to read; one that does not read them is cut off and may come back.
const OUTBOX_MAX: usize = 4096;
/// Progress reports kept for slow watchers; what they miss is only progress.
const PROGRESS_KEPT: usize = 1024;

#[derive(Clone)]
pub(crate) struct Sessions {
    open: Arc<Mutex<BTreeMap<WorkerName, Open>>>,
    /// Numbers sessions in the order in which they open, across restarts and coordinators too.
    opened: Arc<AtomicU64>,
    progress: broadcast::Sender<(String, WorkerProgress)>,
}

struct Open {
    session: u64,
    outbox: mpsc::Sender<Result<CoordinatorMessage, Status>>,
    end: CancellationToken,
    load: WorkerLoad,
    /// The version of the protocol that it goes by.
    protocol: u32,
}

/// The service's side of a session.
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) outbox: mpsc::Receiver<Result<CoordinatorMessage, Status>>,
    /// Cancelled when a newer session of the worker replaced this one, or the worker does not read.
    pub(crate) end: CancellationToken,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { open: Arc::default(), opened: Arc::default(), progress: broadcast::channel(PROGRESS_KEPT).0 }
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkerName, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session; one that the worker still had ends.
    pub(crate) fn open(&self, worker: &WorkerName, load: WorkerLoad, protocol: u32) -> Session {
        let (sender, outbox) = mpsc::channel(OUTBOX_MAX);
        let end = CancellationToken::new();
        let mut open_sessions = self.lock();
        // Another coordinator's clock may have numbered those before: ours is past what it journaled by now.
        self.opened.fetch_max(now().0 << 16, Ordering::Relaxed);
        let id = self.opened.fetch_add(1, Ordering::Relaxed);
        let open = Open { session: id, outbox: sender, end: end.clone(), load, protocol };
        if let Some(old) = open_sessions.insert(worker.clone(), open) {
            old.end.cancel();
        }
        Session { id, outbox, end }
    }

    /// Forgets a session, unless a newer one has taken its place.
    pub(crate) fn close(&self, worker: &WorkerName, session: u64) {
        let mut open = self.lock();
        if open.get(worker).is_some_and(|open| open.session == session) {
            open.remove(worker);
        }
    }

    /// Ends every session, because the coordinator stops: workers come back when it is back.
    pub(crate) fn end_all(&self) {
        for open in self.lock().values() {
            open.end.cancel();
        }
    }

    /// Puts a message on the worker's stream. Without a stream it is dropped: the worker is told again when it connects.
    pub(crate) fn send(&self, worker: &WorkerName, message: coordinator_message::Message) {
        let open = self.lock();
        let Some(open) = open.get(worker) else { return };
        let message = CoordinatorMessage { message: Some(message) };
        if open.outbox.try_send(Ok(message)).is_err() {
            tracing::warn!(%worker, "the worker does not read its stream; it is cut off");
            open.end.cancel();
        }
    }

    pub(crate) fn report_load(&self, worker: &WorkerName, load: WorkerLoad) {
        if let Some(open) = self.lock().get_mut(worker) {
            open.load = load;
        }
    }

    /// What the worker last reported; nothing if it is not here.
    pub(crate) fn load(&self, worker: &WorkerName) -> WorkerLoad {
        self.lock().get(worker).map(|open| open.load.clone()).unwrap_or_default()
    }

    /// Everybody who is here, each with the version of the protocol that its session goes by.
    pub(crate) fn all(&self) -> Vec<(WorkerName, u32)> {
        self.lock().iter().map(|(worker, open)| (worker.clone(), open.protocol)).collect()
    }

    /// The version of the protocol that the worker's session goes by; none if it is not here.
    pub(crate) fn protocol(&self, worker: &WorkerName) -> Option<u32> {
        self.lock().get(worker).map(|open| open.protocol)
    }

    /// Passes a progress report to whoever watches the run.
    pub(crate) fn report_progress(&self, worker: &WorkerName, region: &Region, progress: polder_proto::v1::Progress) {
        // Nothing is decided by it, so what makes no sense is dropped.
        let Ok(assignment) = convert::assignment_id(progress.assignment, worker) else { return };
        let stage: String = progress.stage.chars().filter(char::is_ascii_alphabetic).take(20).collect();
        let report = WorkerProgress {
            worker: worker.to_string(),
            region: region.to_string(),
            round: assignment.round,
            stage,
            epoch: progress.epoch,
            epochs: progress.epochs,
            fraction: if progress.fraction.is_finite() { progress.fraction.clamp(0.0, 1.0) } else { 0.0 },
            loss: progress.loss.filter(|loss| loss.is_finite()),
        };
        // Nobody may be watching.
        let _ = self.progress.send((assignment.run.into(), report));
    }

    pub(crate) fn watch_progress(&self) -> broadcast::Receiver<(String, WorkerProgress)> {
        self.progress.subscribe()
    }
}
