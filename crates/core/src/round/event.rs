//! What can happen to a round, what it can ask for, and why it refuses.

use super::{AggregateReceipt, Evaluation, Seat, UpdateReceipt};
use crate::digest::Digest;
use crate::id::{RoundNumber, WorkerName};
use crate::policy::{AggregationTraits, PolicyKind, PolicyRef};

/// Everything that can happen to a round.
#[derive(Clone, Debug, PartialEq)]
pub enum RoundEvent {
    /// The scheduler looked and could not ask the placement policy yet: how many could be chosen, and why not now.
    Waited {
        candidates: u32,
        reason: String,
    },
    /// The scheduler asked the placement policy.
    PlacementAsked,
    /// The placement policy chose, and the scheduler found the choice sound.
    Placed {
        chosen: Vec<(WorkerName, Seat)>,
        /// The component that decided, by digest.
        by: Digest,
        reason: String,
    },
    /// The placement policy failed or answered nonsense.
    PlacementFailed {
        reason: String,
    },
    /// The placement policy would rather wait.
    PlacementDeclined {
        reason: String,
    },
    /// The policy that failed is followed by the one before it; by the built-in one where there is none.
    PlacementReplaced {
        reason: String,
        by: Option<PolicyRef>,
    },
    AggregationReplaced {
        reason: String,
        by: Option<(PolicyRef, AggregationTraits)>,
    },
    Accepted {
        worker: WorkerName,
    },
    Declined {
        worker: WorkerName,
        reason: String,
    },
    Failed {
        worker: WorkerName,
        reason: String,
    },
    Reported {
        worker: WorkerName,
        receipt: UpdateReceipt,
    },
    Evaluated {
        worker: WorkerName,
        evaluation: Evaluation,
    },
    Lost {
        worker: WorkerName,
        reason: String,
    },
    Returned {
        worker: WorkerName,
    },
    /// A quorum can no longer come together.
    Stranded {
        reason: String,
    },
    Aggregated {
        receipt: AggregateReceipt,
    },
    AggregationFailed {
        reason: String,
    },
    /// An update that was counted on cannot be read any more.
    UpdateLost {
        worker: WorkerName,
        reason: String,
    },
    Cancelled {
        reason: String,
    },
    TimePassed,
}

/// Everything a round can ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum RoundEffect {
    Assign {
        worker: WorkerName,
    },
    Cancel {
        worker: WorkerName,
        reason: String,
    },
    Aggregate,
    /// A policy failed and the run's last one is wanted: answered at once with `…Replaced`.
    AskPrevious {
        kind: PolicyKind,
        reason: String,
    },
    /// Worth telling people: a stable word and a sentence.
    Announce {
        worker: Option<WorkerName>,
        kind: &'static str,
        text: String,
    },
}

/// Why an event was refused; the round is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoundRefusal {
    #[error("worker `{worker}` is not in this round's cohort")]
    NotInCohort { worker: WorkerName },
    #[error("round {round} is closed: it is in phase {phase} and takes no more updates")]
    Closed { round: RoundNumber, phase: &'static str },
    #[error("worker `{worker}` has already reported in round {round}; one update a round counts")]
    AlreadyReported { worker: WorkerName, round: RoundNumber },
    #[error("worker `{worker}` gave up its seat in round {round}: {state}")]
    SeatGivenUp { worker: WorkerName, round: RoundNumber, state: &'static str },
    #[error("worker `{worker}` has answered in round {round} already")]
    NothingNew { worker: WorkerName, round: RoundNumber },
    #[error("round {round} asks for {wanted}")]
    WrongTask { round: RoundNumber, wanted: &'static str },
    /// A number that JSON cannot carry would make the journal unreadable; the policy's host lets none through.
    #[error("round {round}: {weight} is no weight; weights are finite and not negative")]
    BadWeight { round: RoundNumber, weight: String },
    #[error("round {round} does not expect this now: it is in phase {phase}")]
    WrongPhase { round: RoundNumber, phase: &'static str },
}
