//! What came of a world.

use std::fmt;

use polder_core::{Digest, RoundNumber, RunId, WorkerName};

/// A world in which everything held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    /// Virtual milliseconds until the last run ended.
    pub ended_ms: u64,
    pub runs: Vec<RunReport>,
    pub counts: Counts,
    /// Everything that happened, in order: the same for the same seed and plan.
    pub log: Vec<String>,
}

/// One run's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    pub run: RunId,
    pub status: &'static str,
    /// The submitted model.
    pub first_model: Digest,
    pub model: Digest,
    /// Rounds that committed, with the updates that counted.
    pub commits: Vec<(RoundNumber, Vec<Counted>)>,
    /// Whether an update counted that its worker never trained.
    pub was_lied_to: bool,
}

/// An update that counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub worker: WorkerName,
    /// The round that asked for it; in a buffered run it may count in a later one.
    pub round: RoundNumber,
    /// The model it started from.
    pub base: Digest,
}

/// What a world has been through; a test that proves nothing shows here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub refused: u64,
    pub messages: u64,
    pub messages_lost: u64,
    pub messages_doubled: u64,
    pub coordinator_crashes: u64,
    pub events_lost: u64,
    pub worker_crashes: u64,
    pub partitions: u64,
    pub lies: u64,
    pub policy_faults: u64,
    /// Runs that somebody gave other policies, and policies that a run went back from.
    pub policies_set: u64,
    pub rolled_back: u64,
    /// Updates that counted in a later round than the one that asked for them.
    pub carried: u64,
    pub rounds_committed: u64,
    pub rounds_abandoned: u64,
}

impl Counts {
    /// Adds up what several worlds have been through.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.refused += other.refused;
        self.messages += other.messages;
        self.messages_lost += other.messages_lost;
        self.messages_doubled += other.messages_doubled;
        self.coordinator_crashes += other.coordinator_crashes;
        self.events_lost += other.events_lost;
        self.worker_crashes += other.worker_crashes;
        self.partitions += other.partitions;
        self.lies += other.lies;
        self.policy_faults += other.policy_faults;
        self.policies_set += other.policies_set;
        self.rolled_back += other.rolled_back;
        self.carried += other.carried;
        self.rounds_committed += other.rounds_committed;
        self.rounds_abandoned += other.rounds_abandoned;
    }
}

/// A world in which something did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub seed: u64,
    pub at_ms: u64,
    /// The name of what should always be true.
    pub invariant: &'static str,
    pub found: String,
    /// Everything that happened up to there.
    pub log: Vec<String>,
}

/// Lines of the log that a failure prints.
const LINES_SHOWN: usize = 40;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, at_ms, invariant, found, log } = self;
        writeln!(f, "seed {seed}, {at_ms} ms: \"{invariant}\" does not hold: {found}")?;
        let shown = &log[log.len().saturating_sub(LINES_SHOWN)..];
        writeln!(f, "the last {} of {} lines:", shown.len(), log.len())?;
        for line in shown {
            writeln!(f, "  {line}")?;
        }
        write!(f, "replay: POLDER_SEED={seed} cargo test -p polder-sim --test seeds -- --nocapture")
    }
}

impl std::error::Error for Failure {}
