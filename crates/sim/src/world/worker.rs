//! A worker: it dials one coordinator after the other until it is welcome, trains what it is assigned, and keeps a
//! finished report until it is answered. A crash costs it what it had in memory, or everything but its name.

use std::collections::BTreeMap;

use polder_core::effect::Assignment;
use polder_core::round::{Evaluation, Task, UpdateReceipt};
use polder_core::{AssignmentId, WorkerName};

use super::World;
use super::network::Way;
use super::streams::capacity;
use crate::digests::update_digest;
use crate::message::{At, Down, Happening, STORAGE_FULL, Step, Stream, Up, Who};

pub(super) struct Worker {
    pub(super) name: WorkerName,
    pub(super) region: usize,
    pub(super) slots: u32,
    pub(super) is_up: bool,
    /// Which life this is: what was due in an earlier one no longer counts.
    pub(super) boot: u64,
    pub(super) link: Link,
    /// The coordinator that it dials, and calls.
    pub(super) endpoint: Who,
    /// Attempts to open a stream, over all lives.
    dials: u64,
    work: BTreeMap<AssignmentId, Work>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Link {
    Closed,
    Dialing { dial: u64 },
    Open { stream: Stream },
}

struct Work {
    assignment: Box<Assignment>,
    /// What is to be sent until it is answered, once training is done.
    report: Option<Up>,
}

const DIAL_TIMEOUT_MS: u64 = 300;
const RESEND_MS: u64 = 250;

impl Worker {
    pub(super) fn new(name: WorkerName, region: usize, slots: u64) -> Self {
        Self {
            name,
            region,
            slots: u32::try_from(slots).unwrap_or(1),
            is_up: false,
            boot: 0,
            link: Link::Closed,
            endpoint: 0,
            dials: 0,
            work: BTreeMap::new(),
        }
    }

    pub(super) fn is_at_work_on(&self, assignment: &AssignmentId) -> bool {
        self.work.contains_key(assignment)
    }

    /// Something it is asked to train, if there is something.
    pub(super) fn training(&self) -> Option<&AssignmentId> {
        self.work.iter().find(|(_, work)| work.assignment.task == Task::Train).map(|(id, _)| id)
    }

    pub(super) fn stream(&self) -> Option<Stream> {
        match self.link {
            Link::Open { stream } => Some(stream),
            _ => None,
        }
    }
}

impl World {
    pub(super) fn start_worker(&mut self, at: At) {
        let worker = &mut self.workers[at];
        worker.is_up = true;
        worker.boot += 1;
        worker.link = Link::Closed;
        let boot = worker.boot;
        let kept: Vec<_> = worker.work.iter().map(|(id, work)| (id.clone(), work.report.is_some())).collect();
        self.note(format!("{} starts with {} assignments", self.workers[at].name, kept.len()));
        for (assignment, is_finished) in kept {
            self.counts.updates_kept += u64::from(is_finished);
            let ms = self.dice.between(10, 400);
            let again = Happening::Resend { worker: at, boot, assignment: assignment.clone() };
            let go_on = Happening::TrainingDone { worker: at, boot, assignment };
            self.after(ms, if is_finished { again } else { go_on });
        }
        self.after(0, Happening::Dial { worker: at, boot });
    }

    fn lives(&self, at: At, boot: u64) -> bool {
        self.workers[at].is_up && self.workers[at].boot == boot
    }

    pub(super) fn dial(&mut self, at: At, boot: u64) {
        if !self.lives(at, boot) || self.workers[at].stream().is_some() {
            return;
        }
        if self.workers[at].link != Link::Closed || self.dice.chance(0.2) {
            self.workers[at].endpoint = self.dice.index(self.coordinators.len());
        }
        let worker = &mut self.workers[at];
        worker.dials += 1;
        let dial = worker.dials;
        worker.link = Link::Dialing { dial };
        let (via, slots) = (worker.endpoint, worker.slots);
        let mut hello = Up::Hello { dial, capacity: capacity(slots), holding: worker.work.keys().cloned().collect() };
        if self.dice.chance(self.faults.false_claim) {
            self.claim_falsely(at, &mut hello);
        }
        self.send_up(at, via, None, &hello);
        let ms = DIAL_TIMEOUT_MS + self.dice.between(0, 100);
        self.after(ms, Happening::Dial { worker: at, boot });
    }

    pub(super) fn link_gone(&mut self, at: At, boot: u64, stream: Stream) {
        if self.lives(at, boot) && self.workers[at].link == (Link::Open { stream }) {
            self.note(format!("{} notices that its stream {} is gone", self.workers[at].name, stream.session));
            self.workers[at].link = Link::Closed;
            let ms = self.dice.between(10, 200);
            self.after(ms, Happening::Dial { worker: at, boot });
        }
    }

