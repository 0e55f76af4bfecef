//! The coordinator: a federation, a journal, and the driver's discipline. Everything in the inbox is applied, then
//! appended as one, then acted upon, then answered; a crash may come at any of these points. What survives a crash is
//! the journal, the spool and the models, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use polder_core::invariants::Violation;
use polder_core::worker::Capacity;
use polder_core::{AssignmentId, Digest, Effect, Event, Federation, RunId, Timestamp};

use super::World;
use crate::digests::update_digest;
use crate::message::{Asker, At, Down, Happening, Request, Up};

#[derive(Default)]
pub(super) struct Coordinator {
    pub(super) is_up: bool,
    pub(super) boot: u64,
    pub(super) federation: Federation,
    /// Open streams, and the number of the next one; sessions count anew in every life.
    pub(super) sessions: BTreeMap<At, u64>,
    sessions_opened: u64,
    inbox: Vec<Request>,
    is_turn_due: bool,
    wake: Option<Timestamp>,
    /// Durable: instants and events, as JSON.
    journal: Vec<(Timestamp, String)>,
    /// Durable: updates that were uploaded.
    pub(super) spool: BTreeSet<(AssignmentId, Digest)>,
    /// Durable: models and state tensors that aggregation stored.
    pub(super) models: BTreeSet<Digest>,
    /// What the journal must give again after a crash.
    expected: Option<Federation>,
    /// Runs in which an update counted that its worker never trained.
    pub(super) lied_to: BTreeSet<RunId>,
}

/// What one turn has gathered.
#[derive(Default)]
struct Batch {
    taken: Vec<(Event, String, Vec<Effect>)>,
    answers: Vec<(Asker, Option<&'static str>)>,
}

/// Where in a turn the process dies.
#[derive(Clone, Copy, Debug)]
enum Crash {
    BeforeAppend,
    /// After this many effects.
    AfterAppend(usize),
}

impl Coordinator {
    /// Puts an event into the journal before the story begins.
    pub(super) fn write_before(&mut self, event: &Event) {
        self.journal.push((Timestamp(0), json(event)));
    }
}

fn json(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_else(|error| unreachable!("an event that cannot be written: {error}"))
}

impl World {
    pub(super) fn start_coordinator(&mut self) -> Result<(), Violation> {
        let coordinator = &mut self.coordinator;
        let mut federation = Federation::new();
        for (at, text) in &coordinator.journal {
            let replayed = serde_json::from_str(text).map_err(|error| error.to_string());
            let applied = replayed.and_then(|event| federation.apply(*at, event).map_err(|error| error.to_string()));
            applied.map_err(|found| Violation { invariant: "every journal entry is accepted again", found })?;
        }
        if coordinator.expected.take().is_some_and(|expected| expected != federation) {
            let found = format!("after {} entries", coordinator.journal.len());
            return Err(Violation { invariant: "the journal gives the same federation again", found });
        }
        coordinator.federation = federation;
        coordinator.is_up = true;
        coordinator.boot += 1;
        self.note(format!("the coordinator starts, {} entries replayed", self.coordinator.journal.len()));
        self.history.restarted(&self.coordinator.federation)?;
        let grace_ms = self.grace_ms;
        self.coordinator.inbox.push(Request { event: Event::CoordinatorStarted { grace_ms }, asker: None });
        self.turn(self.coordinator.boot)
    }

    /// Something comes into the coordinator's inbox, if there is a coordinator.
    pub(super) fn tell(&mut self, event: Event) {
        self.request(Request { event, asker: None });
    }

    fn request(&mut self, request: Request) {
        if !self.coordinator.is_up {
            return;
        }
        self.coordinator.inbox.push(request);
        if !self.coordinator.is_turn_due {
            self.coordinator.is_turn_due = true;
            let ms = self.dice.between(0, 3);
            self.after(ms, Happening::Turn { boot: self.coordinator.boot });
        }
    }

