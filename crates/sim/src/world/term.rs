//! What a leader does: everything in its inbox is applied, then appended as one, then acted upon, then answered. It may
//! die, stand still or lose its lease at any of these points.

use std::collections::BTreeMap;

use polder_core::effect::Effect;
use polder_core::invariants::Violation;
use polder_core::lease::Tenure;
use polder_core::round::Task;
use polder_core::{AssignmentId, Event, Federation, Timestamp};

use super::World;
use super::coordinator::Nap;
use super::database::{Snapshot, Written};
use crate::message::{Append, Appended, Asker, At, Down, Happening, Request, Step, Stream, Who};
use crate::plan::{CrashAt, CrashPoint};

/// Pauses between attempts to append: from this, doubling, to that.
const RETRY_MS: u64 = 50;
const RETRY_MS_MAX: u64 = 2_000;

pub(super) struct Term {
    pub(super) epoch: u64,
    pub(super) tenure: Tenure,
    pub(super) federation: Federation,
    /// Open streams with the coordinator they come through; numbers count anew in every term.
    pub(super) sessions: BTreeMap<At, (u64, Who)>,
    sessions_opened: u64,
    inbox: Vec<Request>,
    is_turn_due: bool,
    /// Applied, and not yet carried out.
    pending: Option<Batch>,
    /// The newest entry that is known to be written, and the newest that a snapshot was made of.
    written: usize,
    snapshot: usize,
    wake: Option<Timestamp>,
}

/// What one turn has gathered.
#[derive(Default)]
struct Batch {
    entries: Vec<(Timestamp, String)>,
    effects: Vec<Vec<Effect>>,
    answers: Vec<(Asker, Option<&'static str>)>,
    crash: Option<CrashPoint>,
}

impl Term {
    pub(super) fn new(tenure: Tenure, federation: Federation, written: usize) -> Self {
        Self {
            epoch: tenure.epoch,
            tenure,
            federation,
            sessions: BTreeMap::new(),
            sessions_opened: 0,
            inbox: Vec::new(),
            is_turn_due: false,
            pending: None,
            written,
            snapshot: written,
            wake: None,
        }
    }

    /// A new stream, and the one that it takes the place of.
    pub(super) fn open_session(&mut self, worker: At, via: Who) -> (Stream, Option<(u64, Who)>) {
        self.sessions_opened += 1;
        let session = self.sessions_opened;
        let old = self.sessions.insert(worker, (session, via));
        (Stream { via, epoch: self.epoch, session }, old)
    }
}

pub(super) fn json(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_else(|error| unreachable!("an event that cannot be written: {error}"))
}

impl World {
    /// Something comes to the leader by way of some coordinator, if there is a leader.
    pub(super) fn tell(&mut self, event: Event) {
        let via = self.dice.index(self.coordinators.len());
        if let Some(who) = self.leader_via(via) {
            self.tell_leader(who, event);
        }
    }

    /// Who gets what is said to this coordinator: itself if it believes to lead, or whom it believes to lead.
    pub(super) fn leader_via(&self, via: Who) -> Option<Who> {
        let coordinator = &self.coordinators[via];
        let who = if coordinator.leads() { Some(via) } else { coordinator.leader };
        who.filter(|who| coordinator.is_up && self.coordinators[*who].leads())
    }

    pub(super) fn tell_leader(&mut self, who: Who, event: Event) {
        self.request(who, Request { event, asker: None });
    }

    pub(super) fn request(&mut self, who: Who, request: Request) {
        let Some(term) = &mut self.coordinators[who].term else { return };
        term.inbox.push(request);
        self.next_turn(who);
    }

    fn next_turn(&mut self, who: Who) {
        let Some(term) = &mut self.coordinators[who].term else { return };
        if !term.is_turn_due && term.pending.is_none() && !term.inbox.is_empty() {
            term.is_turn_due = true;
            let epoch = term.epoch;
            let ms = self.dice.between(0, 3);
            self.step(who, ms, Step::Turn { epoch });
        }
    }

    pub(super) fn wake(&mut self, who: Who) {
        let clock = self.clock(who);
        let Some(term) = &self.coordinators[who].term else { return };
        if term.federation.next_wake().is_some_and(|wake| wake <= clock) {
            self.tell_leader(who, Event::TimePassed);
        }
    }

