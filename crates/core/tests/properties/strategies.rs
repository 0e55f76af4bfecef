//! What may happen: numbers that may fit, names that may exist, moves that make sense and events that do not.

use polder_core::policy::{AggregationTraits, PolicyKind, PolicyRef};
use polder_core::round::{AggregateReceipt, Evaluation, UpdateReceipt};
use polder_core::spec::{CohortSpec, Deadlines, EvaluationSpec, Metric, ModelSpec, RunSpec, Target, TrainerSpec};
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

pub(crate) fn a_spec() -> impl Strategy<Value = RunSpec> {
    let cohort = (1..4_u32, 0..2_u32, 1..4_u32);
    let deadlines = (prop_oneof![Just(0), 1..2_000_u64], 1..5_000_u64);
    let evaluation = proptest::option::of(Just(EvaluationSpec { holdout: 0.2 }));
    (1..4_u32, cohort, deadlines, evaluation, any::<bool>(), any::<u64>(), 0..2_u8).prop_map(
        |(rounds, (size, over_selection, quorum), (selection_ms, round_ms), evaluation, has_target, seed, which)| {
            let policy =
                |name: &str, which| PolicyRef::new(PolicyName::new(name).unwrap(), Digest::sha256([which; 32]));
            RunSpec {
                name: "digits".into(),
                model: ModelSpec { digest: digest(0), bytes: 400, parameters: 100 },
                dataset: "digits".into(),
                trainer: TrainerSpec { kind: "mlp".into(), settings: serde_json::json!({"rate": 0.1}) },
                rounds,
                cohort: CohortSpec { size, over_selection, quorum: quorum.min(size) },
                deadlines: Deadlines { selection_ms, round_ms },
                evaluation,
                target: evaluation.filter(|_| has_target).map(|_| Target { metric: Metric::Accuracy, value: 0.9 }),
                placement: policy("place", which),
                aggregation: policy("sum", 9),
                seed,
            }
        },
    )
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
        (any::<Index>(), spec).prop_map(|(index, spec)| Event::RunSubmitted {
            run: run(&index),
            spec: spec.into(),
            traits: AggregationTraits::default()
        }),
        any::<u8>().prop_map(|seed| Event::PolicyPushed {
            name: PolicyName::new("p").unwrap(),
            kind: PolicyKind::Placement,
            digest: digest(seed),
            version: PolicyVersion::new("1").unwrap(),
            bytes: 1,
            signature: None,
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
        1 => Just(Move::QuestionFails),
        20 => (seat(), a_receipt()).prop_map(|((run, worker), receipt)| Move::Report { run, worker, receipt }),
        2 => (seat(), an_evaluation())
            .prop_map(|((run, worker), evaluation)| Move::Evaluate { run, worker, evaluation }),
        3 => seat().prop_map(|(run, worker)| Move::Accept { run, worker }),
        1 => seat().prop_map(|(run, worker)| Move::Decline { run, worker }),
        1 => seat().prop_map(|(run, worker)| Move::Fail { run, worker }),
        9 => (prop_oneof![20 => Just(0_i8), 1 => -1..2_i8], bad_weight)
            .prop_map(|(weights, weight)| Move::Aggregate { weights, weight }),
        1 => Just(Move::AggregationFails),
        4 => (any::<Index>(), 0..4_u32, any::<u8>())
            .prop_map(|(worker, slots, holds)| Move::Connect { worker, slots, holds }),
        2 => (any::<Index>(), 0..3_000_u64).prop_map(|(worker, grace_ms)| Move::Disconnect { worker, grace_ms }),
        1 => Just(Move::Restart),
        4 => Just(Move::Wake),
        3 => nonsense().prop_map(Move::Event),
    ]
}