    pub(super) fn worker_hears(&mut self, at: At, via: Who, stream: Option<Stream>, message: Down) {
        if !self.workers[at].is_up || self.is_cut_off(at, Way::Down) || !self.coordinators[via].is_up {
            return;
        }
        let until = self.coordinators[via].paused_until;
        if self.now < until && stream.is_some_and(|stream| self.coordinators[via].epoch() != Some(stream.epoch)) {
            return self.queue.push(until, Happening::ToWorker { to: at, via, stream, message });
        }
        let is_open = stream.is_some() && self.workers[at].stream() == stream;
        match message {
            Down::Welcome { dial, stream } => {
                // A stream that broke before it was open opens for nobody: the worker dials again. One that it waits for
                // no longer, it closes.
                let is_there = self.is_there(at, stream);
                if is_there && self.workers[at].link == (Link::Dialing { dial }) {
                    self.workers[at].link = Link::Open { stream };
                } else if is_there && self.workers[at].stream() != Some(stream) {
                    self.close_stream(at, stream);
                }
            }
            Down::Assign(assignment) if is_open => self.take_on(at, assignment),
            Down::Cancel { assignment } if is_open => {
                self.workers[at].work.remove(&assignment);
            }
            Down::Answer { refused: Some(STORAGE_FULL), .. } => {}
            Down::Answer { assignment, refused } => {
                if let Some(code) = refused {
                    self.note(format!("{} drops {assignment}: {code}", self.workers[at].name));
                }
                self.workers[at].work.remove(&assignment);
            }
            Down::Assign(_) | Down::Cancel { .. } => {}
        }
    }

    /// The leader's end of it notices.
    fn close_stream(&mut self, at: At, stream: Stream) {
        let Stream { epoch, session, .. } = stream;
        let leader = (0..self.coordinators.len()).find(|who| self.coordinators[*who].epoch() == Some(epoch));
        if let Some(who) = leader {
            let ms = self.dice.between(1, 50);
            self.step(who, ms, Step::StreamGone { epoch, worker: at, session });
        }
    }

    fn take_on(&mut self, at: At, assignment: Box<Assignment>) {
        let id = assignment.id.clone();
        let Some(stream) = self.workers[at].stream() else { return };
        if !self.workers[at].work.contains_key(&id) {
            if self.dice.chance(self.faults.decline) {
                self.strike("decline");
                self.note(format!("{} declines {id}", self.workers[at].name));
                self.send_up(at, stream.via, Some(stream), &Up::Declined { assignment: id });
                return;
            }
            let is_slow = self.dice.chance(self.faults.slow);
            if is_slow {
                self.strike("slow");
            }
            let ms = if is_slow { self.dice.between(1_000, 6_000) } else { self.dice.between(20, 400) };
            let boot = self.workers[at].boot;
            self.after(ms, Happening::TrainingDone { worker: at, boot, assignment: id.clone() });
            self.workers[at].work.insert(id.clone(), Work { assignment, report: None });
        }
        self.send_up(at, stream.via, Some(stream), &Up::Accepted { assignment: id });
    }

    pub(super) fn training_done(&mut self, at: At, boot: u64, id: &AssignmentId) {
        if !self.lives(at, boot) || !self.workers[at].work.contains_key(id) {
            return;
        }
        if self.dice.chance(self.faults.fail) {
            self.strike("failed-training");
            self.note(format!("{} fails {id}", self.workers[at].name));
            self.workers[at].work.remove(id);
            if let Some(stream) = self.workers[at].stream() {
                self.send_up(at, stream.via, Some(stream), &Up::Failed { assignment: id.clone() });
            }
            return;
        }
        if let Some(work) = self.workers[at].work.get_mut(id) {
            work.report.get_or_insert_with(|| report(&work.assignment));
        }
        self.resend(at, boot, id);
    }

    /// Sends a finished report, again and again until it is answered or no longer wanted.
    pub(super) fn resend(&mut self, at: At, boot: u64, id: &AssignmentId) {
        if !self.lives(at, boot) {
            return;
        }
        let Some(report) = self.workers[at].work.get(id).and_then(|work| work.report.clone()) else { return };
        let via = self.workers[at].endpoint;
        self.send_up(at, via, None, &report);
        let ms = RESEND_MS + self.dice.between(0, 100);
        self.after(ms, Happening::Resend { worker: at, boot, assignment: id.clone() });
    }

    /// What it finished is on its disk, and so are checkpoints of what it had begun, unless it is `wiped`.
    pub(super) fn stop_worker(&mut self, at: At, is_wiped: bool) {
        let worker = &mut self.workers[at];
        worker.is_up = false;
        worker.link = Link::Closed;
        if is_wiped {
            worker.work.clear();
        }
    }
}

/// What training gives; it depends on nothing but what was asked.
fn report(assignment: &Assignment) -> Up {
    let Assignment { id, task, model, model_version, holdout, .. } = assignment;
    let evaluation = Evaluation {
        examples: 20,
        loss: 0.5,
        accuracy: 1.0 - 0.5_f64.powi(i32::try_from(*model_version).unwrap_or(1)),
    };
    match task {
        Task::Evaluate => Up::Evaluated { assignment: id.clone(), evaluation },
        Task::Train => {
            let update = update_digest(&id.worker, id.round, model);
            let receipt = UpdateReceipt {
                loss: Some(0.25),
                evaluation: (*holdout > 0.0).then_some(evaluation),
                ..UpdateReceipt::new(update, 400, 100)
            };
            Up::Update { assignment: id.clone(), receipt }
        }
    }
}
