//! A trainer's view of the world outside: it may say how far it is, and must ask whether to go on.

use std::fs::File;
use std::io::{self, BufReader, Take, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polder_core::AssignmentId;
use polder_proto::convert::assignment_id_to_wire;
use polder_proto::v1;
use polder_proto::v1::worker_message::Message;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Throttle, TrainerError};
use crate::kept::Place;

/// Five reports a second and assignment are enough for anybody who watches.
const EVERY: Duration = Duration::from_millis(200);
/// Whoever waits shows a sign of life this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What an assignment is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Fetching,
    Training,
    Evaluating,
    Uploading,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Training => "training",
            Self::Evaluating => "evaluating",
            Self::Uploading => "uploading",
        }
    }
}

/// How far an assignment is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    pub stage: Stage,
    /// From 1 to `epochs`; both 0 where there are no epochs.
    pub epoch: u32,
    pub epochs: u32,
    /// Share of the stage that is done, 0 to 1.
    pub fraction: f64,
    /// Loss of the last batch.
    pub loss: Option<f64>,
}

impl Progress {
    /// A stage without epochs.
    #[must_use]
    pub fn of(stage: Stage, fraction: f64) -> Self {
        Self { stage, epoch: 0, epochs: 0, fraction, loss: None }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.stage.word())?;
        if self.epochs > 0 {
            write!(f, ", epoch {} of {}", self.epoch, self.epochs)?;
        }
        if self.fraction.is_finite() {
            write!(f, ", {:.0} %", self.fraction.clamp(0.0, 1.0) * 100.0)?;
        }
        match self.loss {
            Some(loss) if loss.is_finite() => write!(f, ", loss {loss:.4}"),
            _ => Ok(()),
        }
    }
}

/// Takes progress of one assignment and knows whether it is still wanted; neither ever blocks. Keeps where training stands.
#[derive(Clone, Debug)]
pub struct Watcher {
    assignment: v1::AssignmentId,
    cancel: CancellationToken,
    outbox: mpsc::Sender<Message>,
    said: Arc<Mutex<Said>>,
    runtime: Handle,
    began: Instant,
    /// When the trainer last said or asked something, in milliseconds since it began.
    sign_of_life_ms: Arc<AtomicU64>,
    checkpoints: Option<Arc<Checkpoints>>,
}

#[derive(Debug)]
struct Said {
    last: Option<Progress>,
    throttle: Throttle,
}

/// Where training stands is kept here.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    pub(crate) place: Arc<Place>,
    pub(crate) every: Duration,
    /// The worker stops: one more, and the next one goes on from it.
    pub(crate) stopping: CancellationToken,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    is_of_stop: bool,
}

impl Checkpoints {
    pub(crate) fn new(place: Arc<Place>, every: Duration, stopping: CancellationToken) -> Self {
        Self { place, every, stopping, last: Mutex::new(Last { at: Instant::now(), is_of_stop: false }) }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self) -> bool {
        let last = self.last();
        last.at.elapsed() >= self.every || (self.stopping.is_cancelled() && !last.is_of_stop)
    }

    /// Keeps one. One that cannot be kept is no reason to end training; the next is tried when it is due.
    fn keep(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        self.last().is_of_stop = self.stopping.is_cancelled();
        if let Err(error) = self.place.keep_checkpoint(write) {
            tracing::warn!("no checkpoint could be kept: {error}");
        }
        self.last().at = Instant::now();
    }
}

impl Watcher {
    /// A watcher of `assignment`, made within a tokio runtime. Reports go to `outbox` and are dropped while it is full.
    #[must_use]
    pub fn new(assignment: &AssignmentId, cancel: CancellationToken, outbox: mpsc::Sender<Message>) -> Self {
        Self {
            assignment: assignment_id_to_wire(assignment),
            cancel,
            outbox,
            said: Arc::new(Mutex::new(Said { last: None, throttle: Throttle::new(EVERY) })),
            runtime: Handle::current(),
            began: Instant::now(),
            sign_of_life_ms: Arc::default(),
            checkpoints: None,
        }
    }

    /// The same watcher, which keeps checkpoints.
    pub(crate) fn with_checkpoints(self, checkpoints: Checkpoints) -> Self {
        Self { checkpoints: Some(Arc::new(checkpoints)), ..self }
    }

