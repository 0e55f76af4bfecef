//! The coordinator's end of a worker's stream, as a test holds it.

use polder_proto::v1;
use polder_proto::v1::coordinator_message::Message as ToWorker;
use polder_proto::v1::worker_message::Message as FromWorker;
use polder_tensor::Parameters;
use serde_json::Value;
use tokio::sync::mpsc;
use tonic::Status;

use super::soon;

pub(crate) struct Session {
    pub(crate) hello: v1::Hello,
    /// Everything but heartbeats and progress.
    pub(crate) inbox: mpsc::UnboundedReceiver<FromWorker>,
    pub(crate) outbox: mpsc::UnboundedSender<Result<v1::CoordinatorMessage, Status>>,
}

/// Round `round` of the run `r`.
pub(crate) fn id(round: u32) -> v1::AssignmentId {
    v1::AssignmentId { run: "r".into(), round }
}

/// Trains `model` with the scripted trainer.
pub(crate) fn assignment(round: u32, model: &Parameters, settings: &Value) -> v1::Assignment {
    v1::Assignment {
        assignment: Some(id(round)),
        task: "train".into(),
        model: model.digest().to_string(),
        model_bytes: model.layout().file_bytes(),
        model_version: 1,
        dataset: "numbers".into(),
        trainer: "scripted".into(),
        trainer_settings: settings.to_string(),
        holdout: 0.0,
        holdout_seed: 1,
        seed: 2,
        gpu: None,
        deadline_in_ms: 600_000,
        cohort: 2,
        quorum: 1,
        aggregation: Some(v1::AggregationPolicy {
            name: "mine".into(),
            version: "3".into(),
            digest: format!("sha256:{}", "07".repeat(32)),
            signature: None,
        }),
        training: None,
        control_variate: None,
    }
}

impl Session {
    pub(crate) fn tell(&self, message: ToWorker) {
        self.outbox.send(Ok(v1::CoordinatorMessage { message: Some(message) })).unwrap();
    }

    pub(crate) fn cancel(&self, round: u32) {
        self.tell(ToWorker::Cancel(v1::Cancel { assignment: Some(id(round)), reason: "no longer".into() }));
    }

    /// Ends the stream, as a coordinator does that has a newer session.
    pub(crate) fn end(self) {}

    pub(crate) async fn next(&mut self) -> FromWorker {
        soon("the worker says something", self.inbox.recv()).await.expect("the stream ended")
    }

    /// Sends an assignment and takes its answer, which must be yes.
    pub(crate) async fn assign(&mut self, assignment: v1::Assignment) {
        let expected = assignment.assignment.clone();
        self.tell(ToWorker::Assignment(assignment));
        match self.next().await {
            FromWorker::Accepted(accepted) => assert_eq!(accepted.assignment, expected),
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// Sends an assignment that must be declined; returns the reason.
    pub(crate) async fn declined(&mut self, assignment: v1::Assignment) -> String {
        let expected = assignment.assignment.clone();
        self.tell(ToWorker::Assignment(assignment));
        match self.next().await {
            FromWorker::Declined(declined) => {
                assert_eq!(declined.assignment, expected);
                declined.reason
            }
            other => panic!("not declined: {other:?}"),
        }
    }

    /// The next message must be a failure of `round`; returns the reason.
    pub(crate) async fn failed(&mut self, round: u32) -> String {
        match self.next().await {
            FromWorker::Failed(failed) => {
                assert_eq!(failed.assignment, Some(id(round)));
                failed.reason
            }
            other => panic!("not failed: {other:?}"),
        }
    }

    /// Assigns, and returns why it failed.
    pub(crate) async fn fails(&mut self, assignment: v1::Assignment) -> String {
        let round = assignment.assignment.as_ref().unwrap().round;
        self.assign(assignment).await;
        self.failed(round).await
    }
}
