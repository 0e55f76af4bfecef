//! What is always true, one named predicate each: the simulation checks all of it after every event, the coordinator
//! checks the run an event touched and counts what it finds.

use std::collections::BTreeSet;
use std::fmt;

use crate::federation::Federation;
use crate::round::{Phase, Round, SeatState, Selection};
use crate::run::history::ROUNDS_MAX;
use crate::run::models::EVALUATIONS_MAX;
use crate::run::{ABANDONED_IN_A_ROW_MAX, Run, RunStatus};
use crate::spec::STALENESS_MAX;

/// A broken invariant: a bug of ours, never a peer's doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.found)
    }
}

type Predicate = fn(&Run) -> Result<(), String>;
type PredicateOfAll = fn(&Federation) -> Result<(), String>;

/// The invariants of one run, by name.
pub const OF_A_RUN: &[(&str, Predicate)] = &[
    ("every counted update came from the cohort", counted_updates_came_from_the_cohort),
    ("no update counts twice", no_update_counts_twice),
    ("a commit had quorum", a_commit_had_quorum),
    ("a round commits at most once, and the model version grows by one per commit", version_grows_by_one_per_commit),
    ("an abandoned round leaves the model alone", rounds_start_from_the_newest_model),
    ("an update that was carried over counts in one round and is not too stale", carried_updates_count_once),
    ("nobody is at work for a round that takes no more updates", nobody_works_for_nothing),
    ("every round ends", every_round_has_an_end_in_sight),
    ("a run that ended has no open round", ended_means_ended),
    ("no model is let go that somebody may start from", needed_models_are_kept),
    ("what a run remembers is bounded", memory_is_bounded),
];

/// The invariants of runs and workers together, by name.
pub const OF_A_FEDERATION: &[(&str, PredicateOfAll)] = &[
    ("capacity is never overcommitted", capacity_is_never_overcommitted),
    ("a lost worker holds no seat", lost_workers_hold_no_seat),
    ("the scheduler has looked at every round that waits", no_round_is_forgotten),
];

/// Everything, over all runs and workers.
#[must_use]
pub fn check(federation: &Federation) -> Vec<Violation> {
    let mut found: Vec<Violation> = federation.runs.values().flat_map(check_run).collect();
    for (invariant, predicate) in OF_A_FEDERATION {
        found.extend(predicate(federation).err().map(|found| Violation { invariant, found }));
    }
    found
}

/// The invariants of one run.
#[must_use]
pub fn check_run(run: &Run) -> Vec<Violation> {
    let broken = |(invariant, predicate): &(&'static str, Predicate)| {
        let found = predicate(run).err()?;
        Some(Violation { invariant, found: format!("run {}: {found}", run.id) })
    };
    OF_A_RUN.iter().filter_map(broken).collect()
}

fn counted_updates_came_from_the_cohort(run: &Run) -> Result<(), String> {
    for round in &run.history {
        let Some(receipt) = round.committed() else { continue };
        let reported = round.seats.values().filter(|seat| seat.receipt().is_some()).count();
        if receipt.weights.len() != reported {
            return Err(format!("round {} counted {} of {reported} updates", round.number, receipt.weights.len()));
        }
    }
    Ok(())
}

fn no_update_counts_twice(run: &Run) -> Result<(), String> {
    let mut numbers: Vec<_> = run.history.iter().chain(&run.round).map(|round| round.number).collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() == all { Ok(()) } else { Err("two rounds have one number, so an update may count in both".into()) }
}

fn a_commit_had_quorum(run: &Run) -> Result<(), String> {
    let quorum = run.spec.cohort.quorum;
    let short = run.history.iter().find(|round| round.committed().is_some() && round.reported() < quorum);
    short.map_or(Ok(()), |round| Err(format!("round {} committed with {} of {quorum}", round.number, round.reported())))
}

fn version_grows_by_one_per_commit(run: &Run) -> Result<(), String> {
    let remembered = run.history.iter().filter(|round| round.committed().is_some()).count() as u64;
    let commits = run.history.forgotten().committed + remembered;
    if run.model.version == commits {
        Ok(())
    } else {
        Err(format!("version {} after {commits} commits", run.model.version))
    }
}

fn rounds_start_from_the_newest_model(run: &Run) -> Result<(), String> {
    let mut expected = (0, run.spec.model.digest);
    let forgotten = run.history.forgotten();
    if let Some(first) = run.history.first().filter(|_| forgotten.rounds > 0) {
        expected = (forgotten.committed, first.base.digest);
    }
    for round in run.history.iter().chain(&run.round) {
        if (round.base.version, round.base.digest) != expected {
            return Err(format!("round {} started from version {}", round.number, round.base.version));
        }
        if let Some(receipt) = round.committed() {
            expected = (expected.0 + 1, receipt.model);
        }
    }
    Ok(())
}

