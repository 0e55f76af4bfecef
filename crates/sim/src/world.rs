//! One world: a coordinator, workers, a network between them, and what goes wrong.
//!
//! | file | what |
//! | --- | --- |
//! | [`setup`] | who is there and what they want, from the seed |
//! | [`coordinator`] | the driver's discipline: apply, append, act, answer; and where it can crash |
//! | [`worker`] | a worker: dials, trains, keeps its update until it is answered |
//! | [`network`] | messages: lost, late, doubled, out of order; regions cut off |
//! | [`policies`] | what policies answer, right and wrong |
//! | [`faults`] | what breaks, and how it mends |

mod coordinator;
mod faults;
mod network;
mod policies;
mod setup;
mod worker;

use polder_core::invariants::Violation;
use polder_core::spec::RunSpec;
use polder_core::{RunId, Timestamp};

use self::coordinator::Coordinator;
use self::network::Network;
use self::worker::Worker;
use crate::dice::Dice;
use crate::history::History;
use crate::message::Happening;
use crate::plan::{Faults, Plan};
use crate::queue::Queue;
use crate::report::{Counted, Counts, Failure, Report, RunReport};

/// From the end of the faults to the time by which all of them are forgotten: restarts, late messages, lost workers.
const SETTLE_MS: u64 = 6_000;

pub(crate) struct World {
    seed: u64,
    plan: Plan,
    /// What can go wrong in this world, now.
    faults: Faults,
    dice: Dice,
    queue: Queue,
    now: Timestamp,
    workers: Vec<Worker>,
    regions: usize,
    /// How long an assignment is kept for a worker whose stream broke, and for all of them after a restart.
    grace_ms: u64,
    /// Until when policies decline whatever they are asked.
    declining_until: Timestamp,
    runs: Vec<(RunId, RunSpec)>,
    coordinator: Coordinator,
    network: Network,
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
                Err(Failure { seed: self.seed, at_ms: self.now.0, invariant, found, log: self.log })
            }
        }
    }

    fn live_on(&mut self) -> Result<(), Violation> {
        let patience = self.patience_ms();
        while !self.all_runs_ended() {
            let Some((at_ms, happening)) = self.queue.pop() else {
                return Err(self.stuck("nothing is left to happen"));
            };
            self.now = Timestamp(at_ms);
            if at_ms > patience {
                return Err(self.stuck("too late"));
            }
            self.happen(happening)?;
        }
        Ok(())
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
        let runs = &self.coordinator.federation.runs;
        runs.len() == self.runs.len() && runs.values().all(|run| run.status.ended().is_some())
    }

    fn stuck(&self, how: &str) -> Violation {
        let federation = &self.coordinator.federation;
        let waiting =
            federation.runs.values().map(|run| format!("{} is {}: {:?}", run.id, run.status.name(), run.waiting_for()));
        let found = format!("{how}; {}", waiting.collect::<Vec<_>>().join("; "));
        Violation { invariant: "every run ends once faults have stopped", found }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::ToCoordinator { from, session, message } => self.hear(from, session, message),
            Happening::Answered { boot, event } => self.answered(boot, *event),
            Happening::Turn { boot } => return self.turn(boot),
            Happening::Wake { boot } => self.wake(boot),
            Happening::CoordinatorStarts => return self.start_coordinator(),
            Happening::StreamGone { boot, worker, session } => self.stream_gone(boot, worker, session),
            Happening::ToWorker { to, session, message } => self.worker_hears(to, session, message),
            Happening::WorkerStarts { worker } => self.start_worker(worker),
            Happening::LinkGone { worker, boot, session } => self.link_gone(worker, boot, session),
            Happening::Dial { worker, boot } => self.dial(worker, boot),
            Happening::TrainingDone { worker, boot, assignment } => self.training_done(worker, boot, &assignment),
            Happening::Resend { worker, boot, assignment } => self.resend(worker, boot, &assignment),
            Happening::Submit { run } => self.submit(run),
            Happening::FaultDue => self.break_something(),
            Happening::RegionHeals { region } => self.heal(region),
            Happening::FaultsStop => self.stop_faults(),
        }
        Ok(())
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.queue.push(self.now.0 + ms, happening);
    }

    fn note(&mut self, line: impl AsRef<str>) {
        self.log.push(format!("{:>6} {}", self.now.0, line.as_ref()));
    }

    fn report(self) -> Report {
        let runs = self.coordinator.federation.runs.values().map(|run| {
            let committed = run.history.iter().filter(|round| round.phase.name() == "committed");
            let commits = committed.map(|round| {
                let seats = round.seats.iter().filter(|(_, seat)| seat.receipt().is_some());
                let counted = seats.filter_map(|(worker, seat)| {
                    let origin = run.round(round.origin(seat))?;
                    Some(Counted { worker: worker.clone(), round: origin.number, base: origin.base.digest })
                });
                (round.number, counted.collect())
            });
            RunReport {
                run: run.id.clone(),
                status: run.status.name(),
                first_model: run.spec.model.digest,
                model: run.model.digest,
                commits: commits.collect(),
                was_lied_to: self.coordinator.lied_to.contains(&run.id),
            }
        });
        let mut counts = self.counts;
        for run in self.coordinator.federation.runs.values() {
            counts.rounds_committed += run.rounds_committed();
            let seats = run.history.iter().flat_map(|round| round.seats.values());
            counts.carried += seats.filter(|seat| seat.carried.is_some() && seat.receipt().is_some()).count() as u64;
            let is_abandoned = |round: &&polder_core::round::Round| round.phase.name() == "abandoned";
            counts.rounds_abandoned += run.history.iter().filter(is_abandoned).count() as u64;
        }
        Report { seed: self.seed, ended_ms: self.now.0, runs: runs.collect(), counts, log: self.log }
    }
}
