//! One round as a value: events in, effects out. A file a phase.
//!
//! | phase | leaves when | goes to |
//! | --- | --- | --- |
//! | [`selection`] | the placement policy chose at least a quorum of workers | Configuration |
//! | [`configuration`] | every worker asked has answered, or the round can close | Reporting |
//! | [`reporting`] | enough updates are in; or nobody else will report and a quorum has; or the deadline came with a quorum | Aggregation |
//! | | the deadline came without a quorum, or a quorum became impossible | Abandoned |
//! | [`aggregation`] | the new model is stored | Committed |
//! | | a policy failed and `on_failure` leaves nobody to ask | Abandoned |
//! | [`outcome`] | Committed, Evaluated, Abandoned: the end | |
//!
//! A round of [`Task::Evaluate`] takes the same path, collects metrics instead of updates and ends as Evaluated.
//! Updates that arrive while some workers have not yet answered (Configuration) count all the same.
//!
//! [`policies`] says what a policy that fails is followed by. With `staleness_max` above 0 a round that closes does not
//! cancel whoever is still at it: [`carrying`] takes their seats over into the next one.

pub mod aggregation;
pub mod carrying;
pub mod configuration;
pub mod event;
pub mod outcome;
pub mod policies;
pub mod reporting;
pub mod seat;
pub mod seats;
pub mod selection;
pub mod standby;

use serde::{Deserialize, Serialize};

pub use aggregation::{AggregateReceipt, Kept, StateTensor};
pub use carrying::Carried;
pub use event::{RoundEffect, RoundEvent, RoundRefusal};
pub use outcome::Outcome;
pub use policies::Policies;
pub use seat::{Evaluation, Seat, SeatState, UpdateReceipt};
pub use seats::Seats;
pub use selection::Selection;

use crate::digest::Digest;
use crate::id::{RoundNumber, WorkerName};
use crate::policy::{AggregationTraits, PolicyChoice};
use crate::spec::RunSpec;
use crate::time::Timestamp;

/// Decisions of a round that are kept with their reasons.
const REASONS_MAX: usize = 1_000;

/// What a round asks of its cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Train from the global model and send the update.
    Train,
    /// Evaluate the global model on held-out rows and send metrics; the last thing a run with evaluation does.
    Evaluate,
}

/// A model of a run: versions rise by one with every committed round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    pub version: u64,
    pub digest: Digest,
    pub bytes: u64,
}

/// What the round needs to know of its run's wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Updates wanted.
    pub size: u32,
    /// Workers asked.
    pub seats: u32,
    /// Fewest updates that count.
    pub quorum: u32,
    pub selection_ms: u64,
    pub round_ms: u64,
    /// Workers that may stand in for one seat, one after the other; 0 looks for some only to save a quorum.
    pub standbys: u32,
}

impl Terms {
    /// An evaluation round wants every worker it can get, but needs only one.
    #[must_use]
    pub fn of(spec: &RunSpec, task: Task) -> Self {
        Self {
            size: match task {
                Task::Train => spec.cohort.size,
                Task::Evaluate => spec.seats(),
            },
            seats: spec.seats(),
            quorum: match task {
                Task::Train => spec.cohort.quorum,
                Task::Evaluate => 1,
            },
            selection_ms: spec.deadlines.selection_ms,
            round_ms: spec.deadlines.round_ms,
            standbys: match task {
                Task::Train => spec.cohort.standbys,
                Task::Evaluate => 0,
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    pub number: RoundNumber,
    pub task: Task,
    /// The model the cohort starts from.
    pub base: ModelVersion,
    pub opened_at: Timestamp,
    /// Set with the first assignment.
    pub deadline: Option<Timestamp>,
    /// The cohort, in the one order in which its updates are aggregated.
    pub seats: Seats,
    pub phase: Phase,
    /// Not before this is a placement policy that declined asked again, or one at all after an abandoned round.
    pub quiet_until: Option<Timestamp>,
    /// Who decides placement: the run's policy when the round opened, or what followed it after it failed.
    pub placement: PolicyChoice,
    /// The component that chose the cohort, by digest.
    pub placed_by: Option<Digest>,
    pub aggregation: PolicyChoice,
    /// What the aggregation policy says of itself.
    pub traits: AggregationTraits,
    /// SCAFFOLD's `c` as this round's cohort uses it.
    pub control_variate: Option<StateTensor>,
    /// Model versions that an update may be behind and still count; 0 cancels whoever is late.
    pub staleness_max: u32,
    /// How often in a row each of the two failed.
    placement_failures: u32,
    aggregation_failures: u32,
    /// Every decision and its reason, oldest first.
    pub reasons: Vec<String>,
}

/// What something waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// In words, without instants: whoever shows it knows in which zone.
    pub reason: String,
    pub since: Timestamp,
    /// When time ends it, if nothing else has. None where work is under way that the shell has limits for, and where only
    /// workers that come can end it.
    pub until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    Selection(Selection),
    Configuration { since: Timestamp },
    Reporting { since: Timestamp },
    Aggregation { since: Timestamp },
    Closed(Outcome),
}

impl Phase {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Selection(_) => "selection",
            Self::Configuration { .. } => "configuration",
            Self::Reporting { .. } => "reporting",
            Self::Aggregation { .. } => "aggregation",
            Self::Closed(Outcome::Committed { .. }) => "committed",
            Self::Closed(Outcome::Evaluated { .. }) => "evaluated",
            Self::Closed(Outcome::Abandoned { .. }) => "abandoned",
        }
    }
}

