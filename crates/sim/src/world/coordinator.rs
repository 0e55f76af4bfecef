//! A coordinator's process: it follows until the lease is its own, leads until another does, and may stand still, lose
//! the database or die at any moment. What survives it is in the database and in the object store, and nothing else.

use polder_core::invariants::Violation;
use polder_core::lease::{Lease, Tenure};
use polder_core::{Event, Federation, Timestamp};

use super::World;
use super::term::Term;
use crate::message::{At, Happening, Request, Step, Stream, Who};

/// The federation's time when the world begins; clocks may be before or behind it.
const EPOCH_MS: u64 = 1_000_000;
/// How far a clock may be off.
const SKEW_MS_MAX: u64 = 3_000;
/// Streams that are silent for longer are given up by workers.
const SILENCE_MS: u64 = 1_500;

pub(super) struct Coordinator {
    pub(super) name: String,
    pub(super) is_up: bool,
    /// Which life this is: what was due in an earlier one no longer counts.
    pub(super) boot: u64,
    /// Since when it follows: it started, or led no more.
    follows_since: u64,
    /// Stands still until then; what is due meanwhile is done afterwards.
    pub(super) paused_until: u64,
    /// Does not reach the database until then.
    pub(super) cut_until: u64,
    pub(super) nap: Option<Nap>,
    /// Its clock, beside the world's.
    clock_ahead_ms: u64,
    /// Who led when it last looked.
    pub(super) leader: Option<Who>,
    pub(super) term: Option<Term>,
}

/// A pause amid a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nap {
    /// Everything is applied, and not on its way to the journal.
    BeforeAppend { ms: u64 },
    /// The journal is written, and nothing is done.
    BeforeEffects { ms: u64 },
}

impl Coordinator {
    pub(super) fn new(who: Who) -> Self {
        Self {
            name: format!("coordinator-{who}"),
            is_up: false,
            boot: 0,
            follows_since: 0,
            paused_until: 0,
            cut_until: 0,
            nap: None,
            clock_ahead_ms: EPOCH_MS,
            leader: None,
            term: None,
        }
    }

    /// Whether it believes to lead.
    pub(super) fn leads(&self) -> bool {
        self.is_up && self.term.is_some()
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        self.term.as_ref().filter(|_| self.is_up).map(|term| term.epoch)
    }
}

impl World {
    /// The process's own clock: it never steps back while it lives.
    pub(super) fn clock(&self, who: Who) -> Timestamp {
        Timestamp(self.now + self.coordinators[who].clock_ahead_ms)
    }

    pub(super) fn step(&mut self, who: Who, ms: u64, step: Step) {
        let boot = self.coordinators[who].boot;
        self.after(ms, Happening::Process { who, boot, step });
    }

    pub(super) fn reaches_database(&self, who: Who) -> bool {
        self.now >= self.coordinators[who].cut_until
    }

    pub(super) fn start_coordinator(&mut self, who: Who) {
        let is_off = self.dice.chance(self.faults.clock_skew);
        let ahead_ms = if is_off { self.dice.between(0, 2 * SKEW_MS_MAX) } else { SKEW_MS_MAX };
        let now = self.now;
        let coordinator = &mut self.coordinators[who];
        coordinator.is_up = true;
        coordinator.boot += 1;
        coordinator.follows_since = now;
        coordinator.paused_until = 0;
        coordinator.clock_ahead_ms = EPOCH_MS - SKEW_MS_MAX + ahead_ms;
        if is_off {
            self.strike("clock-skew");
        }
        self.note(format!("coordinator-{who} starts"));
        self.step(who, 0, Step::Look);
    }