    /// Apply.
    pub(super) fn turn(&mut self, who: Who) -> Result<(), Violation> {
        let Some(term) = &mut self.coordinators[who].term else { return Ok(()) };
        term.is_turn_due = false;
        // A leader that was asleep would answer in the name of a federation that has moved on.
        if !term.tenure.is_sure(Timestamp(self.now)) {
            self.end_term(who, "it was away for longer than its lease");
            return Ok(());
        }
        let (inbox, written) = (std::mem::take(&mut term.inbox), term.written);
        let mut batch = Batch::default();
        for request in inbox {
            self.take(who, request, &mut batch)?;
        }
        batch.crash = self.crash_point(written, batch.entries.len());
        if batch.crash == Some(CrashPoint::BeforeAppend) {
            self.crash_coordinator(who, "before its journal is written");
            return Ok(());
        }
        if batch.entries.is_empty() {
            return self.answer_all(who, batch.answers);
        }
        let Some(term) = &mut self.coordinators[who].term else { return Ok(()) };
        term.pending = Some(batch);
        if let Some(Nap::BeforeAppend { ms }) =
            self.coordinators[who].nap.take_if(|nap| matches!(nap, Nap::BeforeAppend { .. }))
        {
            let epoch = self.coordinators[who].epoch().unwrap_or(0);
            self.pause(who, ms);
            self.step(who, 0, Step::Append { epoch, attempt: 0 });
        } else {
            self.send_append(who, 0);
        }
        Ok(())
    }

    fn crash_point(&mut self, written: usize, entries: usize) -> Option<CrashPoint> {
        if let Some(CrashAt { entry, point }) = self.plan.crash {
            let is_here = !self.has_crashed && (written + 1..=written + entries).contains(&entry);
            if is_here {
                self.has_crashed = true;
                self.history.settled_ms = Some(self.now + super::SETTLE_MS);
            }
            return is_here.then_some(point);
        }
        if entries == 0 || !self.dice.chance(self.faults.coordinator_crash) {
            return None;
        }
        Some(match self.dice.index(10) {
            0..4 => CrashPoint::BeforeAppend,
            4..9 => CrashPoint::AfterEffects(self.dice.index(6)),
            _ => CrashPoint::AfterAnswers,
        })
    }

    fn take(&mut self, who: Who, request: Request, batch: &mut Batch) -> Result<(), Violation> {
        let Request { event, asker } = request;
        let at = self.clock(who);
        let text = json(&event);
        let Some(term) = &mut self.coordinators[who].term else { return Ok(()) };
        match term.federation.apply(at, event.clone()) {
            Ok(effects) => {
                self.log.push(format!("{:>6} {who}: {text}", self.now));
                self.history.applied(at, &event, &effects, &term.federation)?;
                batch.entries.push((at, text));
                batch.effects.push(effects);
                batch.answers.extend(asker.map(|asker| (asker, None)));
            }
            Err(refusal) => {
                self.counts.refused += 1;
                self.counts.turned_away += u64::from(matches!(event, Event::TokenRedeemed { .. }));
                self.log.push(format!("{:>6} {who}: refused, {}: {text}", self.now, refusal.code()));
                if let Event::WorkerConnected { worker, session, .. } = &event {
                    self.turn_away(who, worker.clone(), *session);
                    return Ok(());
                }
                if let Some(asker) = asker {
                    let counts = term.federation.reported(&asker.assignment);
                    let is_counted = asker.update.is_some() && counts == asker.update;
                    // What this batch did before it, nobody else can know yet.
                    if !is_counted && batch.entries.is_empty() {
                        let task = if asker.update.is_some() { Task::Train } else { Task::Evaluate };
                        self.history.refused(who, &asker.assignment, task, refusal.code())?;
                    }
                    batch.answers.push((asker, (!is_counted).then(|| refusal.code())));
                }
            }
        }
        Ok(())
    }

    /// Append: sent off now, written when it arrives. A crash right here leaves that to chance.
    pub(super) fn send_append(&mut self, who: Who, attempt: u32) {
        let Some(term) = &self.coordinators[who].term else { return };
        let (epoch, Some(batch)) = (term.epoch, &term.pending) else { return };
        let append = Append {
            who,
            boot: self.coordinators[who].boot,
            epoch,
            attempt,
            after: term.written,
            entries: batch.entries.clone(),
        };
        if !self.reaches_database(who) {
            return self.step(who, 100, Step::Appended { epoch, attempt, outcome: Appended::Unknown });
        }
        let mut ms = self.dice.between(0, 3);
        if self.dice.chance(self.faults.slow_append) {
            self.strike("slow-append");
            ms += self.dice.between(10, 2 * self.ttl_ms);
        }
        self.after(ms, Happening::AtDatabase(Box::new(append)));
        if self.plan.crash.is_none() && self.dice.chance(self.faults.coordinator_crash / 4.0) {
            self.crash_coordinator(who, "with its journal on the way");
        }
    }

