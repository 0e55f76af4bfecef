//! One run as a value: rounds in sequence, until enough are committed, the target is reached, or somebody stops it.

pub mod history;
pub(crate) mod models;
mod policies;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::history::History;
pub use self::models::CommittedModel;
pub use self::policies::{KeptBy, Succession};
use crate::digest::Digest;
use crate::id::{AssignmentId, RoundNumber, RunId, WorkerName};
use crate::policy::{AggregationTraits, PolicyRef};
use crate::round::{Evaluation, ModelVersion, Outcome, Phase, Policies, Round, Seat, SeatState, Task, Terms, Wait};
use crate::spec::{Metric, RunSpec};
use crate::time::Timestamp;

/// Rounds abandoned in a row after which a run fails: something is wrong that another round will not mend.
pub const ABANDONED_IN_A_ROW_MAX: u32 = 5;
/// Pause after the first abandoned round; it doubles with every further one in a row, so that what passes by itself has
/// a few seconds to pass.
pub const PAUSE_MS: u64 = 500;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub spec: RunSpec,
    pub submitted_at: Timestamp,
    pub status: RunStatus,
    /// The policies in force: the open round may still be decided by those before them.
    pub placement: PolicyRef,
    pub aggregation: PolicyRef,
    /// What the aggregation policy in force says of itself.
    pub traits: AggregationTraits,
    pub kept: Option<KeptBy>,
    /// Rounds that are over and whose updates may still be wanted, or may still come.
    pub(crate) unreleased: BTreeSet<RoundNumber>,
    /// Which policies chose cohorts, and which committed rounds with what traits.
    pub(crate) placed_by: Succession<PolicyRef>,
    pub(crate) aggregated_by: Succession<(PolicyRef, AggregationTraits)>,
    /// The newest committed model; version 0 is the submitted one.
    pub model: ModelVersion,
    /// The round under way.
    pub round: Option<Round>,
    /// Rounds that ended.
    pub history: History,
    /// The models that rounds committed and that are still kept, oldest first; the submitted one always is.
    pub models: Vec<CommittedModel>,
    /// Federated evaluation by model version: the last ones, and the best.
    pub evaluations: BTreeMap<u64, Evaluation>,
    /// The version that did best.
    pub best: Option<u64>,
    pub abandoned_in_a_row: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum RunStatus {
    Running,
    /// All it was asked for is done.
    Completed {
        at: Timestamp,
        reason: String,
    },
    /// Somebody stopped it.
    Stopped {
        at: Timestamp,
        reason: String,
    },
    /// It cannot go on.
    Failed {
        at: Timestamp,
        reason: String,
    },
}

impl RunStatus {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed { .. } => "completed",
            Self::Stopped { .. } => "stopped",
            Self::Failed { .. } => "failed",
        }
    }

    /// When and why the run ended.
    #[must_use]
    pub fn ended(&self) -> Option<(Timestamp, &str)> {
        match self {
            Self::Running => None,
            Self::Completed { at, reason } | Self::Stopped { at, reason } | Self::Failed { at, reason } => {
                Some((*at, reason))
            }
        }
    }
}

/// What follows a round that closed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// How the run ended, if it did.
    pub ended: Option<RunStatus>,
    /// Assignments that are no longer wanted, and why.
    pub cancelled: Vec<(AssignmentId, String)>,
    /// Rounds whose updates may go.
    pub released: Vec<RoundNumber>,
    /// The round that was filed.
    pub filed: Option<RoundNumber>,
    /// Models and state tensors that this run no longer needs; another may.
    pub unneeded: Vec<Digest>,
}

impl Run {
    /// A run that was just submitted, with its first round open.
    #[must_use]
    pub fn submit(id: RunId, spec: RunSpec, traits: AggregationTraits, now: Timestamp) -> Self {
        let model = ModelVersion { version: 0, digest: spec.model.digest, bytes: spec.model.bytes };
        let mut run = Self {
            id,
            placement: spec.placement.clone(),
            aggregation: spec.aggregation.clone(),
            traits,
            kept: None,
            unreleased: BTreeSet::new(),
            placed_by: Succession::default(),
            aggregated_by: Succession::default(),
            spec,
            submitted_at: now,
            status: RunStatus::Running,
            model,
            round: None,
            history: History::default(),
            models: Vec::new(),
            evaluations: BTreeMap::new(),
            best: None,
            abandoned_in_a_row: 0,
        };
        run.open_round(now, Task::Train);
        run
    }

