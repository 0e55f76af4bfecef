//! Uploads: what is hostile at once does not get in, and is told why.

use polder_core::policy::PolicyRef;
use polder_proto::v1::ListPoliciesRequest;
use polder_tests::Coordinator;

use crate::federation::{Diligent, push, still_serves};

/// One of every sort; the host's own tests have them all.
const REFUSED: &[(&str, &str)] = &[
    ("loop-in-start", "did not answer within"),
    ("loop-in-check", "did not answer within"),
    ("loop-in-describe", "did not answer within"),
    ("loop-in-weigh", "did not answer within"),
    ("loop-in-combine", "did not finish a chunk within"),
    ("recurse", "its stack of"),
    ("memory-bomb", "bytes of memory"),
    ("reasons-of-gigabytes", "larger than"),
    ("unreachable-in-place", "trapped"),
    ("unreachable-in-step", "trapped"),
    ("unreachable-in-review", "trapped"),
    ("list-that-overflows", "it cannot be read"),
    ("keeps-too-much", "5 state tensors"),
    ("weights-nan", "weight 1 is NaN"),
    ("weights-zero", "weights are 0"),
    ("weights-many", "weights for"),
    ("aggregate-short", "its aggregate for a chunk of"),
    ("aggregate-nan", "not finite"),
    ("stepped-nan", "not finite"),
    ("worker-unknown", "worker 3 is named"),
    ("noise-nan", "noise is NaN"),
    ("imports-wasi", "wasi:clocks/monotonic-clock"),
    ("exports-two-worlds", "not one policy but two"),
    ("exports-nothing", "but nothing"),
    ("made-for-0.1", "polder:policy@0.1.0, and this host takes polder:policy@0.2.0"),
    ("core-module", "this is a core module"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hostile_at_once_does_not_get_in() {
    let coordinator = Coordinator::start().await;
    for (guest, words) in REFUSED {
        let refusal = push(&coordinator, guest).await.expect_err(guest);
        assert!(refusal.message().contains(words), "{guest}: `{}` does not say `{words}`", refusal.message());
        assert!(refusal.message().contains("was not taken"), "{guest}: {}", refusal.message());
    }
    // a policy may have no answer to a question on trial; its words are its own
    push(&coordinator, "refuses-in-colour").await.unwrap();
    let worker = Diligent::start(&coordinator, "eu-west-1").await;
    still_serves(&coordinator).await;
    let listed = coordinator.operator().await.list_policies(ListPoliciesRequest {}).await.unwrap().into_inner();
    let builtins = polder_policy::builtins().len();
    assert_eq!(listed.policies_json.len(), builtins + 1, "nothing refused is left: {:?}", listed.policies_json);
    worker.stop().await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gets_only_what_is_there_and_of_the_right_kind() {
    let coordinator = Coordinator::start().await;
    let pushed = push(&coordinator, "honest-aggregation").await.unwrap();
    let mut spec = coordinator.spec().await;
    spec.placement = pushed.clone();
    let swapped = coordinator.submit(&spec).await.unwrap_err();
    assert!(swapped.message().contains("decides aggregation, not placement"), "{swapped}");
    let mut spec = coordinator.spec().await;
    let elsewhere = polder_core::Digest::sha256([7; 32]);
    spec.aggregation = PolicyRef { digest: elsewhere, ..pushed };
    let missing = coordinator.submit(&spec).await.unwrap_err();
    assert!(missing.message().contains("is not here"), "{missing}");
    coordinator.stop().await;
}