    /// The one instant at which something has happened for good.
    pub(super) fn at_database(&mut self, append: &Append) -> Result<(), Violation> {
        let Append { who, boot, epoch, attempt, .. } = append;
        let is_unknown = self.dice.chance(self.faults.unknown_append);
        if is_unknown {
            self.strike("unknown-append");
        }
        let is_lost = is_unknown && self.dice.chance(0.5);
        let outcome = if is_lost || self.database.is_full(self.now) {
            Appended::Unknown
        } else {
            match self.database.append(append)? {
                Written::Fenced => {
                    self.counts.fenced += 1;
                    Appended::Fenced
                }
                written => {
                    if written == Written::New {
                        self.journaled(append)?;
                    }
                    if is_unknown { Appended::Unknown } else { Appended::Done }
                }
            }
        };
        let (ms, epoch, attempt) = (self.dice.between(0, 3), *epoch, *attempt);
        let step = Step::Appended { epoch, attempt, outcome };
        self.after(ms, Happening::Process { who: *who, boot: *boot, step });
        Ok(())
    }

    /// New entries are in the journal: everybody's history goes on from here.
    fn journaled(&mut self, append: &Append) -> Result<(), Violation> {
        self.counts.events += append.entries.len() as u64;
        let effects = self.history.journaled(self.now, append.epoch, &append.entries)?;
        let Append { who, boot, epoch, .. } = append;
        let coordinator = &self.coordinators[*who];
        let term = coordinator.term.as_ref().filter(|term| coordinator.boot == *boot && term.epoch == *epoch);
        if let Some(term) = term
            && let Some(batch) = &term.pending
            && (term.federation != self.history.federation || batch.effects != effects)
        {
            let found = format!("epoch {epoch} is not where its journal is, after {} entries", append.after);
            return Err(Violation { invariant: "the journal gives the same federation again", found });
        }
        self.let_in_newcomers();
        Ok(())
    }

    pub(super) fn appended(&mut self, who: Who, attempt: u32, outcome: Appended) {
        let Some(term) = &mut self.coordinators[who].term else { return };
        let (epoch, Some(batch)) = (term.epoch, &term.pending) else { return };
        match outcome {
            Appended::Fenced => self.end_term(who, "another writes the journal"),
            Appended::Unknown => {
                let ms = (RETRY_MS << attempt.min(10)).min(RETRY_MS_MAX);
                self.step(who, ms, Step::Append { epoch, attempt: attempt + 1 });
            }
            Appended::Done => {
                term.written += batch.entries.len();
                let nap = &mut self.coordinators[who].nap;
                if let Some(Nap::BeforeEffects { ms }) = nap.take_if(|nap| matches!(nap, Nap::BeforeEffects { .. })) {
                    self.pause(who, ms);
                }
                self.step(who, 0, Step::Act { epoch, from: 0 });
            }
        }
    }

    /// Act, then answer.
    pub(super) fn act(&mut self, who: Who, from: usize) -> Result<(), Violation> {
        let Some(term) = &mut self.coordinators[who].term else { return Ok(()) };
        let Some(batch) = term.pending.take() else { return Ok(()) };
        self.history.wrote(term.epoch, term.written - batch.entries.len(), term.written)?;
        let effects: Vec<Effect> = batch.effects.into_iter().flatten().skip(from).collect();
        let performed = match batch.crash {
            Some(CrashPoint::AfterEffects(at)) => at.min(effects.len()),
            _ => effects.len(),
        };
        for effect in effects.into_iter().take(performed) {
            self.perform(who, effect)?;
        }
        if let Some(CrashPoint::AfterEffects(_)) = batch.crash {
            self.crash_coordinator(who, &format!("after {performed} effects"));
            return Ok(());
        }
        self.answer_all(who, batch.answers)?;
        if let Some(CrashPoint::AfterAnswers) = batch.crash {
            self.crash_coordinator(who, "after its answers");
            return Ok(());
        }
        self.make_snapshot(who);
        Ok(())
    }

