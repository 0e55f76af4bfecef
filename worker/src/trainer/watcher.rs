//! A trainer's view of the world outside: it may say how far it is, and must ask whether to go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use polder_core::AssignmentId;
use polder_proto::convert::assignment_id_to_wire;
use polder_proto::v1;
use polder_proto::v1::worker_message::Message;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Throttle, TrainerError};

/// Five reports a second and assignment are enough for anybody who watches.
const EVERY: Duration = Duration::from_millis(200);

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

/// Takes progress of one assignment and knows whether it is still wanted. Neither ever blocks.
#[derive(Clone, Debug)]
pub struct Watcher {
    assignment: v1::AssignmentId,
    cancel: CancellationToken,
    outbox: mpsc::Sender<Message>,
    said: Arc<Mutex<(Option<Stage>, Throttle)>>,
    runtime: Handle,
}

impl Watcher {
    /// A watcher of `assignment`, made within a tokio runtime. Reports go to `outbox` and are dropped while it is full.
    #[must_use]
    pub fn new(assignment: &AssignmentId, cancel: CancellationToken, outbox: mpsc::Sender<Message>) -> Self {
        Self {
            assignment: assignment_id_to_wire(assignment),
            cancel,
            outbox,
            said: Arc::new(Mutex::new((None, Throttle::new(EVERY)))),
            runtime: Handle::current(),
        }
    }

    /// Says how far the assignment is. A new stage is always told, of the rest what the limit lets through.
    pub fn report(&self, progress: Progress) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = said.0 != Some(progress.stage);
        let is_due = said.1.lets_through(Instant::now());
        if !is_new && !is_due {
            return;
        }
        said.0 = Some(progress.stage);
        drop(said);
        let Progress { stage, epoch, epochs, fraction, loss } = progress;
        let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        let loss = loss.filter(|loss| loss.is_finite());
        let (assignment, stage) = (Some(self.assignment.clone()), stage.word().to_owned());
        // Progress is for people watching: what nobody has room for is not worth waiting for.
        let _ =
            self.outbox.try_send(Message::Progress(v1::Progress { assignment, stage, epoch, epochs, fraction, loss }));
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Blocks for `time`, or less if the assignment is cancelled meanwhile. Not for async code.
    pub fn wait(&self, time: Duration) -> Result<(), TrainerError> {
        let cancelled = self.cancel.cancelled();
        match self.runtime.block_on(async { tokio::time::timeout(time, cancelled).await }) {
            Ok(()) => Err(TrainerError::Cancelled),
            Err(_) => Ok(()),
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
