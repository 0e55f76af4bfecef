//! A run under a policy that was honest when it was uploaded and is hostile from the second round on: it ends as its `on_failure` says,
//! it says so, and other runs notice nothing.

use polder_core::Digest;
use polder_core::policy::OnFailure::{Abandon, Builtin, Previous, Retry};
use polder_core::policy::PolicyKind::{self, Aggregation, Placement};
use polder_core::policy::{OnFailure, PolicyRef};
use polder_core::view::{RoundView, RunView};
use polder_tests::{Coordinator, Peer, eventually, update};

use crate::federation::{Diligent, notices, push, rounds, set, spec, still_serves};

/// What each guest is found out by.
const GUESTS: [(&str, PolicyKind, &str); 13] = [
    ("later-unreachable-in-place", Placement, "trapped: wasm `unreachable`"),
    ("later-loop-in-place", Placement, "did not answer within"),
    ("later-worker-unknown", Placement, "worker 99 is named"),
    ("later-worker-twice", Placement, "twice"),
    ("later-unreachable-in-weigh", Aggregation, "trapped: wasm `unreachable`"),
    ("later-loop-in-weigh", Aggregation, "did not answer within"),
    ("later-memory-bomb-in-weigh", Aggregation, "bytes of memory (memory_bytes_max)"),
    ("later-weights-nan", Aggregation, "weight 0 is NaN"),
    ("later-unreachable-in-combine", Aggregation, "trapped: wasm `unreachable`"),
    ("later-aggregate-short", Aggregation, "its aggregate for a chunk of"),
    ("later-aggregate-nan", Aggregation, "finite"),
    ("later-unreachable-in-step", Aggregation, "trapped: wasm `unreachable`"),
    ("later-stepped-nan", Aggregation, "finite"),
];

fn decided_by(round: &RoundView, kind: PolicyKind) -> Option<Digest> {
    match kind {
        Placement => round.placement_policy,
        _ => round.aggregation_policy,
    }
}

fn default_of(kind: PolicyKind) -> Digest {
    polder_policy::builtins().iter().find(|builtin| builtin.kind == kind).unwrap().digest()
}

/// The round says that its policy failed, why, and what came of it.
fn says(round: &RoundView, why: &str, then: &str) {
    let is_said = round.reasons.iter().any(|reason| reason.contains(why) && reason.contains(then));
    assert!(is_said, "round {} does not say `{why}` and `{then}`: {:?}", round.round, round.reasons);
}

/// Runs three rounds under the guest and gives what came of them.
async fn run_under(
    coordinator: &Coordinator,
    guest: &str,
    kind: PolicyKind,
    then: OnFailure,
) -> (PolicyRef, RunView, Vec<RoundView>) {
    let policy = PolicyRef { on_failure: then, ..push(coordinator, guest).await.unwrap() };
    let spec = spec(coordinator, kind, policy.clone(), 3).await;
    let run = coordinator.submit(&spec).await.unwrap();
    let ended = coordinator.ended(&run).await;
    let rounds = rounds(coordinator, &ended).await;
    (policy, ended, rounds)
}

