//! Refusals on the wire: a gRPC code, a sentence for people, and a stable word in the `polder-refusal` header.

use polder_core::federation::Refusal;
use tonic::{Code, Status};

/// Metadata key of a refusal's stable word.
const REFUSAL: &str = "polder-refusal";

/// The status for what the core refused.
#[must_use]
pub fn refused(refusal: &Refusal) -> Status {
    let code = match refusal.code() {
        "unknown_run" | "unknown_round" | "unknown_worker" | "unknown_policy" => Code::NotFound,
        "run_exists" | "token_exists" | "duplicate_update" | "policy_exists" | "policy_removed" => Code::AlreadyExists,
        "bad_spec" | "bad_capacity" | "bad_report" | "wrong_task" | "unfit_policy" => Code::InvalidArgument,
        "enrolment_refused" | "not_in_cohort" => Code::PermissionDenied,
        _ => Code::FailedPrecondition,
    };
    unwelcome(code, refusal.code(), refusal.to_string())
}

/// A status with a stable word.
#[must_use]
pub fn unwelcome(code: Code, word: &'static str, text: impl Into<String>) -> Status {
    let mut status = Status::new(code, text);
    status.metadata_mut().insert(REFUSAL, tonic::metadata::MetadataValue::from_static(word));
    status
}

/// The stable word of a status, if it has one.
#[must_use]
pub fn refusal_word(status: &Status) -> Option<&str> {
    status.metadata().get(REFUSAL)?.to_str().ok()
}
