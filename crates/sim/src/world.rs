//! One world: a coordinator, workers, a network between them, and what goes wrong.
//!
//! | file | what |
//! | --- | --- |
//! | [`setup`] | who is there and what they want, from the seed |
//! | [`coordinator`] | a process: follows, leads, stands still, dies, recovers |
//! | [`term`] | the driver's discipline: apply, append, act, answer; and where it can crash |
//! | [`database`] | what all coordinators share: a lease, one journal, snapshots |
//! | [`streams`] | what comes in from workers, straight or passed on; the spool |
//! | [`worker`] | a worker: dials, trains, keeps its update until it is answered |
//! | [`network`] | messages: lost, late, doubled, out of order; regions cut off |
//! | [`policies`] | what policies answer, right and wrong |
//! | [`enrolment`] | tokens, used rightly and wrongly |
//! | [`liars`] | workers that lie |
//! | [`faults`] | what breaks, and how it mends |

mod coordinator;
mod database;
mod enrolment;
mod faults;
mod liars;
mod network;
mod policies;
mod setup;
mod streams;
mod term;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use polder_core::invariants::Violation;
use polder_core::spec::RunSpec;
use polder_core::{AssignmentId, Digest, RunId};

use self::coordinator::Coordinator;
use self::database::Database;
use self::network::Network;
use self::streams::Stored;
use self::worker::Worker;
use crate::dice::Dice;
use crate::history::History;
use crate::message::Happening;
use crate::plan::{Faults, Plan};
use crate::queue::Queue;
use crate::report::{Counts, Failure, Report};

/// From the end of the faults to the time by which all of them are forgotten: leases, restarts, late messages, lost
/// workers.
const SETTLE_MS: u64 = 10_000;

pub(crate) struct World {
    seed: u64,
    plan: Plan,
    /// What can go wrong in this world, now.
    faults: Faults,
    dice: Dice,
    queue: Queue,
    /// Virtual milliseconds since the world began.
    now: u64,
    workers: Vec<Worker>,
    regions: usize,
    /// How long an assignment is kept for a worker whose stream broke, and for all of them after a restart.
    grace_ms: u64,
    /// How long a lease holds.
    ttl_ms: u64,
    /// Entries between two snapshots.
    snapshot_every: usize,
    /// Until when policies decline whatever they are asked.
    declining_until: u64,
    runs: Vec<(RunId, RunSpec)>,
    coordinators: Vec<Coordinator>,
    database: Database,
    /// Updates that were uploaded, and models and state tensors that aggregation stored.
    spool: BTreeMap<(AssignmentId, Digest), Stored>,
    models: BTreeSet<Digest>,
    network: Network,
    tokens_made: u32,
    /// Whether the plan's one crash has been.
    has_crashed: bool,
    history: History,
    counts: Counts,
    log: Vec<String>,
}

impl World {
    /// Lives until every run has ended, or until something does not hold.
    pub(crate) fn live(mut self) -> Result<Report, Failure> {
        match self.live_on() {
            Ok(()) => Ok(self.report()),
            Err(Violation { invariant, found }) => {
                Err(Failure { seed: self.seed, at_ms: self.now, invariant, found, log: self.log })
            }
        }
    }

    fn live_on(&mut self) -> Result<(), Violation> {
        let patience = self.patience_ms();
        while !self.all_runs_ended() {
            let Some((at_ms, happening)) = self.queue.pop() else {
                return Err(self.stuck("nothing is left to happen"));
            };
            self.now = at_ms;
            self.counts.steps += 1;
            if at_ms > patience {
                return Err(self.stuck("too late"));
            }
            self.happen(happening)?;
        }
        self.history.nothing_is_lost(|id| self.spool.contains_key(id))
    }

    /// The longest that all runs can take, one after another, once the faults have stopped and were forgotten.
    fn patience_ms(&self) -> u64 {
        let rounds_ms = |spec: &RunSpec| {
            let round = spec.deadlines.selection_ms + spec.deadlines.round_ms + 1_000;
            round * (u64::from(spec.rounds) + 2)
        };
        self.plan.faults_ms + SETTLE_MS + self.runs.iter().map(|(_, spec)| rounds_ms(spec)).sum::<u64>()
    }

    fn all_runs_ended(&self) -> bool {
        let runs = &self.history.federation.runs;
        runs.len() == self.runs.len() && runs.values().all(|run| run.status.ended().is_some())
    }

    fn stuck(&self, how: &str) -> Violation {
        let runs = self.history.federation.runs.values();
        let waiting = runs.map(|run| format!("{} is {}: {:?}", run.id, run.status.name(), run.waiting_for()));
        let found = format!("{how}; {}", waiting.collect::<Vec<_>>().join("; "));
        Violation { invariant: "every run ends once faults have stopped", found }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::ToCoordinator { from, via, stream, message } => self.hear(from, via, stream, message),
            Happening::Process { who, boot, step } => return self.process(who, boot, step),
            Happening::AtDatabase(append) => return self.at_database(&append),
            Happening::CoordinatorStarts { who } => self.start_coordinator(who),
            Happening::ToWorker { to, via, stream, message } => self.worker_hears(to, via, stream, message),
            Happening::WorkerStarts { worker } => self.start_worker(worker),
            Happening::LinkGone { worker, boot, stream } => self.link_gone(worker, boot, stream),
            Happening::Dial { worker, boot } => self.dial(worker, boot),
            Happening::TrainingDone { worker, boot, assignment } => self.training_done(worker, boot, &assignment),
            Happening::Resend { worker, boot, assignment } => self.resend(worker, boot, &assignment),
            Happening::Submit { run } => self.submit(run),
            Happening::Redeem { token, key, worker, region } => self.redeem(token, key, &worker, region),
            Happening::FaultDue => self.break_something(),
            Happening::RegionHeals { region } => self.heal(region),
            Happening::FaultsStop => self.stop_faults(),
        }
        Ok(())
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.queue.push(self.now + ms, happening);
    }

    fn note(&mut self, line: impl AsRef<str>) {
        self.log.push(format!("{:>6} {}", self.now, line.as_ref()));
    }

    fn report(mut self) -> Report {
        self.history.count(&mut self.counts);
        let runs = self.history.reports();
        let journal = self.database.journal.into_iter().map(|(at, text)| (at.0, text)).collect();
        Report { seed: self.seed, ended_ms: self.now, runs, counts: self.counts, log: self.log, journal }
    }
}
