//! Everything the core can ask for. Each effect names what it is for, so that doing one twice is harmless.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{AssignmentId, QuestionId, RoundNumber, RunId, WorkerName};
use crate::policy::{PlacementQuestion, PolicyChoice, PolicyRef, TrainingNeeds, UpdateSummary};
use crate::round::{Kept, StateTensor, Task};
use crate::spec::TrainerSpec;
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
pub enum Effect {
    /// Ask, and answer with `PlacementAnswered` or `PlacementFailed`. The question's loads are empty: the shell fills in
    /// what the workers last reported.
    AskPlacement { question: QuestionId, policy: PolicyChoice, ask: PlacementQuestion },
    /// Send on the worker's stream, if it is open; a worker that already has it ignores it.
    SendAssignment(Box<Assignment>),
    /// Tell the worker that its assignment is no longer wanted.
    CancelAssignment { assignment: AssignmentId, reason: String },
    /// Aggregate, and answer with `Aggregated`, `AggregationFailed`, `UpdateLost` or `AggregationImpossible`.
    Aggregate(Box<AggregationTask>),
    /// The round is over, and no seat it gave is still open: its spooled updates may go.
    ReleaseSpool { run: RunId, round: RoundNumber },
    /// A round closed and will not change any more: file it where it outlives the run's memory.
    ArchiveRound { run: RunId, round: RoundNumber },
    /// No run and no policy refers to these any more, nor will one by itself.
    RemoveBlobs { run: RunId, digests: Vec<Digest> },
    /// Worth telling people.
    Announce(Notice),
}

/// What one worker is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub id: AssignmentId,
    pub task: Task,
    /// The global model to start from.
    pub model: Digest,
    pub model_bytes: u64,
    pub model_version: u64,
    pub dataset: String,
    pub trainer: TrainerSpec,
    /// Share of rows kept for evaluation, 0 for none; the rows themselves are chosen by `holdout_seed`, the same in every round.
    pub holdout: f64,
    pub holdout_seed: u64,
    /// Seed for this worker in this round.
    pub seed: u64,
    pub gpu: Option<u32>,
    pub deadline: Timestamp,
    /// Workers chosen for the round so far, this one included.
    pub cohort: u32,
    pub quorum: u32,
    /// The policy that will aggregate; the region may decline it.
    pub aggregation: PolicyRef,
    /// What that policy wants of local training.
    pub training: TrainingNeeds,
    /// SCAFFOLD's `c`, if `training` asks for it; none while it is all zero.
    pub control_variate: Option<StateTensor>,
}

/// One round's updates, in the one order in which they are summed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregationTask {
    pub run: RunId,
    pub round: RoundNumber,
    pub policy: PolicyChoice,
    pub model: Digest,
    pub parameters: u64,
    pub seed: u64,
    /// Workers that have the run's data set, taking part or not.
    pub population: u32,
    pub inputs: Vec<AggregationInput>,
    /// What the policy kept from its last round in this run.
    pub kept: Kept,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregationInput {
    pub worker: WorkerName,
    /// The round that assigned it, under which it lies in the spool; an earlier one in a buffered run.
    pub round: RoundNumber,
    pub update: Digest,
    pub summary: UpdateSummary,
}

/// A line for `run log` and `run watch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<RoundNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerName>,
    /// A stable word, e.g. `round-committed`.
    pub kind: String,
    pub text: String,
}