/// All three rounds were committed: the first by the guest, the others by the built-in policy.
fn fell_back(policy: &PolicyRef, kind: PolicyKind, ended: &RunView, rounds: &[RoundView]) {
    assert_eq!(
        (ended.status.as_str(), ended.rounds_committed, ended.rounds_abandoned),
        ("completed", 3, 0),
        "{ended:?}"
    );
    assert_eq!(ended.model.digest, update::filled(3.5).digest(), "three updates of ones on a model of halves");
    let deciders: Vec<_> = rounds.iter().map(|round| decided_by(round, kind).unwrap()).collect();
    assert_eq!(deciders, [policy.digest, default_of(kind), default_of(kind)], "{}", policy.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin() {
    let coordinator = Coordinator::start().await;
    let worker = Diligent::start(&coordinator, "eu-west-1").await;
    for (guest, kind, why) in GUESTS {
        let (policy, ended, rounds) = run_under(&coordinator, guest, kind, Builtin).await;
        fell_back(&policy, kind, &ended, &rounds);
        for round in &rounds[1..] {
            says(round, why, "the built-in policy decides this round");
        }
        let notices = notices(&coordinator, &ended.run).await;
        let failures: Vec<_> = notices.iter().filter(|notice| notice.kind == "policy-failed").collect();
        assert_eq!(failures.iter().map(|notice| notice.round).collect::<Vec<_>>(), [Some(2), Some(3)], "{guest}");
        assert!(failures.iter().all(|notice| notice.text.contains(why)), "{guest}: {failures:?}");
    }
    still_serves(&coordinator).await;
    worker.stop().await;
    coordinator.stop().await;
}

/// A worker that is busy gets no second seat, whatever a policy says.
#[tokio::test(flavor = "multi_thread")]
async fn overcommitted() {
    let coordinator = Coordinator::start().await;
    let mut busy = Peer::enrolled(&coordinator, "eu-west-1").await;
    let mut session = busy.session().await;
    let long = coordinator.submit(&coordinator.spec().await).await.unwrap();
    let id = session.assignment().await.assignment.unwrap();
    let worker = Diligent::start(&coordinator, "eu-west-2").await;
    let (policy, ended, rounds) = run_under(&coordinator, "later-overcommits", Placement, Builtin).await;
    fell_back(&policy, Placement, &ended, &rounds);
    says(&rounds[1], "eu-west-1", "the built-in policy decides this round");
    busy.upload(&id, &update::filled(1.0).to_safetensors(), |_| ()).await.unwrap();
    assert_eq!(coordinator.ended(&long).await.status, "completed");
    worker.stop().await;
    coordinator.stop().await;
}

/// A policy that decided before it failed has nobody before it: what it did in round 1 is no reason to ask it again.
#[tokio::test(flavor = "multi_thread")]
async fn previous_where_there_was_none() {
    let coordinator = Coordinator::start().await;
    let worker = Diligent::start(&coordinator, "eu-west-1").await;
    for (guest, kind) in [("later-unreachable-in-place", Placement), ("later-unreachable-in-combine", Aggregation)] {
        let (policy, ended, rounds) = run_under(&coordinator, guest, kind, Previous).await;
        fell_back(&policy, kind, &ended, &rounds);
        says(&rounds[1], "trapped", "the built-in policy decides this round");
    }
    still_serves(&coordinator).await;
    worker.stop().await;
    coordinator.stop().await;
}

/// A policy that is swapped in and fails at once: the one before it decides that round, and those to come without a further failure.
async fn goes_back(guest: &str, kind: PolicyKind, honest: &str) {
    let coordinator = Coordinator::start().await;
    let mut peer = Peer::enrolled(&coordinator, "eu-west-1").await;
    let mut session = peer.session().await;
    let before = push(&coordinator, honest).await.unwrap();
    push(&coordinator, guest).await.unwrap();
    let spec = spec(&coordinator, kind, before.clone(), 3).await;
    let run = coordinator.submit(&spec).await.unwrap();
    // round 1 waits for its update while the policy is swapped
    let id = session.assignment().await.assignment.unwrap();
    set(&coordinator, &run, kind, guest, Previous).await;
    peer.upload(&id, &update::filled(1.0).to_safetensors(), |_| ()).await.unwrap();
    let worker = Diligent::go_on(peer, session);
    let ended = coordinator.ended(&run).await;
    assert_eq!(
        (ended.status.as_str(), ended.rounds_committed, ended.rounds_abandoned),
        ("completed", 3, 0),
        "{ended:?}"
    );
    assert_eq!(ended.model.digest, update::filled(3.5).digest());
    let rounds = rounds(&coordinator, &ended).await;
    assert!(rounds.iter().all(|round| decided_by(round, kind) == Some(before.digest)), "{rounds:?}");
    says(&rounds[1], "trapped", "which decided before, decides this round");
    let notices = notices(&coordinator, &run).await;
    let of = |kind| notices.iter().filter(|notice| notice.kind == kind).collect::<Vec<_>>();
    assert_eq!(of("policy-failed").len(), 1, "{notices:?}");
    assert_eq!(of("policies-set").len(), 1, "{notices:?}");
    let back = of("policy-rolled-back");
    assert!(back.len() == 1 && back[0].text.contains(honest) && back[0].text.contains(guest), "{notices:?}");
    worker.stop().await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_placement() {
    goes_back("later-unreachable-in-place", Placement, "honest-placement").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_aggregation() {
    goes_back("later-unreachable-in-combine", Aggregation, "honest-aggregation").await;
}

/// Rounds under the guest are abandoned, with these words, until another policy is set; then the run goes on to its end.
async fn is_abandoned_until_mended(guest: &str, kind: PolicyKind, then: OnFailure, words: &[&str]) {
    let coordinator = Coordinator::start().await;
    let worker = Diligent::start(&coordinator, "eu-west-1").await;
    // The built-in policies are compiled by then, which takes a slow machine longer than a failing run lasts.
    still_serves(&coordinator).await;
    let policy = PolicyRef { on_failure: then, ..push(&coordinator, guest).await.unwrap() };
    let spec = spec(&coordinator, kind, policy.clone(), 2).await;
    let run = coordinator.submit(&spec).await.unwrap();
    let abandoned = eventually("round 2 is abandoned", async || {
        coordinator.round(&run, 2).await.filter(|round| round.phase == "abandoned")
    })
    .await;
    // At once: after five abandoned rounds in a row, some seconds, the run would be over.
    let name = polder_policy::builtins().iter().find(|builtin| builtin.kind == kind).unwrap().name;
    set(&coordinator, &run, kind, name, Builtin).await;
    for word in words {
        says(&abandoned, "trapped: wasm `unreachable`", word);
    }
    assert_eq!(decided_by(&coordinator.round(&run, 1).await.unwrap(), kind), Some(policy.digest));
    let next = coordinator.round(&run, 3).await.unwrap();
    assert_eq!((next.base.version, next.base.digest), (1, update::filled(1.5).digest()), "the model stays as it was");
    let ended = coordinator.ended(&run).await;
    assert_eq!((ended.status.as_str(), ended.rounds_committed), ("completed", 2), "{ended:?}");
    assert!(ended.rounds_abandoned >= 1, "{ended:?}");
    assert_eq!(ended.model.digest, update::filled(2.5).digest());
    still_serves(&coordinator).await;
    worker.stop().await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn abandon_placement() {
    is_abandoned_until_mended("later-unreachable-in-place", Placement, Abandon, &["the round is abandoned"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn abandon_aggregation() {
    is_abandoned_until_mended("later-unreachable-in-weigh", Aggregation, Abandon, &["the round is abandoned"]).await;
}

const ATTEMPTS: [&str; 3] = ["attempt 2 of 3", "attempt 3 of 3", "the round is abandoned"];

#[tokio::test(flavor = "multi_thread")]
async fn retry_placement() {
    is_abandoned_until_mended("later-unreachable-in-place", Placement, Retry, &ATTEMPTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_aggregation() {
    is_abandoned_until_mended("later-unreachable-in-step", Aggregation, Retry, &ATTEMPTS).await;
}

/// Nobody mends it: the run ends, and its end says why.
#[tokio::test(flavor = "multi_thread")]
async fn abandoned_to_the_end() {
    let coordinator = Coordinator::start().await;
    let worker = Diligent::start(&coordinator, "eu-west-1").await;
    let (policy, ended, rounds) = run_under(&coordinator, "later-weights-nan", Aggregation, Abandon).await;
    assert_eq!((ended.status.as_str(), ended.rounds_committed, ended.rounds_abandoned), ("failed", 1, 5), "{ended:?}");
    let reason = ended.reason.clone().unwrap();
    assert!(reason.starts_with("5 rounds in a row were abandoned"), "{reason}");
    assert!(reason.contains(policy.name.as_str()) && reason.contains("weight 0 is NaN"), "{reason}");
    assert_eq!(ended.model.digest, update::filled(1.5).digest());
    assert!(rounds[1..].iter().all(|round| round.phase == "abandoned"), "{rounds:?}");
    still_serves(&coordinator).await;
    worker.stop().await;
    coordinator.stop().await;
}

/// While one run's policies loop, another run goes through all its rounds.
#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once() {
    let coordinator = Coordinator::start().await;
    let workers = [Diligent::start(&coordinator, "eu-west-1").await, Diligent::start(&coordinator, "eu-west-2").await];
    let place = push(&coordinator, "later-loop-in-place").await.unwrap();
    let weigh = push(&coordinator, "later-loop-in-weigh").await.unwrap();
    let mut hostile = coordinator.spec().await;
    (hostile.rounds, hostile.placement, hostile.aggregation) = (3, place, weigh);
    let mut honest = coordinator.spec().await;
    honest.rounds = 5;
    let (hostile, honest) = (coordinator.submit(&hostile).await.unwrap(), coordinator.submit(&honest).await.unwrap());
    let honest = coordinator.ended(&honest).await;
    assert_eq!((honest.status.as_str(), honest.rounds_committed, honest.rounds_abandoned), ("completed", 5, 0));
    assert_eq!(honest.model.digest, update::filled(5.5).digest());
    assert!(notices(&coordinator, &honest.run).await.iter().all(|notice| notice.kind != "policy-failed"));
    let hostile = coordinator.ended(&hostile).await;
    assert_eq!((hostile.status.as_str(), hostile.rounds_committed), ("completed", 3), "{hostile:?}");
    assert_eq!(hostile.model.digest, update::filled(3.5).digest());
    for worker in workers {
        worker.stop().await;
    }
    coordinator.stop().await;
}