    pub(super) fn process(&mut self, who: Who, boot: u64, step: Step) -> Result<(), Violation> {
        if boot != self.coordinators[who].boot || !self.coordinators[who].is_up {
            return Ok(());
        }
        let paused_until = self.coordinators[who].paused_until;
        if self.now < paused_until {
            self.queue.push(paused_until, Happening::Process { who, boot, step });
            return Ok(());
        }
        match step {
            Step::Look => return self.look(who),
            Step::Stop => self.stop_coordinator(who),
            Step::Renew { epoch } if self.is_term(who, epoch) => self.renew(who, epoch),
            Step::Turn { epoch } if self.is_term(who, epoch) => return self.turn(who),
            Step::Append { epoch, attempt } if self.is_term(who, epoch) => self.send_append(who, attempt),
            Step::Appended { epoch, attempt, outcome } if self.is_term(who, epoch) => {
                self.appended(who, attempt, outcome);
            }
            Step::Act { epoch, from } if self.is_term(who, epoch) => return self.act(who, from),
            Step::Wake { epoch } if self.is_term(who, epoch) => self.wake(who),
            Step::Answered { epoch, event } if self.is_term(who, epoch) => self.tell_leader(who, *event),
            Step::StreamGone { epoch, worker, session } if self.is_term(who, epoch) => {
                self.stream_gone(who, worker, session);
            }
            Step::Snapshot { epoch, seq, state } if self.is_term(who, epoch) => {
                self.write_snapshot(who, epoch, seq, state);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_term(&self, who: Who, epoch: u64) -> bool {
        self.coordinators[who].epoch() == Some(epoch)
    }

    /// Takes the lease if it is free; otherwise remembers who has it.
    fn look(&mut self, who: Who) -> Result<(), Violation> {
        let ms = self.ttl_ms / 6 + self.dice.between(0, self.ttl_ms / 12);
        self.step(who, ms, Step::Look);
        if self.coordinators[who].leads() || !self.reaches_database(who) {
            return Ok(());
        }
        let name = self.coordinators[who].name.clone();
        let current = self.database.lease.clone();
        match Lease::take(current.as_ref(), Timestamp(self.now), &name, self.ttl_ms) {
            Some(lease) => {
                self.follows_in_time(who, current.as_ref())?;
                self.lead(who, lease)
            }
            None => {
                let leader = current.and_then(|lease| self.coordinators.iter().position(|c| c.name == lease.holder));
                if leader != self.coordinators[who].leader {
                    self.coordinators[who].leader = leader;
                    self.close_passed_on(who);
                }
                Ok(())
            }
        }
    }

    /// A leader that is gone is followed within its lease and a look, by whoever could have looked.
    fn follows_in_time(&mut self, who: Who, before: Option<&Lease>) -> Result<(), Violation> {
        let Some(before) = before else { return Ok(()) };
        let Coordinator { follows_since, paused_until, cut_until, .. } = self.coordinators[who];
        let could_look = follows_since.max(paused_until).max(cut_until);
        let (free_since, last_sign) = (before.expires_at.0, before.expires_at.0.saturating_sub(self.ttl_ms));
        let waited_ms = self.now - free_since.max(could_look);
        let look_ms = self.ttl_ms / 6 + self.ttl_ms / 12 + 1;
        self.counts.takeovers += 1;
        self.counts.takeover_ms_max = self.counts.takeover_ms_max.max(self.now - last_sign.max(could_look));
        if waited_ms > look_ms {
            let found = format!("coordinator-{who} took the lease {waited_ms} ms after it could");
            return Err(Violation { invariant: "a leader that is gone is followed in time", found });
        }
        Ok(())
    }

    fn lead(&mut self, who: Who, lease: Lease) -> Result<(), Violation> {
        let epoch = lease.epoch;
        self.counts.two_believed += u64::from(self.coordinators.iter().any(Coordinator::leads));
        self.database.lease = Some(lease);
        let federation = self.recover()?;
        self.history.recovered(&federation)?;
        self.spool.retain(|(id, _), _| federation.holds_spool(&id.run, id.round));
        let recorded = self.database.journal.last().map_or(Timestamp(0), |(at, _)| *at);
        let behind_ms = recorded.ms_since(self.clock(who));
        let tenure = Tenure::new(epoch, Timestamp(self.now), self.ttl_ms);
        let entries = self.database.journal.len();
        self.note(format!("coordinator-{who} leads, epoch {epoch}, after entry {entries}"));
        let coordinator = &mut self.coordinators[who];
        coordinator.clock_ahead_ms += behind_ms;
        coordinator.leader = Some(who);
        coordinator.term = Some(Term::new(tenure, federation, entries));
        self.close_passed_on(who);
        self.step(who, self.ttl_ms / 3, Step::Renew { epoch });
        let grace_ms = self.grace_ms;
        self.request(who, Request { event: Event::CoordinatorStarted { grace_ms }, asker: None });
        Ok(())
    }

    /// The newest snapshot and what comes after it, or everything from the first entry on.
    fn recover(&mut self) -> Result<Federation, Violation> {
        let from_snapshot = self.dice.chance(0.75);
        let (seq, mut federation) = match self.database.snapshots.last().filter(|_| from_snapshot) {
            Some(snapshot) => {
                self.counts.from_snapshot += 1;
                let read = serde_json::from_str(&snapshot.state);
                let invariant = "a snapshot can be read again";
                (snapshot.seq, read.map_err(|error| Violation { invariant, found: error.to_string() })?)
            }
            None => {
                self.counts.from_first_entry += 1;
                (0, Federation::new())
            }
        };
        for (at, text) in &self.database.journal[seq..] {
            let read = serde_json::from_str(text).map_err(|error| error.to_string());
            let applied = read.and_then(|event| federation.apply(*at, event).map_err(|error| error.to_string()));
            applied.map_err(|found| Violation { invariant: "every journal entry is accepted again", found })?;
        }
        Ok(federation)
    }

    fn renew(&mut self, who: Who, epoch: u64) {
        let (now, ttl_ms) = (Timestamp(self.now), self.ttl_ms);
        let renewed = self.reaches_database(who).then(|| {
            let lease = self.database.lease.as_mut();
            lease.is_some_and(|lease| lease.renew(now, epoch, ttl_ms))
        });
        let Some(term) = &mut self.coordinators[who].term else { return };
        match renewed {
            Some(true) => term.tenure.renewed(now),
            Some(false) => return self.end_term(who, "another leads"),
            None if !term.tenure.is_sure(now) => return self.end_term(who, "its lease could not be renewed"),
            None => {}
        }
        // What could not be asked is asked again soon: the lease may hold yet.
        let ms = if renewed.is_some() { ttl_ms / 3 } else { ttl_ms / 12 };
        self.step(who, ms, Step::Renew { epoch });
    }

    /// From here on it follows; all that the term knew is forgotten, and its streams are closed.
    pub(super) fn end_term(&mut self, who: Who, why: &str) {
        let Some(term) = self.coordinators[who].term.take() else { return };
        self.note(format!("coordinator-{who} leads no more, epoch {}: {why}", term.epoch));
        self.coordinators[who].leader = None;
        self.coordinators[who].follows_since = self.now;
        self.close_streams(&term);
    }

    fn close_streams(&mut self, term: &Term) {
        for (worker, (session, via)) in &term.sessions {
            let stream = Stream { via: *via, epoch: term.epoch, session: *session };
            self.link_breaks(*worker, stream, 200);
        }
    }

    /// The worker notices within `ms` that its stream is gone.
    pub(super) fn link_breaks(&mut self, worker: At, stream: Stream, ms: u64) {
        let (boot, ms) = (self.workers[worker].boot, self.dice.between(1, ms));
        self.after(ms, Happening::LinkGone { worker, boot, stream });
    }

    /// Streams that this coordinator passed on to a leader that is none any more.
    fn close_passed_on(&mut self, who: Who) {
        for at in 0..self.workers.len() {
            if let Some(stream) = self.workers[at].stream().filter(|stream| stream.via == who)
                && !self.is_there(at, stream)
            {
                self.link_breaks(at, stream, 50);
            }
        }
    }

    /// Whether the stream is still one, from the worker's coordinator to the leader's list.
    pub(super) fn is_there(&self, at: At, stream: Stream) -> bool {
        let via = &self.coordinators[stream.via];
        let leader = if via.leads() { Some(stream.via) } else { via.leader };
        let term = leader.filter(|_| via.is_up).and_then(|who| self.coordinators[who].term.as_ref());
        term.is_some_and(|term| {
            term.epoch == stream.epoch && term.sessions.get(&at) == Some(&(stream.session, stream.via))
        })
    }

    /// It stands still: nothing it does happens, and nobody is told. Workers find it silent.
    pub(super) fn pause(&mut self, who: Who, ms: u64) {
        self.note(format!("coordinator-{who} stands still for {ms} ms"));
        self.strike("pause");
        self.coordinators[who].paused_until = self.now + ms;
        for at in 0..self.workers.len() {
            let Some(stream) = self.workers[at].stream() else { continue };
            let is_its = stream.via == who || self.coordinators[who].epoch() == Some(stream.epoch);
            if is_its && ms > SILENCE_MS {
                let (boot, ms) = (self.workers[at].boot, SILENCE_MS + self.dice.between(0, SILENCE_MS));
                self.after(ms, Happening::LinkGone { worker: at, boot, stream });
            }
        }
    }

    fn stop_coordinator(&mut self, who: Who) {
        self.strike("coordinator-restart");
        if let Some(epoch) = self.coordinators[who].epoch()
            && self.reaches_database(who)
            && let Some(lease) = &mut self.database.lease
        {
            lease.step_down(Timestamp(self.now), epoch);
        }
        self.end_process(who, "stops");
    }

    pub(super) fn crash_coordinator(&mut self, who: Who, how: &str) {
        self.strike("coordinator-crash");
        self.counts.coordinator_crashes += 1;
        self.end_process(who, &format!("crashes {how}"));
    }

    fn end_process(&mut self, who: Who, how: &str) {
        self.note(format!("coordinator-{who} {how}"));
        let is_alone = self.coordinators.len() == 1;
        let coordinator = &mut self.coordinators[who];
        coordinator.is_up = false;
        coordinator.boot += 1;
        coordinator.leader = None;
        coordinator.nap = None;
        let term = coordinator.term.take();
        if let Some(term) = &term {
            self.close_streams(term);
            // Alone it has the directory's lock, which ends with its process.
            if let Some(lease) = self.database.lease.as_mut().filter(|_| is_alone) {
                lease.step_down(Timestamp(self.now), term.epoch);
            }
        }
        self.break_passed_on(who);
        let ms = self.dice.between(50, if is_alone { 1_200 } else { 4_000 });
        self.after(ms, Happening::CoordinatorStarts { who });
    }

    /// A coordinator that passed streams on is gone: both ends of each notice.
    fn break_passed_on(&mut self, who: Who) {
        for at in 0..self.workers.len() {
            if let Some(stream) = self.workers[at].stream().filter(|stream| stream.via == who) {
                self.link_breaks(at, stream, 200);
            }
        }
        for leader in 0..self.coordinators.len() {
            let Some(term) = self.coordinators[leader].term.as_ref().filter(|_| leader != who) else { continue };
            let epoch = term.epoch;
            let broken = term.sessions.iter().filter(|(_, (_, via))| *via == who);
            let broken: Vec<_> = broken.map(|(worker, (session, _))| (*worker, *session)).collect();
            for (worker, session) in broken {
                let ms = self.dice.between(1, 200);
                self.step(leader, ms, Step::StreamGone { epoch, worker, session });
            }
        }
    }
}