    pub(super) fn hear(&mut self, from: At, session: u64, message: Up) {
        if !self.coordinator.is_up || self.is_cut_off(from) {
            return;
        }
        let is_call = matches!(message, Up::Hello { .. } | Up::Update { .. } | Up::Evaluated { .. });
        if !is_call && self.coordinator.sessions.get(&from) != Some(&session) {
            return;
        }
        match message {
            Up::Hello { dial, slots, holding } => self.welcome(from, dial, slots, holding),
            Up::Accepted { assignment } => self.tell(Event::AssignmentAccepted { assignment }),
            Up::Declined { assignment } => {
                self.tell(Event::AssignmentDeclined { assignment, reason: "the region would not".into() });
            }
            Up::Failed { assignment } => {
                self.tell(Event::AssignmentFailed { assignment, reason: "out of memory".into() });
            }
            Up::Update { assignment, receipt } => {
                // A careless shell: it asks nobody before it spools, so that every refusal is the core's own.
                self.coordinator.spool.insert((assignment.clone(), receipt.update));
                let asker = Asker { worker: from, assignment: assignment.clone(), update: Some(receipt.update) };
                self.request(Request { event: Event::UpdateReceived { assignment, receipt }, asker: Some(asker) });
            }
            Up::Evaluated { assignment, evaluation } => {
                let asker = Asker { worker: from, assignment: assignment.clone(), update: None };
                let event = Event::EvaluationReceived { assignment, evaluation };
                self.request(Request { event, asker: Some(asker) });
            }
        }
    }

    fn welcome(&mut self, from: At, dial: u64, slots: u32, holding: Vec<AssignmentId>) {
        self.coordinator.sessions_opened += 1;
        let session = self.coordinator.sessions_opened;
        if let Some(old) = self.coordinator.sessions.insert(from, session) {
            let boot = self.coordinator.boot;
            self.after(5, Happening::StreamGone { boot, worker: from, session: old });
        }
        self.send_down(from, session, &Down::Welcome { dial, session });
        let capacity =
            Capacity { slots, datasets: BTreeSet::from(["digits".into()]), trainers: BTreeSet::from(["mlp".into()]) };
        let worker = self.workers[from].name.clone();
        self.tell(Event::WorkerConnected { worker, session, capacity, holding });
    }

    pub(super) fn stream_gone(&mut self, boot: u64, worker: At, session: u64) {
        if boot != self.coordinator.boot {
            return;
        }
        if self.coordinator.sessions.get(&worker) == Some(&session) {
            self.coordinator.sessions.remove(&worker);
            // The other end notices too, if it has not yet.
            let (boot, ms) = (self.workers[worker].boot, self.dice.between(5, 1_000));
            self.after(ms, Happening::LinkGone { worker, boot, session });
        }
        let name = self.workers[worker].name.clone();
        let grace_ms = self.grace_ms;
        let reason = "its stream broke".into();
        self.tell(Event::WorkerDisconnected { worker: name, session, grace_ms, reason });
    }

    pub(super) fn answered(&mut self, boot: u64, event: Event) {
        if boot == self.coordinator.boot {
            self.tell(event);
        }
    }

    pub(super) fn wake(&mut self, boot: u64) {
        let is_due = self.coordinator.federation.next_wake().is_some_and(|wake| wake <= self.now);
        if boot == self.coordinator.boot && is_due {
            self.tell(Event::TimePassed);
        }
    }

    /// Apply, append, act, answer.
    pub(super) fn turn(&mut self, boot: u64) -> Result<(), Violation> {
        if boot != self.coordinator.boot || !self.coordinator.is_up {
            return Ok(());
        }
        self.coordinator.is_turn_due = false;
        let crash = self.dice.chance(self.faults.coordinator_crash).then(|| self.crash_point());
        let before = crash.map(|_| self.coordinator.federation.clone());
        let mut batch = Batch::default();
        for request in std::mem::take(&mut self.coordinator.inbox) {
            self.take(request, &mut batch)?;
        }
        if let (Some(Crash::BeforeAppend), Some(before)) = (crash, before) {
            self.counts.events_lost += batch.taken.len() as u64;
            self.crash_coordinator("before its journal is written", before);
            return Ok(());
        }
        self.append(&mut batch)?;
        let effects: Vec<Effect> = batch.taken.into_iter().flat_map(|(_, _, effects)| effects).collect();
        let performed = match crash {
            Some(Crash::AfterAppend(at)) => at.min(effects.len()),
            _ => effects.len(),
        };
        for effect in effects.into_iter().take(performed) {
            self.perform(effect)?;
        }
        if crash.is_some() {
            let expected = self.coordinator.federation.clone();
            self.crash_coordinator(&format!("after {performed} effects"), expected);
            return Ok(());
        }
        for (asker, refused) in batch.answers {
            self.answer(&asker, refused)?;
        }
        self.sleep();
        Ok(())
    }

    fn crash_point(&mut self) -> Crash {
        if self.dice.chance(0.4) {
            return Crash::BeforeAppend;
        }
        Crash::AfterAppend(self.dice.index(6))
    }