    fn perform(&mut self, who: Who, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::AskPlacement { question, policy, ask } => self.ask(who, question, &policy, &ask),
            Effect::SendAssignment(assignment) => {
                let is_wanted = self.history.federation.admit(&assignment.id, assignment.task).is_ok();
                if is_wanted && !self.models.contains(&assignment.model) {
                    let found = format!("{} starts from {:?}", assignment.id, assignment.model);
                    return Err(Violation { invariant: "a model that somebody may start from is stored", found });
                }
                if let Some((to, stream)) = self.stream_of(who, &assignment.id) {
                    self.send_down(to, stream.via, Some(stream), &Down::Assign(assignment));
                }
            }
            Effect::CancelAssignment { assignment, .. } => {
                if let Some((to, stream)) = self.stream_of(who, &assignment) {
                    self.send_down(to, stream.via, Some(stream), &Down::Cancel { assignment });
                }
            }
            Effect::Aggregate(task) => return self.aggregate(who, &task),
            // That is done where the journal is written.
            Effect::ArchiveRound { .. } => {}
            Effect::RemoveBlobs { digests, .. } => self.models.retain(|digest| !digests.contains(digest)),
            Effect::ReleaseSpool { run, round } => self.spool.retain(|(id, _), _| id.run != run || id.round != round),
            Effect::Announce(notice) => {
                self.counts.policies_set += u64::from(notice.kind == "policies-set");
                self.counts.rolled_back += u64::from(notice.kind == "policy-rolled-back");
                self.note(format!("{who}: {}: {}", notice.kind, notice.text));
            }
        }
        Ok(())
    }

    fn stream_of(&self, who: Who, assignment: &AssignmentId) -> Option<(At, Stream)> {
        let to = self.workers.iter().position(|worker| worker.name == assignment.worker)?;
        let term = self.coordinators[who].term.as_ref()?;
        let (session, via) = *term.sessions.get(&to)?;
        Some((to, Stream { via, epoch: term.epoch, session }))
    }

    fn answer_all(&mut self, who: Who, answers: Vec<(Asker, Option<&'static str>)>) -> Result<(), Violation> {
        let is_sure = self.coordinators[who].term.as_ref().is_some_and(|term| term.tenure.is_sure(Timestamp(self.now)));
        for (asker, refused) in answers {
            // What is in the journal is so whoever leads; a no may have become wrong.
            if refused.is_some() && !is_sure {
                continue;
            }
            if let (Some(update), None) = (asker.update, refused) {
                self.history.acknowledged(&asker.assignment, update)?;
            }
            let answer = Down::Answer { assignment: asker.assignment, refused };
            self.send_down(asker.worker, asker.via, None, &answer);
        }
        self.sleep(who);
        self.next_turn(who);
        Ok(())
    }

    /// Sets the timer for when time alone would change something.
    fn sleep(&mut self, who: Who) {
        let clock = self.clock(who);
        let Some(term) = &mut self.coordinators[who].term else { return };
        let wake = term.federation.next_wake();
        let is_new = wake != term.wake;
        term.wake = wake;
        let epoch = term.epoch;
        if let Some(at) = wake.filter(|_| is_new) {
            self.step(who, at.ms_since(clock), Step::Wake { epoch });
        }
    }

    /// Serialises the federation every so often; it reaches the database later, if at all.
    fn make_snapshot(&mut self, who: Who) {
        let every = self.snapshot_every;
        let Some(term) = &mut self.coordinators[who].term else { return };
        if term.pending.is_some() || term.written < term.snapshot + every {
            return;
        }
        term.snapshot = term.written;
        let (epoch, seq) = (term.epoch, term.written);
        let state = serde_json::to_string(&term.federation);
        let state = state.unwrap_or_else(|error| unreachable!("a federation that cannot be written: {error}"));
        let ms = self.dice.between(1, 60);
        self.step(who, ms, Step::Snapshot { epoch, seq, state });
    }

    pub(super) fn write_snapshot(&mut self, who: Who, epoch: u64, seq: usize, state: String) {
        if self.dice.chance(self.faults.snapshot) {
            self.strike("snapshot");
        } else if self.reaches_database(who) && !self.database.is_full(self.now) {
            self.database.keep_snapshot(epoch, Snapshot { seq, state });
        }
    }
}