    /// The terms of the round under way.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms::of(&self.spec, self.round.as_ref().map_or(Task::Train, |round| round.task))
    }

    #[must_use]
    pub fn rounds_committed(&self) -> u64 {
        self.model.version
    }

    /// Any round of this run that is open or remembered.
    #[must_use]
    pub fn round(&self, number: RoundNumber) -> Option<&Round> {
        let open = self.round.as_ref().filter(|round| round.number == number);
        open.or_else(|| self.history.get(number))
    }

    /// Whether there was a round `number` that is no longer remembered.
    #[must_use]
    pub fn has_forgotten(&self, number: RoundNumber) -> bool {
        (1..=self.history.forgotten().rounds).contains(&number)
    }

    /// Where the seat that `worker` was given in round `number` is now: in that round, or in one that took it over.
    #[must_use]
    pub fn seat(&self, number: RoundNumber, worker: &WorkerName) -> Option<(&Round, &Seat)> {
        let mut at = number;
        loop {
            let round = self.round(at)?;
            let seat = round.seats.get(worker).filter(|seat| round.origin(seat) == number)?;
            if seat.state != SeatState::CarriedOver {
                return Some((round, seat));
            }
            at = at.checked_add(1)?;
        }
    }

    fn open_round(&mut self, now: Timestamp, task: Task) {
        let number = self.history.closed().saturating_add(1);
        let policies = Policies {
            placement: self.placement.clone(),
            aggregation: self.aggregation.clone(),
            traits: self.traits.clone(),
            control_variate: self.control_variate(),
        };
        let mut round = Round::open(number, task, self.model.clone(), now, policies);
        if task == Task::Train {
            round.staleness_max = self.spec.cohort.staleness_max;
        }
        self.round = Some(round);
    }

    /// Files the round under way if it has closed, and decides what comes next; none if it has not.
    pub fn turn_page(&mut self, now: Timestamp) -> Option<Turn> {
        let mut closed = self.round.take_if(|round| !round.is_open())?;
        if let Some(evaluation) = closed.evaluation() {
            self.evaluated(closed.base.version, evaluation);
        }
        let (task, number) = (closed.task, closed.number);
        let mut superseded = Vec::new();
        if let Some(mut receipt) = closed.committed().cloned() {
            superseded = self.keep(&closed, &mut receipt);
            closed.phase = Phase::Closed(Outcome::Committed { receipt });
        }
        let outcome = closed.outcome().cloned();
        self.history.push(closed);
        match outcome {
            Some(Outcome::Committed { receipt }) => {
                self.abandoned_in_a_row = 0;
                let version = self.model.version + 1;
                self.commit(ModelVersion { version, digest: receipt.model, bytes: receipt.bytes }, number);
                match self.enough() {
                    Some(_) if self.spec.evaluation.is_some() => self.open_round(now, Task::Evaluate),
                    Some(reason) => self.status = RunStatus::Completed { at: now, reason },
                    None => self.open_round(now, Task::Train),
                }
            }
            Some(Outcome::Evaluated { .. }) => self.complete(now),
            Some(Outcome::Abandoned { reason }) if task == Task::Evaluate => {
                let committed = self.rounds_committed();
                let reason = format!("{committed} rounds committed; the last model was not evaluated: {reason}");
                self.status = RunStatus::Completed { at: now, reason };
            }
            Some(Outcome::Abandoned { reason }) => self.count_abandoned(now, &reason),
            None => {}
        }
        let mut turn = self.settle(now);
        turn.unneeded.extend(superseded);
        Some(turn)
    }

    /// Whoever is still at it in the round that was just filed goes on in the next one, or is told to stop.
    fn settle(&mut self, now: Timestamp) -> Turn {
        let mut turn = Turn { ended: self.status.ended().map(|_| self.status.clone()), ..Turn::default() };
        let Some(closed) = self.history.last_mut() else { return turn };
        if let Some(next) = &mut self.round {
            next.take_over(closed, now);
        }
        let left = closed.leave_behind(self.model.version).into_iter();
        turn.cancelled =
            left.map(|(worker, round, why)| (AssignmentId { run: self.id.clone(), round, worker }, why)).collect();
        let number = closed.number;
        if closed.task == Task::Train {
            self.unreleased.insert(number);
        }
        turn.filed = Some(number);
        turn.released = self.release();
        turn.unneeded = self.tidy();
        turn
    }

    /// Forgets what the run's next rounds can do without; gives models and state tensors that it no longer needs.
    fn tidy(&mut self) -> Vec<Digest> {
        let mut unneeded = self.retire();
        let seats_max = if self.status.ended().is_some() {
            unneeded.extend(self.forget_kept());
            history::SEATS_OF_ENDED_MAX
        } else {
            history::SEATS_MAX
        };
        // Where late updates come from is looked up for as long as they may count.
        self.history.forget(seats_max, self.unreleased.first().copied());
        unneeded
    }

    /// Rounds whose updates nobody needs any more; said once.
    fn release(&mut self) -> Vec<RoundNumber> {
        let is_wanted = |number: RoundNumber| {
            let wants =
                |round: &Round| round.seats.values().any(|seat| round.origin(seat) == number && !seat.is_spent());
            self.round.as_ref().is_some_and(wants)
        };
        let released: Vec<RoundNumber> = self.unreleased.iter().copied().filter(|number| !is_wanted(*number)).collect();
        self.unreleased.retain(|number| !released.contains(number));
        released
    }

    fn complete(&mut self, now: Timestamp) {
        let reason = self.enough().unwrap_or_else(|| format!("{} rounds committed", self.rounds_committed()));
        self.status = RunStatus::Completed { at: now, reason };
    }

    fn count_abandoned(&mut self, now: Timestamp, reason: &str) {
        self.abandoned_in_a_row += 1;
        if self.abandoned_in_a_row >= ABANDONED_IN_A_ROW_MAX {
            let reason = format!("{ABANDONED_IN_A_ROW_MAX} rounds in a row were abandoned, the last because {reason}");
            self.status = RunStatus::Failed { at: now, reason };
        } else {
            self.open_round(now, Task::Train);
            let pause_ms = PAUSE_MS << (self.abandoned_in_a_row - 1);
            if let Some(round) = &mut self.round {
                round.rest(now.plus_ms(pause_ms));
            }
        }
    }

    /// Why no further training round is needed, if none is.
    fn enough(&self) -> Option<String> {
        if self.rounds_committed() >= u64::from(self.spec.rounds) {
            return Some(format!("{} rounds committed", self.rounds_committed()));
        }
        let target = self.spec.target?;
        let (version, evaluation) = self.evaluations.last_key_value()?;
        let (name, found, is_reached) = match target.metric {
            Metric::Accuracy => ("accuracy", evaluation.accuracy, evaluation.accuracy >= target.value),
            Metric::Loss => ("loss", evaluation.loss, evaluation.loss <= target.value),
        };
        is_reached.then(|| format!("model version {version} reached the target: {name} {found:.4}"))
    }

    /// Ends the run as stopped; the round under way must have been cancelled before.
    pub fn stop(&mut self, now: Timestamp, reason: String) -> Turn {
        let mut turn = Turn::default();
        if let Some(round) = self.round.take() {
            turn.filed = Some(round.number);
            self.unreleased.insert(round.number);
            self.history.push(round);
        }
        self.status = RunStatus::Stopped { at: now, reason };
        turn.ended = Some(self.status.clone());
        turn.released = self.release();
        turn.unneeded = self.tidy();
        turn
    }

    /// What the run waits for; none once it ended.
    #[must_use]
    pub fn waits(&self) -> Option<Wait> {
        self.round.as_ref().and_then(|round| round.waits(&self.terms()))
    }

    /// The same, in words alone.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        self.waits().map(|wait| wait.reason)
    }

    /// Whether any seat of the run's open round is in selection.
    #[must_use]
    pub fn is_selecting(&self) -> bool {
        self.round.as_ref().is_some_and(|round| matches!(round.phase, Phase::Selection(_)))
    }
}

#[cfg(test)]
mod tests;
