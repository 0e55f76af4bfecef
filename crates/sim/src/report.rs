//! What came of a world.

use std::collections::BTreeMap;
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
    /// The journal as it was in the end: instants and events as JSON.
    pub journal: Vec<(u64, String)>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Happenings: every message, step of a process and moment.
    pub steps: u64,
    /// Events in journals.
    pub events: u64,
    pub refused: u64,
    pub messages: u64,
    /// Faults that struck, by their name and by the phases in which rounds were; `between` where none was open.
    pub struck: BTreeMap<(&'static str, &'static str), u64>,
    /// Terms of leaders after the first.
    pub takeovers: u64,
    /// The longest between a leader's last sign of life and the next one's first entry, where one could take over.
    pub takeover_ms_max: u64,
    /// Appends that the database refused, as another led.
    pub fenced: u64,
    /// Moments at which two processes believed to lead.
    pub two_believed: u64,
    /// Recoveries from a snapshot, and from the first entry on.
    pub from_snapshot: u64,
    pub from_first_entry: u64,
    pub worker_crashes: u64,
    pub coordinator_crashes: u64,
    /// Updates that workers still had after a crash.
    pub updates_kept: u64,
    /// Tokens that let somebody in, and applicants that were turned away.
    pub enrolled: u64,
    pub turned_away: u64,
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
        for (what, count) in &other.struck {
            *self.struck.entry(*what).or_insert(0) += count;
        }
        self.takeover_ms_max = self.takeover_ms_max.max(other.takeover_ms_max);
        for ((_, sum), (_, count)) in self.numbers_mut().into_iter().zip(other.clone().numbers_mut()) {
            *sum += *count;
        }
    }

    /// How often the fault of that name struck.
    #[must_use]
    pub fn of(&self, fault: &str) -> u64 {
        self.struck.iter().filter(|((name, _), _)| *name == fault).map(|(_, count)| count).sum()
    }

    /// Every sum with its name, to print.
    #[must_use]
    pub fn numbers(&self) -> Vec<(&'static str, u64)> {
        self.clone().numbers_mut().into_iter().map(|(name, count)| (name, *count)).collect()
    }

    fn numbers_mut(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![
            ("steps", &mut self.steps),
            ("events", &mut self.events),
            ("refused", &mut self.refused),
            ("messages", &mut self.messages),
            ("commits", &mut self.rounds_committed),
            ("abandoned", &mut self.rounds_abandoned),
            ("carried-over", &mut self.carried),
            ("coordinator-crashes", &mut self.coordinator_crashes),
            ("worker-crashes", &mut self.worker_crashes),
            ("updates-kept", &mut self.updates_kept),
            ("takeovers", &mut self.takeovers),
            ("fenced", &mut self.fenced),
            ("two-believed", &mut self.two_believed),
            ("from-snapshot", &mut self.from_snapshot),
            ("from-first-entry", &mut self.from_first_entry),
            ("enrolled", &mut self.enrolled),
            ("turned-away", &mut self.turned_away),
            ("policies-set", &mut self.policies_set),
            ("rolled-back", &mut self.rolled_back),
        ]
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
        write!(f, "replay: polder sim --seed {seed} --log")
    }
}

impl std::error::Error for Failure {}
