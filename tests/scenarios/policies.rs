//! A policy that traps, loops or answers nonsense does not stop a run: the built-in decides that round, and the run says so.

use polder_core::PolicyName;
use polder_core::policy::PolicyRef;
use polder_core::spec::RunSpec;
use polder_core::view::RunView;
use polder_proto::v1::{self, PolicyHeader, PushPolicyRequest, push_policy_request};
use polder_tests::{Coordinator, Peer, update};

#[path = "../../crates/policy/tests/policies/guest.rs"]
#[allow(dead_code)]
mod guest;

async fn push(coordinator: &Coordinator, name: &str, component: Vec<u8>) -> Result<PolicyRef, tonic::Status> {
    let header = PolicyHeader { name: name.into(), bytes: component.len() as u64 };
    let messages = [push_policy_request::Message::Header(header), push_policy_request::Message::Data(component.into())];
    let requests = messages.map(|message| PushPolicyRequest { message: Some(message) });
    let answer = coordinator.operator().await.push_policy(tokio_stream::iter(requests)).await?.into_inner();
    let view: polder_core::view::PolicyView = serde_json::from_str(&answer.policy_json).unwrap();
    Ok(PolicyRef::new(PolicyName::new(name).unwrap(), view.digest))
}

/// Runs one round of one worker under the spec that `choose` makes, and gives the run and the round's reasons.
async fn run(coordinator: &Coordinator, choose: impl AsyncFnOnce(&mut RunSpec)) -> (RunView, Vec<String>) {
    let mut spec = coordinator.spec().await;
    choose(&mut spec).await;
    let mut peer = Peer::enrolled(coordinator, "eu-west-1").await;
    let mut session = peer.session().await;
    let run = coordinator.submit(&spec).await.unwrap();
    let id = session.assignment().await.assignment.unwrap();
    peer.upload(&id, &update::filled(1.0).to_safetensors(), |_| ()).await.unwrap();
    let ended = tokio::select! {
        ended = coordinator.ended(&run) => ended,
        _ = session.assignment() => unreachable!("one round was asked for"),
    };
    let reasons = coordinator.round(&run, 1).await.unwrap().reasons;
    (ended, reasons)
}

fn fell_back(run: &RunView, reasons: &[String], why: &str) {
    assert_eq!(run.model.digest, update::filled(1.5).digest(), "the built-in decided");
    let said = reasons.iter().find(|reason| reason.contains("built-in"));
    let said = said.unwrap_or_else(|| panic!("the round does not say so: {reasons:?}"));
    assert!(said.contains(why), "`{said}` does not say `{why}`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregation_policy_that_traps() {
    let coordinator = Coordinator::start().await;
    let policy = push(&coordinator, "trap", guest::aggregation("unreachable", "")).await.unwrap();
    let (ended, reasons) = run(&coordinator, async |spec| spec.aggregation = policy).await;
    fell_back(&ended, &reasons, "trapped");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregation_policy_that_loops() {
    let coordinator = Coordinator::start().await;
    let forever = "(loop $again (br $again)) (i32.const 0)";
    let policy = push(&coordinator, "loop", guest::aggregation(forever, "")).await.unwrap();
    let (ended, reasons) = run(&coordinator, async |spec| spec.aggregation = policy).await;
    fell_back(&ended, &reasons, "did not answer within");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregation_policy_that_answers_nonsense() {
    for (name, weights, why) in [
        ("nan", vec![f32::NAN], "finite"),
        ("negative", vec![-1.0], "negative"),
        ("nothing", vec![0.0], "0"),
        ("many", vec![1.0, 1.0], "2 weights for 1 updates"),
    ] {
        let coordinator = Coordinator::start().await;
        let policy = push(&coordinator, name, guest::weights(&weights)).await.unwrap();
        let (ended, reasons) = run(&coordinator, async |spec| spec.aggregation = policy).await;
        fell_back(&ended, &reasons, why);
        coordinator.stop().await;
    }
}

/// A placement policy that behaves until there is something to decide.
fn two_faced(then: &str, data: &str) -> Vec<u8> {
    let body = format!("(if (result i32) (local.get $demands_len) (then {then}) (else (i32.const 1024)))");
    guest::placement_in(16, &body, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placement_policy_that_traps() {
    let coordinator = Coordinator::start().await;
    let policy = push(&coordinator, "trap", two_faced("unreachable", "")).await.unwrap();
    let (ended, reasons) = run(&coordinator, async |spec| spec.placement = policy).await;
    fell_back(&ended, &reasons, "trapped");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placement_policy_that_names_a_worker_that_is_not_there() {
    let coordinator = Coordinator::start().await;
    // ok, one assignment at 4096: demand 0, worker 99, any GPU, no reason
    let data =
        r#"(data (i32.const 2052) "\00\10\00\00\01\00\00\00") (data (i32.const 4096) "\00\00\00\00\63\00\00\00")"#;
    let policy = push(&coordinator, "astray", two_faced("(i32.const 2048)", data)).await.unwrap();
    let (ended, reasons) = run(&coordinator, async |spec| spec.placement = policy).await;
    fell_back(&ended, &reasons, "worker 99 is named");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_policy_is_refused_at_the_door() {
    let coordinator = Coordinator::start().await;
    let noise = push(&coordinator, "noise", vec![7; 100]).await.unwrap_err();
    assert!(noise.message().contains("these bytes are no WebAssembly"), "{noise}");
    let taken = push(&coordinator, "fedavg", guest::weights(&[1.0])).await.unwrap_err();
    assert!(taken.message().contains("built-in policy"), "{taken}");
    let mut spec = coordinator.spec().await;
    spec.placement = push(&coordinator, "eager", guest::assignment(0, 99, None)).await.unwrap();
    let eager = coordinator.submit(&spec).await.unwrap_err();
    assert!(eager.message().contains("cannot be used: the policy's answer makes no sense"), "{eager}");
    let mut spec = coordinator.spec().await;
    std::mem::swap(&mut spec.placement, &mut spec.aggregation);
    let swapped = coordinator.submit(&spec).await.unwrap_err();
    assert!(swapped.message().contains("decides aggregation, not placement"), "{swapped}");
    let request = v1::ListPoliciesRequest {};
    let listed = coordinator.operator().await.list_policies(request).await.unwrap().into_inner().policies_json;
    assert_eq!(listed.len(), 3, "the built-in ones and the eager one: {listed:?}");
    coordinator.stop().await;
}
