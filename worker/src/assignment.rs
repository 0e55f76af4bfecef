//! A worker's side of a round: what it was asked to do, from the question to the coordinator's receipt.
//!
//! ```text
//! offer ─► declined
//!   └────► accepted ─► fetch ─► train ─► released, treated once, uploaded until acknowledged ─► done
//!                       │         ├────► withheld by the release policy: declined, kept until it was heard ─► done
//!                       │         └────► evaluation or failure, kept until it was heard ─► done
//!                       └ cancelled, or the deadline passed: dropped
//! ```
//!
//! Assignments do not belong to a session: they go on while the coordinator is away, and what they made is handed over
//! when it is back. Nor do they belong to a worker's life: [`crate::kept`] has what the next one goes on with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polder_core::effect::Assignment;
use polder_core::{AssignmentId, Region, WorkerName};
use polder_proto::convert;
use polder_proto::v1;
use polder_proto::v1::worker_message::Message;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::allow_list::AllowList;
use crate::correction::Corrections;
use crate::datasets::DataSets;
use crate::kept::{Kept, Left};
use crate::link::Link;
use crate::model::Models;
use crate::outbound;
use crate::release::ReleaseGuard;
use crate::trainer::Trainers;

mod admission;
mod produce;
mod train;
mod update;
mod upload;
mod work;

use admission::summary;
use produce::Made;
use work::Job;

/// Assignments held beyond twice the slots. An assignment may come before the receipt of the last one has, and then
/// waits for its slot; a coordinator that sends many more than there are slots is turned away.
const HELD_EXTRA: usize = 8;
/// Reports kept for a coordinator that has not heard them; the oldest goes first. All of them fit the stream's outbox
/// at once, as they must when there is a new stream.
pub(crate) const REPORTS_MAX: usize = 128;

/// Trainers that may hang at once; one more, and the worker ends so that whoever watches over it starts another.
const HANGING_MAX: u32 = 4;

/// What assignments work with.
pub(crate) struct Equipment {
    pub(crate) worker: WorkerName,
    pub(crate) region: Region,
    pub(crate) slots: u32,
    pub(crate) model_bytes_max: u64,
    pub(crate) allow_list: AllowList,
    pub(crate) release: ReleaseGuard,
    pub(crate) corrections: Corrections,
    pub(crate) datasets: DataSets,
    pub(crate) trainers: Trainers,
    pub(crate) link: Link,
    pub(crate) kept: Arc<Kept>,
    pub(crate) checkpoint_every: Duration,
    pub(crate) trainer_silence: Duration,
    pub(crate) shares_trainer_output: bool,
    /// Where progress goes; what finds no room is dropped.
    pub(crate) progress: mpsc::Sender<Message>,
}

/// All assignments of this worker. A cheap handle.
#[derive(Clone)]
pub(crate) struct Assignments(Arc<Shared>);

struct Shared {
    equipment: Equipment,
    models: Models,
    /// Taken by those that fetch and train; those that upload do without.
    slots: Arc<Semaphore>,
    held: Mutex<Held>,
    /// Something waits to be reported.
    reports: Notify,
    tasks: TaskTracker,
    /// The worker stops: what is kept stays for the next one.
    stopping: CancellationToken,
    /// Threads of trainers that hang.
    left_behind: AtomicU32,
    /// There are too many of them.
    overrun: CancellationToken,
}

#[derive(Debug, Default)]
struct Held {
    assignments: BTreeMap<AssignmentId, Entry>,
    /// Tells an entry from an earlier one of the same name.
    serial: u64,
    /// Reports made so far.
    reports: u64,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    cancel: CancellationToken,
    /// How it ended, until the coordinator has heard it.
    report: Option<Report>,
}

#[derive(Debug)]
struct Report {
    message: Message,
    /// How many were made before it.
    age: u64,
    /// Whether it is on the stream that is open now.
    is_sent: bool,
}

/// Names a report, to say that it was heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReportId {
    assignment: AssignmentId,
    serial: u64,
}

#[cfg(test)]
impl ReportId {
    pub(crate) fn for_test(serial: u64) -> Self {
        let run = polder_core::RunId::new("r").unwrap();
        Self { assignment: AssignmentId { run, round: 1, worker: WorkerName::new("w").unwrap() }, serial }
    }
}

/// How an assignment ended.
enum Ended {
    /// The coordinator must be told.
    Report(Message),
    /// Nothing is left to say.
    Done,
}