    fn take(&mut self, request: Request, batch: &mut Batch) -> Result<(), Violation> {
        let Request { event, asker } = request;
        self.counts.events += 1;
        let text = json(&event);
        match self.coordinator.federation.apply(self.now, event.clone()) {
            Ok(effects) => {
                self.note(&text);
                self.history.applied(self.now, &event, &effects, &self.coordinator.federation)?;
                batch.taken.push((event, text, effects));
                batch.answers.extend(asker.map(|asker| (asker, None)));
            }
            Err(refusal) => {
                self.counts.refused += 1;
                self.note(format!("refused, {}: {text}", refusal.code()));
                if let Some(asker) = asker {
                    let counts = self.coordinator.federation.reported(&asker.assignment);
                    let is_counted = asker.update.is_some() && counts == asker.update;
                    batch.answers.push((asker, (!is_counted).then(|| refusal.code())));
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, batch: &mut Batch) -> Result<(), Violation> {
        for (event, text, effects) in &mut batch.taken {
            self.coordinator.journal.push((self.now, std::mem::take(text)));
            self.history.journaled(self.now, event, effects)?;
            if let Event::UpdateReceived { assignment, receipt } = event {
                let round = self.coordinator.federation.runs[&assignment.run].round(assignment.round);
                let honest = round.map(|round| update_digest(&assignment.worker, round.number, &round.base.digest));
                if honest != Some(receipt.update) {
                    self.coordinator.lied_to.insert(assignment.run.clone());
                }
            }
        }
        self.history.rounds_closed(&self.coordinator.federation)
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::AskPlacement { question, policy, ask } => self.ask(question, &policy, &ask),
            Effect::SendAssignment(assignment) => {
                if let Some((to, session)) = self.stream_of(&assignment.id) {
                    self.send_down(to, session, &Down::Assign(assignment));
                }
            }
            Effect::CancelAssignment { assignment, .. } => {
                if let Some((to, session)) = self.stream_of(&assignment) {
                    self.send_down(to, session, &Down::Cancel { assignment });
                }
            }
            Effect::Aggregate(task) => return self.aggregate(&task),
            Effect::ArchiveRound { .. } | Effect::RemoveBlobs { .. } => {}
            Effect::ReleaseSpool { run, round } => {
                self.coordinator.spool.retain(|(id, _)| id.run != run || id.round != round);
            }
            Effect::Announce(notice) => {
                self.counts.policies_set += u64::from(notice.kind == "policies-set");
                self.counts.rolled_back += u64::from(notice.kind == "policy-rolled-back");
                self.note(format!("{}: {}", notice.kind, notice.text));
            }
        }
        Ok(())
    }

    fn stream_of(&self, assignment: &AssignmentId) -> Option<(At, u64)> {
        let to = self.workers.iter().position(|worker| worker.name == assignment.worker)?;
        Some((to, *self.coordinator.sessions.get(&to)?))
    }

    fn answer(&mut self, asker: &Asker, refused: Option<&'static str>) -> Result<(), Violation> {
        if let (Some(update), None) = (asker.update, refused) {
            self.history.acknowledged(&asker.assignment, update)?;
        }
        let answer = Down::Answer { assignment: asker.assignment.clone(), refused };
        self.send_down(asker.worker, 0, &answer);
        Ok(())
    }

    /// Sets the timer for when time alone would change something.
    fn sleep(&mut self) {
        let wake = self.coordinator.federation.next_wake();
        if let Some(at) = wake.filter(|_| wake != self.coordinator.wake) {
            self.queue.push(at.0.max(self.now.0), Happening::Wake { boot: self.coordinator.boot });
        }
        self.coordinator.wake = wake;
    }

    fn crash_coordinator(&mut self, how: &str, expected: Federation) {
        self.note(format!("the coordinator crashes {how}"));
        self.counts.coordinator_crashes += 1;
        let coordinator = &mut self.coordinator;
        coordinator.is_up = false;
        coordinator.boot += 1;
        coordinator.federation = Federation::new();
        coordinator.expected = Some(expected);
        coordinator.inbox.clear();
        coordinator.is_turn_due = false;
        coordinator.wake = None;
        coordinator.sessions_opened = 0;
        for (worker, session) in std::mem::take(&mut coordinator.sessions) {
            let boot = self.workers[worker].boot;
            let ms = self.dice.between(5, 200);
            self.after(ms, Happening::LinkGone { worker, boot, session });
        }
        let ms = self.dice.between(50, 1_200);
        self.after(ms, Happening::CoordinatorStarts);
    }
}
