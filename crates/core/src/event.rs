//! Everything that can happen. Events are facts in the past tense; the journal is a list of them.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::enrolment::{Applicant, Grant};
use crate::id::{AssignmentId, PolicyName, PolicyVersion, QuestionId, RoundNumber, RunId, TokenId, WorkerName};
use crate::policy::{AggregationTraits, PlacementAnswer, PolicyKind, PolicyRef, PolicySignature};
use crate::round::{AggregateReceipt, Evaluation, UpdateReceipt};
use crate::spec::RunSpec;
use crate::time::Timestamp;
use crate::worker::Capacity;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A coordinator process began; every stream of its predecessor is gone. Workers are expected back within `grace_ms`.
    CoordinatorStarted {
        grace_ms: u64,
    },

    TokenCreated {
        token: TokenId,
        secret_hash: String,
        grant: Grant,
        expires_at: Timestamp,
    },
    TokenRedeemed {
        token: TokenId,
        applicant: Applicant,
    },

    /// A worker's stream opened. `holding` are assignments it still has from before.
    WorkerConnected {
        worker: WorkerName,
        session: u64,
        capacity: Capacity,
        holding: Vec<AssignmentId>,
    },
    /// A worker's stream ended, or it fell silent. What it was assigned is kept for it for `grace_ms`.
    WorkerDisconnected {
        worker: WorkerName,
        session: u64,
        grace_ms: u64,
        reason: String,
    },
    WorkerDrained {
        worker: WorkerName,
        is_draining: bool,
    },

    PolicyPushed {
        name: PolicyName,
        version: PolicyVersion,
        kind: PolicyKind,
        digest: Digest,
        bytes: u64,
        signature: Option<PolicySignature>,
    },
    /// The name and version stand for nothing any more, and are not given again; runs that pinned the digest keep it.
    PolicyRemoved {
        name: PolicyName,
        version: PolicyVersion,
    },

    RunSubmitted {
        run: RunId,
        spec: Box<RunSpec>,
        /// What its aggregation policy says of itself under the run's parameters.
        #[serde(default)]
        traits: AggregationTraits,
    },
    /// From the next round on the run is decided by other policies; none leaves one as it is.
    PoliciesSet {
        run: RunId,
        placement: Option<PolicyRef>,
        aggregation: Option<(PolicyRef, AggregationTraits)>,
    },
    RunStopped {
        run: RunId,
        reason: String,
    },

    PlacementAnswered {
        question: QuestionId,
        policy: Digest,
        answer: PlacementAnswer,
    },
    PlacementFailed {
        question: QuestionId,
        reason: String,
    },

    AssignmentAccepted {
        assignment: AssignmentId,
    },
    AssignmentDeclined {
        assignment: AssignmentId,
        reason: String,
    },
    /// The trainer failed, or the worker could not do what it was asked.
    AssignmentFailed {
        assignment: AssignmentId,
        reason: String,
    },
    /// An update was checked and lies in the spool.
    UpdateReceived {
        assignment: AssignmentId,
        receipt: UpdateReceipt,
    },
    EvaluationReceived {
        assignment: AssignmentId,
        evaluation: Evaluation,
    },

    /// The new model is in the blob store.
    Aggregated {
        run: RunId,
        round: RoundNumber,
        receipt: AggregateReceipt,
    },
    /// The policy failed: it trapped, took too long, answered nonsense.
    AggregationFailed {
        run: RunId,
        round: RoundNumber,
        reason: String,
    },
    /// An update that was taken cannot be used after all: its file is gone or damaged, and there is no other copy. The rest is
    /// aggregated without it.
    UpdateLost {
        assignment: AssignmentId,
        reason: String,
    },
    /// The coordinator's own storage failed; no policy is to blame, and the round is abandoned.
    AggregationImpossible {
        run: RunId,
        round: RoundNumber,
        reason: String,
    },

    /// Nothing but time: some deadline came.
    TimePassed,
}

impl Event {
    /// A stable word for the journal's index.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CoordinatorStarted { .. } => "coordinator-started",
            Self::TokenCreated { .. } => "token-created",
            Self::TokenRedeemed { .. } => "token-redeemed",
            Self::WorkerConnected { .. } => "worker-connected",
            Self::WorkerDisconnected { .. } => "worker-disconnected",
            Self::WorkerDrained { .. } => "worker-drained",
            Self::PolicyPushed { .. } => "policy-pushed",
            Self::PolicyRemoved { .. } => "policy-removed",
            Self::PoliciesSet { .. } => "policies-set",
            Self::RunSubmitted { .. } => "run-submitted",
            Self::RunStopped { .. } => "run-stopped",
            Self::PlacementAnswered { .. } => "placement-answered",
            Self::PlacementFailed { .. } => "placement-failed",
            Self::AssignmentAccepted { .. } => "assignment-accepted",
            Self::AssignmentDeclined { .. } => "assignment-declined",
            Self::AssignmentFailed { .. } => "assignment-failed",
            Self::UpdateReceived { .. } => "update-received",
            Self::EvaluationReceived { .. } => "evaluation-received",
            Self::Aggregated { .. } => "aggregated",
            Self::AggregationFailed { .. } => "aggregation-failed",
            Self::UpdateLost { .. } => "update-lost",
            Self::AggregationImpossible { .. } => "aggregation-impossible",
            Self::TimePassed => "time-passed",
        }
    }
}
