//! What happened, by the journal alone: read as a coordinator reads it, through the same rules, with every invariant looked at.

use std::collections::{BTreeMap, BTreeSet};

use polder_coordinator::store::{Recorded, Store, StoreConfig, StoreError};
use polder_core::effect::Effect;
use polder_core::round::Round;
use polder_core::spec::RunSpec;
use polder_core::{AssignmentId, Digest, Event, Federation, RoundNumber, RunId, Timestamp, WorkerName, invariants};

/// Looking at every invariant of the whole federation takes longer than applying an entry.
const CHECK_EVERY: u64 = 50;

/// A round that committed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Committed {
    pub(crate) at_ms: u64,
    pub(crate) base: Digest,
    pub(crate) model: Digest,
    /// The updates that it was made of.
    pub(crate) updates: BTreeMap<WorkerName, Digest>,
}

#[derive(Clone, Debug)]
pub(crate) struct RunPast {
    pub(crate) spec: RunSpec,
    pub(crate) committed: BTreeMap<RoundNumber, Committed>,
    pub(crate) abandoned: BTreeMap<RoundNumber, String>,
}

impl RunPast {
    /// The model that all of it came to.
    pub(crate) fn last_model(&self) -> Digest {
        self.committed.values().last().map_or(self.spec.model.digest, |committed| committed.model)
    }
}

#[derive(Default)]
pub(crate) struct Past {
    pub(crate) entries: u64,
    pub(crate) starts: u64,
    pub(crate) runs: BTreeMap<RunId, RunPast>,
    /// Every update that counted as received.
    pub(crate) accepted: BTreeMap<AssignmentId, Digest>,
    /// The seed that each worker was told to train with.
    pub(crate) seeds: BTreeMap<AssignmentId, u64>,
    pub(crate) federation: Federation,
    /// What must never be.
    pub(crate) broken: Vec<String>,
    aggregated: BTreeSet<(RunId, RoundNumber)>,
}

impl Past {
    /// Reads the journal. No coordinator may be alive that uses the same directory.
    pub(crate) async fn read(store: &StoreConfig) -> Self {
        let store = Store::open(store).await.unwrap();
        let mut past = Self::default();
        let take = |recorded| {
            past.take(recorded);
            Ok::<(), StoreError>(())
        };
        store.replay(1, take).await.unwrap();
        past.look_at_everything();
        past
    }

    fn take(&mut self, recorded: Recorded) {
        let Recorded { seq, entry } = recorded;
        let event: Event = serde_json::from_str(&entry.event_json).unwrap();
        self.entries += 1;
        self.note(&event);
        let at = Timestamp(entry.at_ms);
        match self.federation.apply(at, event) {
            Ok(effects) => effects.iter().for_each(|effect| self.see(effect)),
            Err(refusal) => self.broken.push(format!("entry {seq} ({}) is refused: {refusal}", entry.kind)),
        }
        if seq.is_multiple_of(CHECK_EVERY) {
            self.look_at_everything();
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::CoordinatorStarted { .. } => self.starts += 1,
            Event::RunSubmitted { run, spec, .. } => {
                let past = RunPast { spec: (**spec).clone(), committed: BTreeMap::new(), abandoned: BTreeMap::new() };
                self.runs.insert(run.clone(), past);
            }
            Event::UpdateReceived { assignment, receipt } => {
                if let Some(before) = self.accepted.insert(assignment.clone(), receipt.update) {
                    self.broken.push(format!("an update for {assignment} was accepted twice; the first was {before}"));
                }
            }
            Event::Aggregated { run, round, .. } if !self.aggregated.insert((run.clone(), *round)) => {
                self.broken.push(format!("round {round} of {run} has two aggregates in the journal"));
            }
            _ => {}
        }
    }

    fn see(&mut self, effect: &Effect) {
        if let Effect::SendAssignment(assignment) = effect {
            self.seeds.insert(assignment.id.clone(), assignment.seed);
        }
        let Effect::Announce(notice) = effect else { return };
        let (Some(run), Some(number)) = (&notice.run, notice.round) else { return };
        let Some(round) = self.federation.runs.get(run).and_then(|run| run.round(number)) else { return };
        let Some(past) = self.runs.get_mut(run) else { return };
        match notice.kind.as_str() {
            "round-committed" => {
                let committed = committed(round, notice.at);
                if committed.updates.len() < past.spec.cohort.quorum as usize {
                    self.broken.push(format!("round {number} of {run} committed with {}", committed.updates.len()));
                }
                if committed.base != past.last_model() {
                    self.broken.push(format!("round {number} of {run} started from {}", committed.base));
                }
                if past.committed.insert(number, committed).is_some() {
                    self.broken.push(format!("round {number} of {run} committed twice"));
                }
            }
            "round-abandoned" => drop(past.abandoned.insert(number, notice.text.clone())),
            _ => {}
        }
    }

    fn look_at_everything(&mut self) {
        let found = invariants::check(&self.federation);
        self.broken.extend(found.iter().map(|violation| format!("after {} entries: {violation}", self.entries)));
    }

    /// The round that has neither committed nor been abandoned; a run that goes on has one.
    pub(crate) fn open(&self, run: &RunId) -> Option<RoundNumber> {
        self.federation.runs.get(run)?.round.as_ref().map(|round| round.number)
    }

    /// Milliseconds from an instant to the next commit of any run.
    pub(crate) fn next_commit_after(&self, at_ms: u64) -> Option<u64> {
        let commits = self.runs.values().flat_map(|run| run.committed.values().map(|committed| committed.at_ms));
        commits.filter(|commit| *commit >= at_ms).min().map(|commit| commit - at_ms)
    }
}

fn committed(round: &Round, at: Timestamp) -> Committed {
    let updates = round.seats.iter().filter_map(|(worker, seat)| Some((worker.clone(), seat.receipt()?.update)));
    Committed {
        at_ms: at.0,
        base: round.base.digest,
        model: round.committed().unwrap().model,
        updates: updates.collect(),
    }
}
