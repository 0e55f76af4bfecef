//! What may happen: numbers that may fit, names that may exist, moves that make sense and events that do not.

use polder_core::policy::{
    AggregationTraits, Correction, OnFailure, PolicyKind, PolicyRef, PolicySignature, TrainingNeeds,
};
use polder_core::round::{AggregateReceipt, Evaluation, Kept, StateTensor, UpdateReceipt};
use polder_core::spec::{
    CohortSpec, Deadlines, EvaluationSpec, Metric, ModelSpec, RetentionSpec, RunSpec, Target, TrainerSpec,
};
use polder_core::{AssignmentId, Digest, Event, PolicyName, PolicyVersion};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Move, digest, run, worker};

fn a_float() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..10.0, 1 => any::<f64>()]
}

fn an_evaluation() -> impl Strategy<Value = Evaluation> {
    let accuracy = prop_oneof![9 => 0.0..=1.0, 1 => any::<f64>()];
    let examples = prop_oneof![8 => 1..500_u64, 1 => Just(0), 1 => any::<u64>()];
    (examples, a_float(), accuracy).prop_map(|(examples, loss, accuracy)| Evaluation { examples, loss, accuracy })
}

fn a_receipt() -> impl Strategy<Value = UpdateReceipt> {
    let metric = || proptest::option::of(a_float());
    (any::<u8>(), 0..50_u64, metric(), metric(), proptest::option::of(an_evaluation())).prop_map(
        |(seed, examples, loss, accuracy, evaluation)| {
            let examples = examples + u64::from(seed > 10);
            UpdateReceipt { loss, accuracy, evaluation, ..UpdateReceipt::new(digest(seed), 400, examples) }
        },
    )
}

fn an_on_failure() -> impl Strategy<Value = OnFailure> {
    use OnFailure::{Abandon, Builtin, Previous, Retry};
    prop_oneof![4 => Just(Builtin), 2 => Just(Previous), 2 => Just(Retry), 1 => Just(Abandon)]
}

/// One of few policies, so that runs meet them again.
fn a_policy(name: &'static str) -> impl Strategy<Value = PolicyRef> {
    (0..3_u8, an_on_failure()).prop_map(move |(which, on_failure)| {
        let name = PolicyName::new(format!("{name}-{}", which % 2)).unwrap();
        PolicyRef { on_failure, ..PolicyRef::new(name, Digest::sha256([which; 32])) }
    })
}

fn traits() -> impl Strategy<Value = AggregationTraits> {
    let training = prop_oneof![
        3 => Just(None),
        1 => (0..3_u32).prop_map(|state_tensor| Some(Correction::ControlVariates { state_tensor })),
        1 => a_float().prop_map(|alpha| Some(Correction::DynamicRegularizer { alpha })),
    ];
    let mu = prop_oneof![2 => Just(None), 1 => a_float().prop_map(Some)];
    (prop_oneof![9 => Just(1), 1 => 0..6_u32], 0..6_u32, training, mu).prop_map(
        |(updates_min, state_tensors, correction, proximal_mu)| AggregationTraits {
            updates_min,
            has_step: true,
            state_tensors,
            training: TrainingNeeds { proximal_mu, correction, base_loss: false },
            ..AggregationTraits::default()
        },
    )
}

/// What fits some traits and not others.
pub(crate) fn a_kept() -> impl Strategy<Value = Kept> {
    let tensor = any::<u8>().prop_map(|seed| StateTensor { digest: digest(seed), bytes: 400 });
    let state = prop_oneof![20 => 0..9_usize, 1 => Just(70_000)];
    (proptest::collection::vec(tensor, 0..4), state)
        .prop_map(|(tensors, bytes)| Kept { tensors, state: vec![7; bytes] })
}

pub(crate) fn a_spec() -> impl Strategy<Value = RunSpec> {
    let staleness_max = prop_oneof![1 => Just(0), 2 => 1..4_u32];
    let cohort = (1..4_u32, 0..3_u32, 1..4_u32, staleness_max, 0..3_u32);
    let deadlines = (prop_oneof![Just(0), 1..2_000_u64], 1..5_000_u64);
    let evaluation = proptest::option::of(Just(EvaluationSpec { holdout: 0.2 }));
    let policies = (a_policy("place"), a_policy("sum"));
    (1..4_u32, cohort, deadlines, evaluation, any::<bool>(), any::<u64>(), policies).prop_map(
        |(
            rounds,
            (size, over_selection, quorum, staleness_max, standbys),
            (selection_ms, round_ms),
            evaluation,
            has_target,
            seed,
            policies,
        )| {
            let (placement, aggregation) = policies;
            RunSpec {
                name: "digits".into(),
                model: ModelSpec { digest: digest(0), bytes: 400, parameters: 100 },
                dataset: "digits".into(),
                trainer: TrainerSpec { kind: "mlp".into(), settings: serde_json::json!({"rate": 0.1}) },
                rounds,
                cohort: CohortSpec { size, over_selection, quorum: quorum.min(size), staleness_max, standbys },
                deadlines: Deadlines { selection_ms, round_ms },
                evaluation,
                target: evaluation.filter(|_| has_target).map(|_| Target { metric: Metric::Accuracy, value: 0.9 }),
                retention: RetentionSpec { models: 1 + rounds % 3 },
                placement,
                aggregation,
                seed,
            }
        },
    )
}