impl Assignments {
    pub(crate) fn new(equipment: Equipment) -> Self {
        let slots = Arc::new(Semaphore::new(equipment.slots as usize));
        let models = Models::new(equipment.slots);
        Self(Arc::new(Shared {
            equipment,
            models,
            slots,
            held: Mutex::default(),
            reports: Notify::new(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            left_behind: AtomicU32::new(0),
            overrun: CancellationToken::new(),
        }))
    }

    /// Goes on with what an earlier worker left, as far as this one would take it on. Must be called before there is a session,
    /// so that the coordinator hears that it is held.
    pub(crate) fn go_on(&self, left: Left) {
        for kept in left.updates {
            let assignment = kept.assignment.clone();
            if let Err(reason) = self.0.check_update(&kept).and_then(|()| self.0.check(&assignment)) {
                self.0.drop_left(&assignment, &reason);
                continue;
            }
            let (run, round) = (&assignment.id.run, assignment.id.round);
            tracing::info!(%run, round, "an update that was made before is sent");
            self.start(assignment, Some(Made::earlier(kept)));
        }
        for assignment in left.unfinished {
            let is_held = self.0.lock().assignments.contains_key(&assignment.id);
            match self.0.check(&assignment) {
                _ if is_held => {}
                Ok(()) => {
                    let (run, round) = (&assignment.id.run, assignment.id.round);
                    tracing::info!(%run, round, "training that was interrupted goes on");
                    self.start(assignment, None);
                }
                Err(reason) => self.0.drop_left(&assignment, &reason),
            }
        }
    }

    /// Waits until so many trainers hang that only a new process can be rid of them.
    pub(crate) async fn overrun(&self) {
        self.0.overrun.cancelled().await;
    }

    /// Everything that is not over: at work, or finished and not yet handed over.
    pub(crate) fn holding(&self) -> Vec<AssignmentId> {
        self.0.lock().assignments.keys().cloned().collect()
    }

    /// Takes an assignment and says what to answer; nothing for one that is held already or that names nobody.
    pub(crate) fn offer(&self, wire: v1::Assignment) -> Option<Message> {
        let worker = &self.0.equipment.worker;
        let id = match convert::assignment_id(wire.assignment.clone(), worker) {
            Ok(id) => id,
            Err(malformed) => {
                tracing::warn!("an assignment that cannot be read was dropped: {malformed}");
                return None;
            }
        };
        if self.0.lock().assignments.contains_key(&id) {
            tracing::debug!(run = %id.run, round = id.round, "the assignment is held already");
            return None;
        }
        match self.0.read(wire).and_then(|assignment| self.0.check(&assignment).map(|()| assignment)) {
            Ok(assignment) => {
                tracing::info!(run = %id.run, round = id.round, "assignment accepted: {}", summary(&assignment));
                self.start(assignment, None);
                Some(outbound::accepted(&id))
            }
            Err(reason) => {
                tracing::warn!(run = %id.run, round = id.round, "assignment declined: {reason}");
                Some(outbound::declined(&id, &reason))
            }
        }
    }

    fn start(&self, assignment: Assignment, made: Option<Made>) {
        let shared = self.0.clone();
        let id = assignment.id.clone();
        let cancel = CancellationToken::new();
        let serial = {
            let mut held = shared.lock();
            held.serial += 1;
            let serial = held.serial;
            held.assignments.insert(id.clone(), Entry { serial, cancel: cancel.clone(), report: None });
            serial
        };
        let span = tracing::info_span!("assignment", run = %id.run, round = id.round);
        let place = shared.equipment.kept.place(&assignment);
        let task = async move {
            // Whoever asks to stop, the trainer's thread hears of it: also when the deadline does.
            let _stop = cancel.clone().drop_guard();
            let job = Job { assignment, place: place.clone(), cancel };
            let ended = work::carry_out(&shared, &job, made).await;
            let stays = shared.stopping.is_cancelled() && matches!(ended, Ended::Done);
            // First, so that what is not held any more is not on disk either. It cannot fail but by a panic.
            let _ = tokio::task::spawn_blocking(move || if stays { place.leave() } else { place.clear() }).await;
            shared.end(&id, serial, ended);
        };
        self.0.tasks.spawn(task.instrument(span));
    }

    /// The coordinator wants an assignment no more.
    pub(crate) fn cancel(&self, wire: v1::Cancel) {
        let Ok(id) = convert::assignment_id(wire.assignment, &self.0.equipment.worker) else { return };
        if let Some(entry) = self.0.lock().assignments.remove(&id) {
            let reason = polder_core::policy::tidy_reason(&wire.reason);
            tracing::info!(run = %id.run, round = id.round, "assignment cancelled: {reason}");
            entry.cancel.cancel();
        }
    }

    /// Waits until there may be [`reports`](Self::reports).
    pub(crate) async fn reported(&self) {
        self.0.reports.notified().await;
    }

    /// How assignments ended, of those that are not on the stream yet. They are held until they were
    /// [`heard`](Self::heard).
    pub(crate) fn reports(&self) -> Vec<(ReportId, Message)> {
        let mut held = self.0.lock();
        let unsent = held.assignments.iter_mut().filter_map(|(assignment, entry)| {
            let report = entry.report.as_mut().filter(|report| !report.is_sent)?;
            report.is_sent = true;
            let id = ReportId { assignment: assignment.clone(), serial: entry.serial };
            Some((id, report.message.clone()))
        });
        unsent.collect()
    }

    /// The coordinator has heard how this one ended.
    pub(crate) fn heard(&self, report: &ReportId) {
        self.0.end(&report.assignment, report.serial, Ended::Done);
    }

    /// There is a new stream: what was said on the last one and may not have been heard is said again.
    pub(crate) fn reconnected(&self) {
        for entry in self.0.lock().assignments.values_mut() {
            if let Some(report) = &mut entry.report {
                report.is_sent = false;
            }
        }
        self.0.reports.notify_one();
    }

    /// Cancels everything and waits for it to end, but not longer than `limit`.
    pub(crate) async fn stop(&self, limit: Duration) {
        self.0.stopping.cancel();
        for entry in self.0.lock().assignments.values() {
            entry.cancel.cancel();
        }
        self.0.tasks.close();
        let trainers_stopped = self.0.slots.acquire_many(self.0.equipment.slots);
        let stopped = async { tokio::join!(self.0.tasks.wait(), trainers_stopped) };
        if tokio::time::timeout(limit, stopped).await.is_err() {
            tracing::warn!("a trainer did not stop within {} ms and is left behind", limit.as_millis());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread of a trainer hangs and will not end.
    fn leave_behind(&self) {
        let left_behind = self.left_behind.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::error!("a trainer hangs and its thread is left behind; there are {left_behind} of them now");
        if left_behind >= HANGING_MAX {
            self.overrun.cancel();
        }
    }

    /// Settles an assignment, unless it was cancelled: then it is forgotten already, and its name may be taken again.
    fn end(&self, id: &AssignmentId, serial: u64, ended: Ended) {
        let mut held = self.lock();
        let age = held.reports;
        let Some(entry) = held.assignments.get_mut(id).filter(|entry| entry.serial == serial) else { return };
        match ended {
            Ended::Report(message) => {
                entry.report = Some(Report { message, age, is_sent: false });
                held.reports += 1;
                let dropped = held.drop_surplus();
                drop(held);
                if let Some(id) = dropped {
                    tracing::warn!(
                        run = %id.run,
                        round = id.round,
                        "the coordinator has not heard {REPORTS_MAX} reports; the oldest is dropped"
                    );
                }
                self.reports.notify_one();
            }
            Ended::Done => {
                held.assignments.remove(id);
            }
        }
    }
}

impl Held {
    /// Forgets the oldest report if there are more than [`REPORTS_MAX`]: a coordinator that never says that it heard
    /// them must not fill the memory.
    fn drop_surplus(&mut self) -> Option<AssignmentId> {
        let reports = || self.assignments.iter().filter_map(|(id, entry)| Some((id, entry.report.as_ref()?.age)));
        if reports().count() <= REPORTS_MAX {
            return None;
        }
        let (oldest, _) = reports().min_by_key(|(_, age)| *age)?;
        let oldest = oldest.clone();
        self.assignments.remove(&oldest);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(round: u32) -> AssignmentId {
        AssignmentId { run: polder_core::RunId::new("r").unwrap(), round, worker: WorkerName::new("w").unwrap() }
    }

    #[test]
    fn reports_that_nobody_hears_are_bounded_and_the_oldest_goes_first() {
        let mut held = Held::default();
        // The later the round, the older: age is the order of coming, not of names.
        let rounds = 1..=u32::try_from(REPORTS_MAX).unwrap() + 1;
        for (age, round) in (0..).zip(rounds.clone().rev()) {
            let report = Some(Report { message: outbound::failed(&id(round), "no"), age, is_sent: false });
            held.assignments.insert(id(round), Entry { serial: 0, cancel: CancellationToken::new(), report });
        }
        let at_work = Entry { serial: 0, cancel: CancellationToken::new(), report: None };
        held.assignments.insert(id(1000), at_work);
        assert_eq!(held.drop_surplus(), Some(id(*rounds.end())));
        assert_eq!(held.drop_surplus(), None);
        assert_eq!(held.assignments.len(), REPORTS_MAX + 1);
        assert!(held.assignments.contains_key(&id(1000)));
    }
}
