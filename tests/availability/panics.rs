//! A bug in the driver ends a term, not the process.

use polder_core::enrolment::Grant;
use polder_core::view::CoordinatorView;
use polder_proto::v1::GetCoordinatorRequest;
use polder_proto::v1::operator_service_client::OperatorServiceClient;
use polder_tests::peer::channel;
use polder_tests::{Coordinator, eventually};

async fn shown(coordinator: &Coordinator) -> Option<CoordinatorView> {
    let channel = channel(&coordinator.operator_credentials(), &coordinator.endpoint).await.ok()?;
    let answer = OperatorServiceClient::new(channel).get_coordinator(GetCoordinatorRequest {}).await.ok()?;
    Some(serde_json::from_str(&answer.into_inner().coordinator_json).unwrap())
}

#[tokio::test]
async fn a_driver_that_panics_is_followed_by_another_term_of_the_same_coordinator() {
    let coordinator = Coordinator::start().await;
    let before = shown(&coordinator).await.unwrap();
    let mut lasting = coordinator.operator().await;
    let asked = coordinator.handle.ask(|federation| assert!(federation.runs.len() > 1_000_000, "a bug")).await;
    assert!(asked.is_err());
    let is_next = |after: &CoordinatorView| after.epoch > before.epoch;
    let after = eventually("the next term answers", async || shown(&coordinator).await.filter(is_next)).await;
    assert_eq!(after.endpoint, before.endpoint);
    // What was connected to the term that ended was cut off, and comes anew by itself.
    eventually("an old client is served again", async || lasting.get_coordinator(GetCoordinatorRequest {}).await.ok())
        .await;
    // And the journal takes what happens now.
    coordinator.token(Grant::Operator { name: "ada".into() }, 60_000).await;
    assert!(shown(&coordinator).await.unwrap().journal_seq > before.journal_seq);
    coordinator.stop().await;
}
