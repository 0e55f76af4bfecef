//! Everything that leaves a region, in one place: [`LEAVES`] lists each message and its fields, and the functions below
//! are what makes the messages of a session. A test compares the list with the `.proto` files, so that the contract
//! cannot gain a message or a field unnoticed.

use std::collections::BTreeSet;

use polder_core::AssignmentId;
use polder_core::policy::{WorkerLoad, tidy_reason};
use polder_core::round::Evaluation;
use polder_proto::convert::{assignment_id_to_wire, evaluation_to_wire, load_to_wire};
use polder_proto::v1::worker_message::Message;
use polder_proto::{PROTOCOL_NEWEST, PROTOCOL_OLDEST, v1};

/// One kind of message that a worker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaves {
    /// Its name in the contract.
    pub message: &'static str,
    /// Its fields, by name, in the contract's order.
    pub fields: &'static [&'static str],
    /// What it says of the region.
    pub says: &'static str,
}

const fn leaves(message: &'static str, fields: &'static [&'static str], says: &'static str) -> Leaves {
    Leaves { message, fields, says }
}

/// Every message that leaves a region, those inside others included.
pub const LEAVES: &[Leaves] = &[
    leaves(
        "EnrolRequest",
        &["token_id", "secret", "certificate_request", "worker_name", "region"],
        "who wants to join, once: the token, a public key, a name and a region",
    ),
    leaves("RenewCertificateRequest", &["certificate_request"], "a new public key"),
    leaves(
        "WorkerMessage",
        &["hello", "heartbeat", "accepted", "declined", "failed", "progress", "evaluation"],
        "one of the messages of a session",
    ),
    leaves(
        "Hello",
        &["software_version", "slots", "datasets", "trainers", "holding", "load", "protocol_min", "protocol_max"],
        "what the worker offers: names of data sets and trainers, never what is in them",
    ),
    leaves("Heartbeat", &["load"], "that the worker lives"),
    leaves("MachineLoad", &["cpu_utilization", "memory_free_bytes", "gpus"], "how busy the machine is"),
    leaves(
        "Gpu",
        &["index", "name", "uuid", "memory_total_bytes", "memory_free_bytes", "utilization", "power_watts"],
        "which GPUs there are and how busy they are",
    ),
    leaves("AssignmentId", &["run", "round"], "which assignment is meant"),
    leaves("AssignmentAccepted", &["assignment"], "that an assignment was accepted"),
    leaves("AssignmentDeclined", &["assignment", "reason"], "that it was declined, and why"),
    leaves("AssignmentFailed", &["assignment", "reason"], "that it failed, and why"),
    leaves(
        "Progress",
        &["assignment", "stage", "epoch", "epochs", "fraction", "loss"],
        "how far an assignment is, with the training loss",
    ),
    leaves("EvaluationReport", &["assignment", "evaluation"], "how a model does on held-out rows"),
    leaves("Evaluation", &["examples", "loss", "accuracy"], "how many rows that were, mean loss and accuracy"),
    leaves("FetchModelRequest", &["digest", "offset"], "which model or control variate is fetched"),
    leaves("UploadStatusRequest", &["assignment", "digest"], "which update is about to be sent"),
    leaves(
        "UploadUpdateRequest",
        &["header", "data"],
        "an update as the region's release policy let it out: its header, then its parameters",
    ),
    leaves(
        "UpdateHeader",
        &[
            "assignment",
            "digest",
            "bytes",
            "offset",
            "examples",
            "loss",
            "accuracy",
            "evaluation",
            "base_loss",
            "steps",
            "normalizer",
            "learning_rate",
        ],
        "what an update says of itself: examples behind it, training loss and accuracy, evaluation and loss of its \
         start, how many steps were taken and how large",
    ),
];

pub(crate) fn hello(
    slots: u32,
    datasets: &BTreeSet<String>,
    trainers: &[&str],
    holding: &[AssignmentId],
    load: &WorkerLoad,
) -> Message {
    Message::Hello(v1::Hello {
        software_version: env!("CARGO_PKG_VERSION").into(),
        slots,
        datasets: datasets.iter().cloned().collect(),
        trainers: trainers.iter().map(ToString::to_string).collect(),
        holding: holding.iter().map(assignment_id_to_wire).collect(),
        load: Some(load_to_wire(load)),
        protocol_min: PROTOCOL_OLDEST,
        protocol_max: PROTOCOL_NEWEST,
    })
}

pub(crate) fn heartbeat(load: &WorkerLoad) -> Message {
    Message::Heartbeat(v1::Heartbeat { load: Some(load_to_wire(load)) })
}

pub(crate) fn accepted(assignment: &AssignmentId) -> Message {
    Message::Accepted(v1::AssignmentAccepted { assignment: Some(assignment_id_to_wire(assignment)) })
}

pub(crate) fn declined(assignment: &AssignmentId, reason: &str) -> Message {
    let assignment = Some(assignment_id_to_wire(assignment));
    Message::Declined(v1::AssignmentDeclined { assignment, reason: tidy_reason(reason) })
}

pub(crate) fn failed(assignment: &AssignmentId, reason: &str) -> Message {
    let assignment = Some(assignment_id_to_wire(assignment));
    Message::Failed(v1::AssignmentFailed { assignment, reason: tidy_reason(reason) })
}

pub(crate) fn evaluation(assignment: &AssignmentId, evaluation: &Evaluation) -> Message {
    let assignment = Some(assignment_id_to_wire(assignment));
    Message::Evaluation(v1::EvaluationReport { assignment, evaluation: Some(evaluation_to_wire(evaluation)) })
}

#[cfg(test)]
mod tests;