fn a_push() -> impl Strategy<Value = Event> {
    let signer = any::<bool>().prop_map(|is_signed| {
        is_signed.then(|| PolicySignature { signer: "ed25519:00".into(), signature: "00".into() })
    });
    ("[1-3]", 0..2_u8, signer).prop_map(|(version, seed, signature)| Event::PolicyPushed {
        name: PolicyName::new("p").unwrap(),
        version: PolicyVersion::new(version).unwrap(),
        kind: PolicyKind::Placement,
        digest: digest(seed),
        bytes: 1,
        signature,
    })
}

fn policies_set() -> impl Strategy<Value = Event> {
    let placement = proptest::option::of(a_policy("place"));
    let aggregation = proptest::option::of((a_policy("sum"), traits()));
    (any::<Index>(), placement, aggregation).prop_map(|(index, placement, aggregation)| Event::PoliciesSet {
        run: run(&index),
        placement,
        aggregation,
    })
}

/// Events made of nothing but names that may exist and numbers that may fit.
fn nonsense() -> impl Strategy<Value = Event> {
    let assignment = (any::<Index>(), 0..6_u32, any::<Index>()).prop_map(|(r, round, w)| AssignmentId {
        run: run(&r),
        round,
        worker: worker(&w),
    });
    let reason = "\\PC{0,20}";
    let spec = a_spec();
    prop_oneof![
        (assignment.clone(), a_receipt())
            .prop_map(|(assignment, receipt)| Event::UpdateReceived { assignment, receipt }),
        (assignment.clone(), an_evaluation())
            .prop_map(|(assignment, evaluation)| Event::EvaluationReceived { assignment, evaluation }),
        (assignment.clone(), reason).prop_map(|(assignment, reason)| Event::AssignmentDeclined { assignment, reason }),
        (assignment.clone(), reason).prop_map(|(assignment, reason)| Event::AssignmentFailed { assignment, reason }),
        assignment.prop_map(|assignment| Event::AssignmentAccepted { assignment }),
        (0..9_u64, reason).prop_map(|(question, reason)| Event::PlacementFailed { question, reason }),
        (any::<Index>(), any::<bool>())
            .prop_map(|(index, is_draining)| Event::WorkerDrained { worker: worker(&index), is_draining }),
        (any::<Index>(), reason).prop_map(|(index, reason)| Event::RunStopped { run: run(&index), reason }),
        (any::<Index>(), spec, traits()).prop_map(|(index, spec, traits)| Event::RunSubmitted {
            run: run(&index),
            spec: spec.into(),
            traits
        }),
        a_push(),
        "[1-3]".prop_map(|version| Event::PolicyRemoved {
            name: PolicyName::new("p").unwrap(),
            version: PolicyVersion::new(version).unwrap(),
        }),
        (any::<Index>(), any::<u64>()).prop_map(|(index, session)| Event::WorkerDisconnected {
            worker: worker(&index),
            session,
            grace_ms: 0,
            reason: "of another stream".into(),
        }),
        (any::<Index>(), 0..6_u32, any::<f32>()).prop_map(|(index, round, weight)| {
            let receipt = AggregateReceipt::new(digest(7), 1, digest(8), vec![weight], String::new());
            Event::Aggregated { run: run(&index), round, receipt }
        }),
        Just(Event::TimePassed),
    ]
}

pub(crate) fn a_move() -> impl Strategy<Value = Move> {
    let seat = || (any::<Index>(), any::<Index>());
    let bad_weight = prop_oneof![20 => 0.0..1.0_f32, 1 => any::<f32>()];
    prop_oneof![
        10 => (any::<u8>(), proptest::bool::weighted(0.1)).prop_map(|(chosen, twice)| Move::Answer { chosen, twice }),
        2 => Just(Move::QuestionFails),
        20 => (seat(), a_receipt()).prop_map(|((run, worker), receipt)| Move::Report { run, worker, receipt }),
        2 => (seat(), an_evaluation())
            .prop_map(|((run, worker), evaluation)| Move::Evaluate { run, worker, evaluation }),
        3 => seat().prop_map(|(run, worker)| Move::Accept { run, worker }),
        1 => seat().prop_map(|(run, worker)| Move::Decline { run, worker }),
        1 => seat().prop_map(|(run, worker)| Move::Fail { run, worker }),
        10 => (prop_oneof![20 => Just(0_i8), 1 => -1..2_i8], bad_weight, a_kept(), any::<bool>()).prop_map(
            |(weights, weight, kept, has_notes)| Move::Aggregate { weights, weight, kept, has_notes }
        ),
        2 => Just(Move::AggregationFails),
        2 => policies_set().prop_map(Move::Event),
        4 => (any::<Index>(), 0..4_u32, any::<u8>())
            .prop_map(|(worker, slots, holds)| Move::Connect { worker, slots, holds }),
        2 => (any::<Index>(), 0..3_000_u64).prop_map(|(worker, grace_ms)| Move::Disconnect { worker, grace_ms }),
        1 => Just(Move::Restart),
        4 => Just(Move::Wake),
        3 => nonsense().prop_map(Move::Event),
    ]
}
