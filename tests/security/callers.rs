//! Every RPC refuses every caller that it is not for: a worker, an operator, a newcomer without a certificate.

use polder_core::enrolment::Grant;
use polder_proto::refusal_word;
use polder_security::Role;
use polder_security::authorization::TABLE;
use polder_tests::peer::{channel, enrolment_channel};
use polder_tests::{Coordinator, Peer};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Calls `path` with an empty message.
async fn call(channel: &Channel, path: &'static str) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec =
        tonic_prost::ProstCodec::<polder_proto::v1::ListRunsRequest, polder_proto::v1::ListRunsResponse>::default();
    let request = Request::new(polder_proto::v1::ListRunsRequest {});
    client.unary(request, PathAndQuery::from_static(path), codec).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_every_caller_it_is_not_for() {
    let coordinator = Coordinator::start().await;
    let worker = Peer::enrolled(&coordinator, "eu-west-1").await;
    let worker = channel(&worker.credentials, &coordinator.endpoint).await.unwrap();
    let operator = channel(&coordinator.operator_credentials(), &coordinator.endpoint).await.unwrap();
    let token = coordinator.token(Grant::Operator { name: "ada".into() }, 60_000).await;
    let newcomer = enrolment_channel(&token).await.unwrap();
    for rule in TABLE {
        for (role, channel) in [(Role::Worker, &worker), (Role::Operator, &operator), (Role::Newcomer, &newcomer)] {
            let called = call(channel, rule.path).await;
            let is_denied = called.as_ref().is_err_and(|status| refusal_word(status) == Some("denied"));
            assert_eq!(is_denied, role != rule.role, "{} called by a {role:?}: {called:?}", rule.path);
        }
    }
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpc_that_does_not_exist_is_denied_to_all() {
    let coordinator = Coordinator::start().await;
    let operator = channel(&coordinator.operator_credentials(), &coordinator.endpoint).await.unwrap();
    let status = call(&operator, "/polder.v1.OperatorService/Shutdown").await.unwrap_err();
    assert_eq!((status.code(), refusal_word(&status)), (Code::PermissionDenied, Some("denied")));
    coordinator.stop().await;
}
