//! What comes in from workers: at the leader, or at a coordinator that passes it on to whom it believes to lead.

use std::collections::BTreeSet;

use polder_core::round::UpdateReceipt;
use polder_core::worker::Capacity;
use polder_core::{AssignmentId, Event, WorkerName};

use super::World;
use super::network::Way;
use crate::message::{Asker, At, Down, Happening, Request, STORAGE_FULL, Step, Stream, Up, Who};

/// An update in the object store and on the leader's disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stored {
    pub(super) is_damaged: bool,
    /// The copy in the object store is damaged too.
    pub(super) is_lost: bool,
}

pub(super) fn capacity(slots: u32) -> Capacity {
    Capacity { slots, datasets: BTreeSet::from(["digits".into()]), trainers: BTreeSet::from(["mlp".into()]) }
}

impl World {
    pub(super) fn hear(&mut self, from: At, via: Who, stream: Option<Stream>, message: Up) {
        if self.is_cut_off(from, Way::Up) || !self.coordinators[via].is_up {
            return;
        }
        let who = self.leader_via(via);
        // Whoever stands still hears it when it wakes up.
        let paused_until = |who: Who| self.coordinators[who].paused_until;
        let until = paused_until(via).max(who.map_or(0, paused_until));
        if self.now < until {
            return self.queue.push(until, Happening::ToCoordinator { from, via, stream, message });
        }
        let Some(who) = who else { return };
        let term = self.coordinators[who].term.as_ref();
        let is_open = |stream: Stream| {
            term.is_some_and(|term| {
                term.epoch == stream.epoch && term.sessions.get(&from) == Some(&(stream.session, via))
            })
        };
        let is_call = matches!(message, Up::Hello { .. } | Up::Update { .. } | Up::Evaluated { .. });
        if !is_call && !stream.is_some_and(is_open) {
            return;
        }
        match message {
            Up::Hello { dial, capacity, holding } => self.welcome(who, from, via, dial, capacity, holding),
            Up::Accepted { assignment } => self.tell_leader(who, Event::AssignmentAccepted { assignment }),
            Up::Declined { assignment } => {
                let reason = "the region would not".into();
                self.tell_leader(who, Event::AssignmentDeclined { assignment, reason });
            }
            Up::Failed { assignment } => {
                self.tell_leader(who, Event::AssignmentFailed { assignment, reason: "out of memory".into() });
            }
            Up::Update { assignment, receipt } => self.spool_update(who, (from, via), assignment, receipt),
            Up::Evaluated { assignment, evaluation } => {
                let asker = Asker { worker: from, via, assignment: assignment.clone(), update: None };
                let event = Event::EvaluationReceived { assignment, evaluation };
                self.request(who, Request { event, asker: Some(asker) });
            }
        }
    }

    /// A careless shell: it asks nobody before it spools, so that every refusal is the core's own.
    fn spool_update(&mut self, who: Who, (from, via): (At, Who), assignment: AssignmentId, receipt: UpdateReceipt) {
        if self.dice.chance(self.faults.spool_full) {
            self.strike("spool-full");
            let answer = Down::Answer { assignment, refused: Some(STORAGE_FULL) };
            return self.send_down(from, via, None, &answer);
        }
        let is_damaged = self.dice.chance(self.faults.spool_corrupt);
        let is_lost = is_damaged && self.dice.chance(0.3);
        let stored = self.spool.entry((assignment.clone(), receipt.update)).or_insert(Stored { is_damaged, is_lost });
        if is_damaged && stored.is_damaged {
            self.strike("spool-corrupt");
        }
        let asker = Asker { worker: from, via, assignment: assignment.clone(), update: Some(receipt.update) };
        self.request(who, Request { event: Event::UpdateReceived { assignment, receipt }, asker: Some(asker) });
    }

    fn welcome(&mut self, who: Who, from: At, via: Who, dial: u64, capacity: Capacity, holding: Vec<AssignmentId>) {
        let Some(term) = &mut self.coordinators[who].term else { return };
        let (stream, old) = term.open_session(from, via);
        if let Some((session, via)) = old {
            self.step(who, 5, Step::StreamGone { epoch: stream.epoch, worker: from, session });
            self.link_breaks(from, Stream { via, session, ..stream }, 50);
        }
        self.send_down(from, via, Some(stream), &Down::Welcome { dial, stream });
        let worker = self.workers[from].name.clone();
        let session = stream.session;
        self.tell_leader(who, Event::WorkerConnected { worker, session, capacity, holding });
    }

    /// A hello that the federation refused: its stream is closed.
    pub(super) fn turn_away(&mut self, who: Who, worker: WorkerName, session: u64) {
        let Some(at) = self.workers.iter().position(|known| known.name == worker) else { return };
        let Some(term) = &mut self.coordinators[who].term else { return };
        let Some((_, via)) = term.sessions.get(&at).copied().filter(|(open, _)| *open == session) else { return };
        term.sessions.remove(&at);
        let stream = Stream { via, epoch: term.epoch, session };
        self.link_breaks(at, stream, 50);
    }

    pub(super) fn stream_gone(&mut self, who: Who, worker: At, session: u64) {
        let Some(term) = &mut self.coordinators[who].term else { return };
        if let Some((current, via)) = term.sessions.get(&worker).copied()
            && current == session
        {
            term.sessions.remove(&worker);
            let stream = Stream { via, epoch: term.epoch, session };
            // The other end notices too, if it has not yet.
            self.link_breaks(worker, stream, 1_000);
        }
        let grace_ms = self.grace_ms;
        let worker = self.workers[worker].name.clone();
        let reason = "its stream broke".into();
        self.tell_leader(who, Event::WorkerDisconnected { worker, session, grace_ms, reason });
    }
}