    /// Says how far the assignment is. A new stage is always told, of the rest what the limit lets through.
    pub fn report(&self, progress: Progress) {
        self.lives();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = said.last.is_none_or(|last| last.stage != progress.stage);
        said.last = Some(progress);
        let is_due = said.throttle.lets_through(Instant::now());
        if !is_new && !is_due {
            return;
        }
        drop(said);
        let Progress { stage, epoch, epochs, fraction, loss } = progress;
        let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        let loss = loss.filter(|loss| loss.is_finite());
        let (assignment, stage) = (Some(self.assignment.clone()), stage.word().to_owned());
        // Progress is for people watching: what nobody has room for is not worth waiting for.
        let _ =
            self.outbox.try_send(Message::Progress(v1::Progress { assignment, stage, epoch, epochs, fraction, loss }));
    }

    /// What was last reported.
    #[must_use]
    pub fn last(&self) -> Option<Progress> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    pub(crate) fn lives(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.sign_of_life_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(crate) fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Waits until the trainer has neither said nor asked anything for `limit`.
    pub(crate) async fn fell_silent(&self, limit: Duration) {
        loop {
            let last = self.began + Duration::from_millis(self.sign_of_life_ms.load(Ordering::Relaxed));
            let left = limit.saturating_sub(last.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// The checkpoint to go on from: what was kept of this very assignment before the worker or the trainer ended. Whoever
    /// reads it must not trust it to be of the same program.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Take<BufReader<File>>> {
        self.checkpoints.as_ref()?.place.checkpoint()
    }

    /// Whether it is time to keep a checkpoint. Ask it before [`is_cancelled`](Self::is_cancelled): a worker that stops in order
    /// wants one more.
    #[must_use]
    pub fn is_checkpoint_due(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_due())
    }

    /// Keeps a checkpoint in place of the last one, durably. Blocks while it is written.
    pub fn keep_checkpoint(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.keep(write);
        }
        self.lives();
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lives();
        self.cancel.is_cancelled()
    }

    /// Blocks for `time`, or less if the assignment is cancelled meanwhile. Not for async code.
    pub fn wait(&self, time: Duration) -> Result<(), TrainerError> {
        let until = Instant::now() + time;
        loop {
            self.lives();
            let left = until.saturating_duration_since(Instant::now());
            let cancelled = self.cancel.cancelled();
            let waited = async { tokio::time::timeout(left.min(SIGN_OF_LIFE), cancelled).await };
            if self.runtime.block_on(waited).is_ok() {
                return Err(TrainerError::Cancelled);
            }
            if left <= SIGN_OF_LIFE {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use polder_core::{RunId, WorkerName};

    use super::*;

    fn watcher(room: usize) -> (Watcher, mpsc::Receiver<Message>, CancellationToken) {
        let id = AssignmentId { run: RunId::new("r").unwrap(), round: 3, worker: WorkerName::new("w").unwrap() };
        let (outbox, reports) = mpsc::channel(room);
        let cancel = CancellationToken::new();
        (Watcher::new(&id, cancel.clone(), outbox), reports, cancel)
    }

    fn stages(reports: &mut mpsc::Receiver<Message>) -> Vec<String> {
        std::iter::from_fn(|| reports.try_recv().ok())
            .map(|message| match message {
                Message::Progress(progress) => progress.stage,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn every_stage_is_told_and_little_else() {
        let (watcher, mut reports, _) = watcher(64);
        let started = Instant::now();
        for stage in [Stage::Fetching, Stage::Training, Stage::Uploading] {
            for step in 0..1000 {
                watcher.report(Progress::of(stage, f64::from(step) / 1000.0));
            }
        }
        let told = stages(&mut reports);
        let due = started.elapsed().as_millis() / EVERY.as_millis() + 1;
        assert!(told.len() as u128 <= 3 + due, "{} reports", told.len());
        let mut distinct = told;
        distinct.dedup();
        assert_eq!(distinct, ["fetching", "training", "uploading"]);
    }

    #[tokio::test]
    async fn a_full_outbox_holds_nobody_up() {
        let (watcher, mut reports, _) = watcher(1);
        watcher.report(Progress::of(Stage::Fetching, 0.0));
        watcher.report(Progress { loss: Some(f64::NAN), ..Progress::of(Stage::Training, f64::INFINITY) });
        assert_eq!(stages(&mut reports), ["fetching"]);
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_assignment() {
        let (watcher, _reports, cancel) = watcher(1);
        let waiting =
            std::thread::spawn(move || (watcher.wait(Duration::ZERO), watcher.wait(Duration::from_secs(600))));
        cancel.cancel();
        let (_, long) = tokio::task::spawn_blocking(|| waiting.join().unwrap()).await.unwrap();
        assert!(matches!(long, Err(TrainerError::Cancelled)));
    }
}
