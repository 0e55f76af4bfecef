//! A coordinator with hostile policies, and workers that do whatever they are told.

use polder_core::effect::Notice;
use polder_core::policy::{OnFailure, PolicyKind, PolicyRef};
use polder_core::spec::RunSpec;
use polder_core::view::{PolicyView, RoundView, RunView};
use polder_core::{PolicyName, RunId};
use polder_proto::v1::watch_run_response::Message;
use polder_proto::v1::{PolicyChange, PolicyHeader, PushPolicyRequest, SetPoliciesRequest, WatchRunRequest};
use polder_proto::v1::{PushPolicyResponse, push_policy_request};
use polder_tests::{Coordinator, Peer, Session, update};
use tokio::task::JoinHandle;
use tonic::Status;

use crate::builder::built;

/// Uploads a guest under its own name, without what a name may not hold.
pub(crate) async fn push(coordinator: &Coordinator, guest: &str) -> Result<PolicyRef, Status> {
    let component = built(guest);
    let name = guest.replace('.', "-");
    let header = PolicyHeader { name: name.clone(), bytes: component.len() as u64, ..PolicyHeader::default() };
    let messages = [push_policy_request::Message::Header(header), push_policy_request::Message::Data(component.into())];
    let requests = messages.map(|message| PushPolicyRequest { message: Some(message) });
    let answer = coordinator.operator().await.push_policy(tokio_stream::iter(requests)).await?;
    let PushPolicyResponse { policy_json } = answer.into_inner();
    let view: PolicyView = serde_json::from_str(&policy_json).unwrap();
    Ok(PolicyRef::new(PolicyName::new(name).unwrap(), view.digest))
}

/// A run of `rounds` rounds of one worker, in which this policy decides its kind.
pub(crate) async fn spec(coordinator: &Coordinator, kind: PolicyKind, policy: PolicyRef, rounds: u32) -> RunSpec {
    let mut spec = coordinator.spec().await;
    spec.rounds = rounds;
    match kind {
        PolicyKind::Placement => spec.placement = policy,
        PolicyKind::Aggregation => spec.aggregation = policy,
        PolicyKind::Release => panic!("regions choose their release policies, not runs"),
    }
    spec
}

pub(crate) async fn set(coordinator: &Coordinator, run: &RunId, kind: PolicyKind, policy: &str, then: OnFailure) {
    let change =
        PolicyChange { policy: Some(policy.replace('.', "-")), parameters: None, on_failure: Some(then.to_string()) };
    let mut request = SetPoliciesRequest { run: run.to_string(), ..SetPoliciesRequest::default() };
    match kind {
        PolicyKind::Placement => request.placement = Some(change),
        _ => request.aggregation = Some(change),
    }
    coordinator.operator().await.set_policies(request).await.unwrap();
}

/// A worker that answers every assignment with an update of ones.
pub(crate) struct Diligent {
    working: JoinHandle<()>,
}

impl Diligent {
    pub(crate) async fn start(coordinator: &Coordinator, name: &str) -> Self {
        let mut peer = Peer::enrolled(coordinator, name).await;
        let session = peer.session().await;
        Self::go_on(peer, session)
    }

    pub(crate) fn go_on(mut peer: Peer, mut session: Session) -> Self {
        let working = tokio::spawn(async move {
            loop {
                let id = session.assignment().await.assignment.unwrap();
                // a run that ended meanwhile wants it no more
                let _ = peer.upload(&id, &update::filled(1.0).to_safetensors(), |_| ()).await;
            }
        });
        Self { working }
    }

    pub(crate) async fn stop(self) {
        self.working.abort();
        let _ = self.working.await;
    }
}

/// Every notice of a run so far, in order.
pub(crate) async fn notices(coordinator: &Coordinator, run: &RunId) -> Vec<Notice> {
    let request = WatchRunRequest { run: run.to_string(), after: 0, follow: false };
    let mut stream = coordinator.operator().await.watch_run(request).await.unwrap().into_inner();
    let mut notices = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        if let Some(Message::Line(line)) = response.message {
            notices.push(serde_json::from_str(&line.notice_json).unwrap());
        }
    }
    notices
}

/// Every round of a run that ended.
pub(crate) async fn rounds(coordinator: &Coordinator, run: &RunView) -> Vec<RoundView> {
    let mut rounds = Vec::new();
    for number in 1.. {
        match coordinator.round(&run.run, number).await {
            Some(round) => rounds.push(round),
            None => break,
        }
    }
    rounds
}

/// An ordinary run on the same coordinator goes its way.
pub(crate) async fn still_serves(coordinator: &Coordinator) {
    let run = coordinator.submit(&coordinator.spec().await).await.unwrap();
    let ended = coordinator.ended(&run).await;
    assert_eq!((ended.status.as_str(), ended.rounds_abandoned), ("completed", 0), "{ended:?}");
    assert_eq!(ended.model.digest, update::filled(1.5).digest());
}
