//! Whatever bytes are uploaded: a policy, or one sentence that says why not; never a panic, never a host that no longer serves.

use std::sync::OnceLock;

use polder_core::policy::{AggregationQuestion, PlacementQuestion, PolicyKind, ReleaseQuestion, UpdateSummary};
use polder_policy::{ChunkJob, Limits, Policy, PolicyError, PolicyHost, Span};

/// Small limits: what is bounded is bounded at any size, and small is fast.
fn limits() -> Limits {
    Limits {
        component_bytes_max: 1 << 20,
        compile_ms_max: 20_000,
        question_ms_max: 100,
        chunk_ms_max: 100,
        memory_bytes_max: 8 << 20,
        stack_bytes_max: 128 << 10,
        output_bytes_max: 1 << 20,
        compiled_policies_max: 8,
        ..Limits::default()
    }
}

struct World {
    host: PolicyHost,
    honest: Policy,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let host = PolicyHost::new(limits(), None).expect("the sandbox works");
        let bytes = include_bytes!("../../tests/policies/guests/honest-release.wasm");
        let honest = host.load(bytes).expect("the honest policy is one");
        World { host, honest }
    })
}

/// Uploads `bytes`, and asks what comes of them everything that a policy of its kind can be asked.
pub(crate) fn hold(bytes: &[u8]) {
    let World { host, honest } = world();
    let outcome = host.load(bytes);
    match &outcome {
        Ok(policy) => {
            assert_eq!(policy.component_bytes(), bytes.len() as u64);
            let again = host.load(bytes).expect("a policy stays one");
            assert_eq!(again.digest(), policy.digest());
            ask(host, policy);
        }
        Err(error) => hold_sentence(error),
    }
    let answer = host.review(honest, "{}", &ReleaseQuestion::default());
    assert!(answer.is_ok(), "the honest policy gets no answer through any more: {answer:?}");
}

fn ask(host: &PolicyHost, policy: &Policy) {
    let outcomes = match policy.kind() {
        PolicyKind::Placement => {
            let nobody = PlacementQuestion { seed: 1, demands: Vec::new(), workers: Vec::new(), state: vec![1; 9] };
            vec![host.check_parameters(policy, "{}"), host.place(policy, "{}", &nobody).map(drop)]
        }
        PolicyKind::Aggregation => {
            let updates = vec![UpdateSummary { examples: 3, ..UpdateSummary::default() }; 3];
            let question = AggregationQuestion { round: 1, updates, ..AggregationQuestion::default() };
            let weighed = host.weigh(policy, "{}", &question);
            if let Ok(plan) = &weighed {
                let are_sane = plan.weights.len() == 3 && plan.weights.iter().all(|w| w.is_finite() && *w >= 0.0);
                assert!(are_sane, "{plan:?}");
            }
            vec![host.describe(policy, "{}").map(drop), weighed.map(drop), chunks(host, policy)]
        }
        PolicyKind::Release => {
            let question = ReleaseQuestion { state: vec![1; 9], ..ReleaseQuestion::default() };
            vec![host.check_parameters(policy, "{}"), host.review(policy, "{}", &question).map(drop)]
        }
    };
    outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).for_each(hold_sentence);
}

fn chunks(host: &PolicyHost, policy: &Policy) -> Result<(), PolicyError> {
    let job = ChunkJob { round: 1, seed: 1, memo: vec![1; 9], parameters: "{}".into() };
    let (row, mut into) = ([1.0; 5], [0.0; 5]);
    host.chunks(policy, &job)?.combine(Span::default(), &[&row, &row], &[1.0, 2.0], &mut into)?;
    let mut state = [0.0; 5];
    host.chunks(policy, &job)?.step(Span::default(), &mut into, &row, &[], &mut [&mut state])
}

/// An error is one sentence, and blames what deserves it: neither this machine nor whoever asked.
fn hold_sentence(error: &PolicyError) {
    let message = error.to_string();
    assert!(!matches!(error, PolicyError::Host { .. } | PolicyError::Question { .. }), "{message}");
    assert!(!message.is_empty() && message.len() < 2000, "{message}");
    assert!(!message.contains(|c: char| c.is_control()), "{message:?}");
}