fn carried_updates_count_once(run: &Run) -> Result<(), String> {
    let mut counted = BTreeSet::new();
    for round in run.history.iter().chain(&run.round) {
        for (worker, seat) in round.seats.iter().filter(|(_, seat)| seat.carried.is_some()) {
            let (origin, staleness) = (round.origin(seat), round.staleness(seat));
            if staleness > round.staleness_max {
                return Err(format!("round {}: the seat of {worker} is {staleness} versions behind", round.number));
            }
            let was_carried = run.round(origin).and_then(|origin| origin.seats.get(worker));
            let is_remembered = !run.has_forgotten(origin);
            if is_remembered && was_carried.is_none_or(|seat| seat.state != SeatState::CarriedOver) {
                return Err(format!("round {}: round {origin} did not carry {worker} over", round.number));
            }
            if seat.update().is_some() && !counted.insert((origin, worker)) {
                return Err(format!("the update of {worker} for round {origin} counts twice"));
            }
        }
    }
    Ok(())
}

fn nobody_works_for_nothing(run: &Run) -> Result<(), String> {
    let takes_updates = |round: &&Round| match round.phase {
        Phase::Configuration { .. } | Phase::Reporting { .. } => true,
        // Those that were carried over, and those that may be.
        Phase::Selection(_) => round.seats.values().all(|seat| seat.carried.is_some()),
        Phase::Aggregation { .. } => round.staleness_max > 0,
        Phase::Closed(_) => false,
    };
    let mut others = run.history.iter().chain(&run.round).filter(|round| !takes_updates(round));
    others.find(|round| round.active() > 0).map_or(Ok(()), |round| {
        Err(format!("round {} is {} and {} are at work for it", round.number, round.phase.name(), round.active()))
    })
}

fn every_round_has_an_end_in_sight(run: &Run) -> Result<(), String> {
    let Some(round) = &run.round else { return Ok(()) };
    match &round.phase {
        Phase::Configuration { .. } | Phase::Reporting { .. } if round.deadline.is_none() => {
            Err(format!("round {} has no deadline", round.number))
        }
        Phase::Closed(_) => Err(format!("round {} is closed but was not filed", round.number)),
        _ if round.waits(&run.terms()).is_none_or(|wait| wait.reason.is_empty()) => {
            Err(format!("round {} waits without a reason", round.number))
        }
        _ => Ok(()),
    }
}

fn ended_means_ended(run: &Run) -> Result<(), String> {
    match (&run.status, &run.round) {
        (RunStatus::Running, None) => Err("it runs without a round".into()),
        (RunStatus::Running, Some(_)) | (_, None) => Ok(()),
        (status, Some(round)) => Err(format!("it is {} and round {} is open", status.name(), round.number)),
    }
}

fn needed_models_are_kept(run: &Run) -> Result<(), String> {
    let open = run.round.as_ref().map(|round| round.base.version);
    let late = run.round.iter().flat_map(|round| round.seats.values()).filter_map(|seat| seat.carried);
    let mut needed = [Some(0), Some(run.model.version), run.best, open].into_iter().flatten();
    let lost = needed.find(|version| !run.keeps(*version));
    let lost = lost.or_else(|| late.map(|carried| carried.version).find(|version| !run.keeps(*version)));
    lost.map_or(Ok(()), |version| Err(format!("version {version} is gone")))
}

fn memory_is_bounded(run: &Run) -> Result<(), String> {
    // One more of each is the last round, and what is wanted of it.
    let late_max = (STALENESS_MAX as usize + 1) * ABANDONED_IN_A_ROW_MAX as usize;
    for (what, found, max) in [
        ("rounds", run.history.len(), ROUNDS_MAX + late_max),
        ("evaluations", run.evaluations.len(), EVALUATIONS_MAX + 1),
        ("models", run.models.len(), run.spec.retention.models as usize + late_max + 3),
    ] {
        if found > max {
            return Err(format!("it remembers {found} {what}, more than {max}"));
        }
    }
    Ok(())
}

fn capacity_is_never_overcommitted(federation: &Federation) -> Result<(), String> {
    for (worker, taken) in federation.slots_taken() {
        let slots = federation.workers.get(&worker).map_or(0, crate::worker::Worker::slots);
        if taken > slots {
            return Err(format!("worker {worker} has {taken} assignments and {slots} slots"));
        }
    }
    Ok(())
}

fn lost_workers_hold_no_seat(federation: &Federation) -> Result<(), String> {
    for (worker, taken) in federation.slots_taken() {
        if federation.workers.get(&worker).is_none_or(|known| !known.is_expected()) {
            return Err(format!("worker {worker} is not expected back and has {taken} assignments"));
        }
    }
    Ok(())
}

/// A round that was just opened waits for the scheduler; it must not do so when the event is over, or nothing may ever
/// wake it.
fn no_round_is_forgotten(federation: &Federation) -> Result<(), String> {
    let is_new = |run: &&Run| match run.round.as_ref().map(|round| &round.phase) {
        Some(Phase::Selection(_)) => run.waiting_for().is_some_and(|reason| reason == Selection::UNSEEN),
        _ => false,
    };
    match federation.runs.values().find(is_new) {
        Some(run) if !federation.is_asking() => Err(format!("run {} waits for the scheduler, which is idle", run.id)),
        _ => Ok(()),
    }
}