impl Round {
    #[must_use]
    pub fn open(number: RoundNumber, task: Task, base: ModelVersion, now: Timestamp, policies: Policies) -> Self {
        let Policies { placement, aggregation, traits, control_variate } = policies;
        Self {
            number,
            task,
            base,
            opened_at: now,
            deadline: None,
            seats: Seats::default(),
            phase: Phase::Selection(Selection::new(now)),
            quiet_until: None,
            placement: PolicyChoice::Pinned(placement),
            placed_by: None,
            aggregation: PolicyChoice::Pinned(aggregation),
            traits,
            control_variate,
            staleness_max: 0,
            placement_failures: 0,
            aggregation_failures: 0,
            reasons: Vec::new(),
        }
    }

    /// Takes one event. On refusal nothing has changed.
    pub fn apply(
        &mut self,
        now: Timestamp,
        terms: &Terms,
        event: RoundEvent,
    ) -> Result<Vec<RoundEffect>, RoundRefusal> {
        let mut effects = Vec::new();
        match event {
            RoundEvent::Waited { candidates, reason } => self.wait(now, terms, candidates, reason)?,
            RoundEvent::PlacementAsked => self.placement_asked(now)?,
            RoundEvent::Placed { chosen, by, reason } => self.place(now, terms, (chosen, by), reason, &mut effects)?,
            RoundEvent::PlacementFailed { reason } => self.placement_failed(&reason, &mut effects)?,
            RoundEvent::PlacementDeclined { reason } => self.placement_declined(now, terms, reason)?,
            RoundEvent::PlacementReplaced { reason, by } => self.replace_placement(&reason, by, &mut effects)?,
            RoundEvent::AggregationReplaced { reason, by } => self.replace_aggregation(&reason, by, &mut effects)?,
            RoundEvent::Accepted { worker } => self.accept(&worker)?,
            RoundEvent::Declined { worker, reason } => self.decline(worker, reason, &mut effects)?,
            RoundEvent::Failed { worker, reason } => self.fail(worker, reason, &mut effects)?,
            RoundEvent::Reported { worker, receipt } => self.report(now, worker, receipt, &mut effects)?,
            RoundEvent::Evaluated { worker, evaluation } => self.evaluate(now, worker, evaluation, &mut effects)?,
            RoundEvent::Lost { worker, reason } => self.lose(worker, reason, &mut effects)?,
            RoundEvent::Returned { worker } => self.take_back(worker, &mut effects)?,
            RoundEvent::Stranded { reason } => {
                self.open_phase()?;
                self.abandon(reason, &mut effects);
            }
            RoundEvent::Cancelled { reason } => {
                self.open_phase()?;
                self.cancel_active(&reason, &mut effects);
                self.abandon(reason, &mut effects);
            }
            RoundEvent::Aggregated { receipt } => self.commit(receipt, &mut effects)?,
            RoundEvent::AggregationFailed { reason } => self.aggregation_failed(&reason, &mut effects)?,
            RoundEvent::UpdateLost { worker, reason } => self.lose_update(terms, worker, &reason, &mut effects)?,
            RoundEvent::TimePassed => {}
        }
        self.expire(now, &mut effects);
        self.leave_configuration(now);
        self.close_reporting(now, terms, &mut effects);
        self.expire(now, &mut effects);
        Ok(effects)
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed(_))
    }

    /// Updates (or evaluations) that are in.
    #[must_use]
    pub fn reported(&self) -> u32 {
        self.seats.reported()
    }

    /// Seats that may still report.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.seats.active()
    }

    /// Seats of workers that went missing and may return.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.seats.lost()
    }

    /// When time alone would change something. While a placement question is under way (`is_asking`), nothing new is
    /// asked and only a deadline counts.
    #[must_use]
    pub fn next_wake(&self, terms: &Terms, is_asking: bool) -> Option<Timestamp> {
        let closing = match &self.phase {
            Phase::Selection(_) if is_asking => None,
            Phase::Selection(selection) => self.quiet_until.or_else(|| selection.window_ends(terms)),
            Phase::Configuration { .. } | Phase::Reporting { .. } => {
                // A silence that outlived the need for stand-ins must not wake anybody.
                let is_silent = !is_asking && self.open_seats(terms).is_some();
                self.deadline.into_iter().chain(self.quiet_until.filter(|_| is_silent)).min()
            }
            Phase::Aggregation { .. } | Phase::Closed(_) => None,
        };
        closing.into_iter().chain(self.next_expiry()).min()
    }

    /// Leaves a round that was just opened alone until then: the one before it was abandoned.
    pub(crate) fn rest(&mut self, until: Timestamp) {
        self.quiet_until = Some(until);
        if let Phase::Selection(selection) = &mut self.phase {
            selection.waiting_for = "a pause after the round that was abandoned".into();
        }
    }

    /// Whether a placement policy that declined is still left alone; forgets it once it is not.
    pub fn is_quiet(&mut self, now: Timestamp) -> bool {
        self.quiet_until = self.quiet_until.filter(|until| now < *until);
        self.quiet_until.is_some()
    }

    /// What the round waits for; none once it is closed.
    #[must_use]
    pub fn waits(&self, terms: &Terms) -> Option<Wait> {
        let (reason, since, until) = match &self.phase {
            Phase::Selection(selection) if self.open_seats(terms).is_some() => {
                let until = self.quiet_until.or_else(|| selection.window_ends(terms));
                // While a policy is asked, only its own limits count.
                let until = until.filter(|_| selection.asked_at.is_none());
                (selection.waiting_for.clone(), selection.asked_at.unwrap_or(selection.since), until)
            }
            // Those that were carried over fill the cohort, and their own deadlines bound it.
            Phase::Selection(selection) => (self.reporting_waits_for(terms), selection.since, self.next_expiry()),
            Phase::Configuration { since } | Phase::Reporting { since } => {
                (self.reporting_waits_for(terms), *since, self.deadline)
            }
            Phase::Aggregation { since } => (self.aggregation_waits_for(), *since, None),
            Phase::Closed(_) => return None,
        };
        Some(Wait { reason, since, until })
    }

    fn open_phase(&self) -> Result<(), RoundRefusal> {
        if self.is_open() { Ok(()) } else { Err(RoundRefusal::Closed { round: self.number, phase: self.phase.name() }) }
    }

    fn wrong_phase(&self) -> RoundRefusal {
        RoundRefusal::WrongPhase { round: self.number, phase: self.phase.name() }
    }

    fn seat(&self, worker: &WorkerName) -> Result<&Seat, RoundRefusal> {
        self.seats.get(worker).ok_or_else(|| RoundRefusal::NotInCohort { worker: worker.clone() })
    }

    /// Records a decision. A worker that comes and goes for days must not fill the memory: the first and the last are kept.
    fn note(&mut self, text: impl Into<String>) {
        if self.reasons.len() >= REASONS_MAX {
            self.reasons.remove(REASONS_MAX / 2);
        }
        self.reasons.push(text.into());
    }
}

#[cfg(test)]
mod tests;
