//! A worker: it dials until it is welcome, trains what it is assigned, and keeps a finished report until it is answered.
//! A crash costs it everything but its name.

use std::collections::BTreeMap;

use polder_core::effect::Assignment;
use polder_core::round::{Evaluation, Task, UpdateReceipt};
use polder_core::{AssignmentId, WorkerName};

use super::World;
use super::setup::name;
use crate::digests::update_digest;
use crate::message::{At, Down, Happening, Up};

pub(super) struct Worker {
    pub(super) name: WorkerName,
    pub(super) region: usize,
    pub(super) slots: u32,
    pub(super) is_up: bool,
    /// Which life this is: what was due in an earlier one no longer counts.
    pub(super) boot: u64,
    pub(super) link: Link,
    /// Attempts to open a stream, over all lives.
    dials: u64,
    work: BTreeMap<AssignmentId, Work>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Link {
    Closed,
    Dialing { dial: u64 },
    Open { session: u64 },
}

struct Work {
    assignment: Box<Assignment>,
    /// What is to be sent until it is answered, once training is done.
    report: Option<Up>,
}

const DIAL_TIMEOUT_MS: u64 = 300;
const RESEND_MS: u64 = 250;

impl Worker {
    pub(super) fn new(at: At, region: usize, slots: u64) -> Self {
        Self {
            name: name(WorkerName::new(format!("worker-{at}"))),
            region,
            slots: u32::try_from(slots).unwrap_or(1),
            is_up: false,
            boot: 0,
            link: Link::Closed,
            dials: 0,
            work: BTreeMap::new(),
        }
    }

    pub(super) fn is_at_work_on(&self, assignment: &AssignmentId) -> bool {
        self.work.contains_key(assignment)
    }

    fn session(&self) -> Option<u64> {
        match self.link {
            Link::Open { session } => Some(session),
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
        worker.work.clear();
        let boot = worker.boot;
        self.note(format!("worker-{at} starts"));
        self.after(0, Happening::Dial { worker: at, boot });
    }

    fn lives(&self, at: At, boot: u64) -> bool {
        self.workers[at].is_up && self.workers[at].boot == boot
    }

    pub(super) fn dial(&mut self, at: At, boot: u64) {
        if !self.lives(at, boot) || self.workers[at].session().is_some() {
            return;
        }
        let worker = &mut self.workers[at];
        worker.dials += 1;
        let dial = worker.dials;
        worker.link = Link::Dialing { dial };
        let hello = Up::Hello { dial, slots: worker.slots, holding: worker.work.keys().cloned().collect() };
        self.send_up(at, 0, &hello);
        let ms = DIAL_TIMEOUT_MS + self.dice.between(0, 100);
        self.after(ms, Happening::Dial { worker: at, boot });
    }

    pub(super) fn link_gone(&mut self, at: At, boot: u64, session: u64) {
        if self.lives(at, boot) && self.workers[at].link == (Link::Open { session }) {
            self.note(format!("worker-{at} notices that its stream {session} is gone"));
            self.workers[at].link = Link::Closed;
            let ms = self.dice.between(10, 200);
            self.after(ms, Happening::Dial { worker: at, boot });
        }
    }

    pub(super) fn worker_hears(&mut self, at: At, session: u64, message: Down) {
        if !self.workers[at].is_up || self.is_cut_off(at) {
            return;
        }
        match message {
            Down::Welcome { dial, session } => {
                // A stream that broke before it was open opens for nobody: the worker dials again.
                let is_there = self.coordinator.sessions.get(&at) == Some(&session);
                if is_there && self.workers[at].link == (Link::Dialing { dial }) {
                    self.workers[at].link = Link::Open { session };
                }
            }
            Down::Assign(assignment) if self.workers[at].session() == Some(session) => self.take_on(at, assignment),
            Down::Cancel { assignment } if self.workers[at].session() == Some(session) => {
                self.workers[at].work.remove(&assignment);
            }
            Down::Answer { assignment, refused } => {
                if let Some(code) = refused {
                    self.note(format!("worker-{at} drops {assignment}: {code}"));
                }
                self.workers[at].work.remove(&assignment);
            }
            Down::Assign(_) | Down::Cancel { .. } => {}
        }
    }

    fn take_on(&mut self, at: At, assignment: Box<Assignment>) {
        let id = assignment.id.clone();
        let Some(session) = self.workers[at].session() else { return };
        if !self.workers[at].work.contains_key(&id) {
            if self.dice.chance(self.faults.decline) {
                self.note(format!("worker-{at} declines {id}"));
                self.send_up(at, session, &Up::Declined { assignment: id });
                return;
            }
            let is_slow = self.dice.chance(self.faults.slow);
            let ms = if is_slow { self.dice.between(1_000, 6_000) } else { self.dice.between(20, 400) };
            let boot = self.workers[at].boot;
            self.after(ms, Happening::TrainingDone { worker: at, boot, assignment: id.clone() });
            self.workers[at].work.insert(id.clone(), Work { assignment, report: None });
        }
        self.send_up(at, session, &Up::Accepted { assignment: id });
    }

    pub(super) fn training_done(&mut self, at: At, boot: u64, id: &AssignmentId) {
        if !self.lives(at, boot) || !self.workers[at].work.contains_key(id) {
            return;
        }
        if self.dice.chance(self.faults.fail) {
            self.note(format!("worker-{at} fails {id}"));
            self.workers[at].work.remove(id);
            if let Some(session) = self.workers[at].session() {
                self.send_up(at, session, &Up::Failed { assignment: id.clone() });
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
        self.send_up(at, 0, &report);
        let ms = RESEND_MS + self.dice.between(0, 100);
        self.after(ms, Happening::Resend { worker: at, boot, assignment: id.clone() });
    }

    pub(super) fn stop_worker(&mut self, at: At) {
        let worker = &mut self.workers[at];
        worker.is_up = false;
        worker.link = Link::Closed;
        worker.work.clear();
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
