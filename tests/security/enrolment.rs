//! A token lets its bearer in once, for what it says, while it lasts.

use polder_core::Region;
use polder_core::enrolment::Grant;
use polder_security::{Credentials, Identity, JoinToken, KeyRequest};
use polder_tests::peer::{ask_to_enrol, enrol};
use polder_tests::{Coordinator, Peer, eventually};

fn worker() -> Grant {
    Grant::Worker { region: Region::new("eu-west").unwrap() }
}

fn says(result: Result<Credentials, tonic::Status>, text: &str) {
    let status = result.expect_err("it was let in");
    assert!(status.message().contains(text), "`{}` does not say `{text}`", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_enrols_one_worker_of_its_region() {
    let coordinator = Coordinator::start().await;
    let token = coordinator.token(worker(), 60_000).await;
    let credentials = enrol(&token, "eu-west-1", "eu-west").await.unwrap();
    let Identity::Worker { name, region } = credentials.identity() else { panic!("not a worker") };
    assert_eq!((name.as_str(), region.as_str()), ("eu-west-1", "eu-west"));
    says(enrol(&token, "eu-west-2", "eu-west").await, "already used by `eu-west-1`");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_may_ask_again_when_its_answer_was_lost() {
    let coordinator = Coordinator::start().await;
    let token = coordinator.token(worker(), 60_000).await;
    let key = KeyRequest::generate().unwrap();
    ask_to_enrol(&token, "eu-west-1", "", &key).await.unwrap();
    ask_to_enrol(&token, "eu-west-1", "", &key).await.unwrap();
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_region_is_no_good_in_another() {
    let coordinator = Coordinator::start().await;
    let token = coordinator.token(worker(), 60_000).await;
    says(enrol(&token, "us-east-1", "us-east").await, "for region `eu-west`, not `us-east`");
    enrol(&token, "eu-west-1", "eu-west").await.expect("a refused try does not use the token up");
    let other = coordinator.token(Grant::Worker { region: Region::new("us-east").unwrap() }, 60_000).await;
    says(enrol(&other, "eu-west-1", "").await, "already belongs to region `eu-west`");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_does_not_take_a_working_workers_name() {
    let coordinator = Coordinator::start().await;
    let mut peer = Peer::enrolled(&coordinator, "eu-west-1").await;
    let session = peer.session().await;
    let token = coordinator.token(worker(), 60_000).await;
    says(enrol(&token, "eu-west-1", "eu-west").await, "a worker `eu-west-1` is at work");
    drop((session, peer));
    eventually("the worker that went may be enrolled anew", async || enrol(&token, "eu-west-1", "eu-west").await.ok())
        .await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_says_so() {
    let coordinator = Coordinator::start().await;
    let token = coordinator.token(worker(), 1).await;
    eventually("the token expires", async || {
        let refused = enrol(&token, "eu-west-1", "eu-west").await.err()?;
        refused.message().contains("the token expired").then_some(())
    })
    .await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mangled_token_never_leaves_this_machine() {
    let coordinator = Coordinator::start().await;
    let text = coordinator.token(worker(), 60_000).await.encode();
    let cut = JoinToken::parse(&text[..text.len() - 5]).unwrap_err();
    assert!(cut.to_string().contains("cut short"), "{cut}");
    let mut altered = text.clone().into_bytes();
    let last = altered.len() - 20;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    let altered = JoinToken::parse(&String::from_utf8(altered).unwrap()).unwrap_err();
    assert!(altered.to_string().contains("altered"), "{altered}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_coordinator_is_unknown() {
    let (one, other) = (Coordinator::start().await, Coordinator::start().await);
    let mut token = one.token(worker(), 60_000).await;
    let foreign = other.token(worker(), 60_000).await;
    // Right endpoint and authority, foreign secret.
    token.id = foreign.id.clone();
    token.secret = foreign.secret.clone();
    says(enrol(&token, "eu-west-1", "eu-west").await, "knows no such token");
    // Foreign authority: refused before anything secret is sent.
    let mut astray = one.token(worker(), 60_000).await;
    astray.endpoint = foreign.endpoint.clone();
    let error = enrol(&astray, "eu-west-1", "eu-west").await.unwrap_err();
    assert!(error.message().to_lowercase().contains("authorit") || error.message().contains("fingerprint"), "{error}");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_token_makes_no_worker() {
    let coordinator = Coordinator::start().await;
    let token = coordinator.token(Grant::Operator { name: "ada".into() }, 60_000).await;
    says(enrol(&token, "eu-west-1", "").await, "for an operator, not for a worker");
    let credentials = enrol(&token, "", "").await.unwrap();
    assert!(matches!(credentials.identity(), Identity::Operator { .. }));
    coordinator.stop().await;
}
