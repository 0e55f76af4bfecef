//! Why an event was refused.

use crate::digest::Digest;
use crate::enrolment::EnrolmentRefusal;
use crate::id::{AssignmentId, PolicyId, QuestionId, RoundNumber, RunId, TokenId, WorkerName};
use crate::round::RoundRefusal;
use crate::spec::SpecError;

/// Why an event was refused; the federation is as it was. [`Refusal::code`] is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("run `{run}` is not known here; `polder run list` shows those that are")]
    UnknownRun { run: RunId },
    #[error("run `{run}` exists already")]
    RunExists { run: RunId },
    #[error("run `{run}` has ended: it is {status}")]
    RunEnded { run: RunId, status: &'static str },
    #[error("run `{run}` has no round {round}")]
    UnknownRound { run: RunId, round: RoundNumber },
    #[error("round {round} of run `{run}` is closed: it was {phase}")]
    RoundClosed { run: RunId, round: RoundNumber, phase: &'static str },
    #[error(transparent)]
    Round(#[from] RoundRefusal),
    #[error("worker `{worker}` is not enrolled here; ask for a token (`polder token create --region R`)")]
    UnknownWorker { worker: WorkerName },
    #[error("worker `{worker}` offers something impossible: {problem}")]
    Capacity { worker: WorkerName, problem: String },
    #[error("worker `{worker}` has connected anew; what its old stream says no longer counts")]
    StaleSession { worker: WorkerName },
    #[error("question {question} is not the one under way")]
    StaleQuestion { question: QuestionId },
    #[error(transparent)]
    Enrolment(#[from] EnrolmentRefusal),
    #[error("token `{token}` exists already")]
    TokenExists { token: TokenId },
    #[error("the run cannot be accepted: {0}")]
    Spec(#[from] SpecError),
    #[error("`{policy}` is {digest} and stays so, {pushed} cannot take its place; push it under another version")]
    PolicyExists { policy: PolicyId, digest: Digest, pushed: Digest },
    #[error("`{policy}` was removed, and a name and version are never given again; push it under another version")]
    PolicyRemoved { policy: PolicyId },
    #[error("policy `{policy}` is not known here; `polder policy list` shows those that are")]
    UnknownPolicy { policy: PolicyId },
    #[error("{policy} cannot aggregate this run: {problem}")]
    Unfit { policy: String, problem: String },
    #[error("assignment {assignment}: the worker's report is impossible: {problem}")]
    Report { assignment: AssignmentId, problem: String },
}

impl Refusal {
    /// A stable word for clients and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownRun { .. } => "unknown_run",
            Self::RunExists { .. } => "run_exists",
            Self::RunEnded { .. } => "run_ended",
            Self::UnknownRound { .. } => "unknown_round",
            Self::RoundClosed { .. } | Self::Round(RoundRefusal::Closed { .. } | RoundRefusal::WrongPhase { .. }) => {
                "round_closed"
            }
            Self::Round(RoundRefusal::NotInCohort { .. }) => "not_in_cohort",
            Self::Round(RoundRefusal::AlreadyReported { .. }) => "duplicate_update",
            Self::Round(RoundRefusal::SeatGivenUp { .. }) => "seat_given_up",
            Self::Round(RoundRefusal::WrongTask { .. }) => "wrong_task",
            Self::Round(RoundRefusal::NothingNew { .. }) => "nothing_new",
            Self::Round(RoundRefusal::BadWeight { .. }) => "bad_weight",
            Self::UnknownWorker { .. } => "unknown_worker",
            Self::Capacity { .. } => "bad_capacity",
            Self::StaleSession { .. } => "stale_session",
            Self::StaleQuestion { .. } => "stale_question",
            Self::Enrolment(_) => "enrolment_refused",
            Self::TokenExists { .. } => "token_exists",
            Self::Spec(_) => "bad_spec",
            Self::PolicyExists { .. } => "policy_exists",
            Self::PolicyRemoved { .. } => "policy_removed",
            Self::UnknownPolicy { .. } => "unknown_policy",
            Self::Unfit { .. } => "unfit_policy",
            Self::Report { .. } => "bad_report",
        }
    }
}
