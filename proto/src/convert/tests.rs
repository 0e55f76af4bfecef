use polder_core::policy::{Correction, OnFailure, PolicyRef, PolicySignature, TrainingNeeds};
use polder_core::round::StateTensor;

use super::*;
use crate::v1::training_needs;

fn worker() -> WorkerName {
    WorkerName::new("eu-west-1").unwrap()
}

fn assignment_value() -> effect::Assignment {
    effect::Assignment {
        id: AssignmentId { run: RunId::new("digits-1").unwrap(), round: 3, worker: worker() },
        task: Task::Train,
        model: Digest::blake3([7; 32]),
        model_bytes: 40,
        model_version: 2,
        dataset: "digits".into(),
        trainer: TrainerSpec { kind: "embedded".into(), settings: serde_json::json!({"epochs": 1}) },
        holdout: 0.2,
        holdout_seed: 1,
        seed: u64::MAX,
        gpu: Some(1),
        deadline: Timestamp(5_000),
        cohort: 4,
        quorum: 3,
        aggregation: PolicyRef {
            name: "scaffold".parse().unwrap(),
            version: Some("0.2.0".parse().unwrap()),
            digest: Digest::sha256([3; 32]),
            parameters: "{}".into(),
            on_failure: OnFailure::default(),
            signature: Some(PolicySignature {
                signer: format!("ed25519:{}", "0a".repeat(32)),
                signature: "0b".repeat(64),
            }),
        },
        training: TrainingNeeds {
            proximal_mu: Some(0.5),
            correction: Some(Correction::ControlVariates { state_tensor: 1 }),
            base_loss: true,
        },
        control_variate: Some(StateTensor { digest: Digest::blake3([8; 32]), bytes: 40 }),
    }
}

#[test]
fn an_assignment_survives_the_wire_even_when_clocks_differ() {
    let sent = assignment_value();
    let wire = assignment_to_wire(&sent, Timestamp(1_000));
    let mut received = assignment(wire, &worker(), Timestamp(901_000)).unwrap();
    assert_eq!(received.deadline, Timestamp(905_000));
    received.deadline = sent.deadline;
    assert_eq!(received, sent);
}

#[test]
fn an_assignment_of_a_plain_policy_survives_the_wire_too() {
    let mut sent = assignment_value();
    sent.training =
        TrainingNeeds { correction: Some(Correction::DynamicRegularizer { alpha: 0.1 }), ..Default::default() };
    sent.control_variate = None;
    sent.aggregation.version = None;
    sent.aggregation.signature = None;
    assert_eq!(assignment(assignment_to_wire(&sent, Timestamp(0)), &worker(), Timestamp(0)).unwrap(), sent);
}

#[test]
fn a_receipt_survives_the_wire() {
    let sent = round::UpdateReceipt {
        update: Digest::blake3([9; 32]),
        bytes: 40,
        examples: 12,
        loss: Some(0.5),
        accuracy: Some(0.25),
        evaluation: Some(round::Evaluation { examples: 2, loss: 0.75, accuracy: 0.5 }),
        base_loss: Some(0.625),
        steps: Some(7),
        normalizer: Some(6.5),
        learning_rate: Some(0.05),
    };
    let wire = receipt_to_wire(&assignment_value().id, &sent);
    assert_eq!(receipt(wire).unwrap(), sent);
}

#[test]
fn every_bad_field_is_named() {
    let wire = || assignment_to_wire(&assignment_value(), Timestamp(0));
    let policy = |change: fn(&mut v1::AggregationPolicy)| {
        let mut policy = wire().aggregation.unwrap();
        change(&mut policy);
        v1::Assignment { aggregation: Some(policy), ..wire() }
    };
    let signed = |signer: &str, signature: &str| {
        let signature = v1::PolicySignature { signer: signer.into(), signature: signature.into() };
        let policy = v1::AggregationPolicy { signature: Some(signature), ..wire().aggregation.unwrap() };
        v1::Assignment { aggregation: Some(policy), ..wire() }
    };
    let needs = |needs: v1::TrainingNeeds| v1::Assignment { training: Some(needs), ..wire() };
    let corrected =
        |correction| needs(v1::TrainingNeeds { correction: Some(correction), ..v1::TrainingNeeds::default() });
    let cases = [
        ("aggregation", v1::Assignment { aggregation: None, ..wire() }),
        ("aggregation.name", policy(|policy| policy.name.clear())),
        ("aggregation.version", policy(|policy| policy.version = "a b".into())),
        ("aggregation.digest", policy(|policy| policy.digest = "sha256:0".into())),
        ("aggregation.signature.signer", signed(&"0a".repeat(32), &"0b".repeat(64))),
        ("aggregation.signature.signature", signed(&format!("ed25519:{}", "0a".repeat(32)), "0b")),
        ("training.proximal_mu", needs(v1::TrainingNeeds { proximal_mu: Some(f64::NAN), ..Default::default() })),
        ("training.control_variates", corrected(training_needs::Correction::ControlVariates(4))),
        ("training.dynamic_regularizer", corrected(training_needs::Correction::DynamicRegularizer(-1.0))),
        ("control_variate.digest", v1::Assignment { control_variate: Some(v1::ControlVariate::default()), ..wire() }),
        ("assignment", v1::Assignment { assignment: None, ..wire() }),
        ("task", v1::Assignment { task: "dance".into(), ..wire() }),
        ("model", v1::Assignment { model: "x".into(), ..wire() }),
        ("holdout", v1::Assignment { holdout: f64::NAN, ..wire() }),
        ("trainer_settings", v1::Assignment { trainer_settings: "{".into(), ..wire() }),
    ];
    for (field, wire) in cases {
        assert_eq!(assignment(wire, &worker(), Timestamp(0)).unwrap_err().field, field);
    }
}

#[test]
fn loads_are_brought_into_range() {
    let wire = v1::MachineLoad {
        cpu_utilization: f64::NAN,
        memory_free_bytes: 1,
        gpus: vec![v1::Gpu { utilization: Some(7.0), name: "a\u{7}b".into(), ..Default::default() }; 100],
    };
    let load = load(Some(wire));
    assert_eq!((load.cpu_utilization, load.gpus.len()), (0.0, GPUS_MAX));
    assert_eq!((load.gpus[0].utilization, load.gpus[0].name.as_str()), (Some(1.0), "ab"));
}

#[test]
fn metrics_must_be_possible() {
    let header = v1::UpdateHeader { digest: Digest::blake3([0; 32]).to_string(), examples: 1, ..Default::default() };
    assert!(receipt(header.clone()).is_ok());
    assert!(receipt(v1::UpdateHeader { examples: 0, ..header.clone() }).is_err());
    assert!(receipt(v1::UpdateHeader { loss: Some(f64::INFINITY), ..header.clone() }).is_err());
    assert!(receipt(v1::UpdateHeader { base_loss: Some(f64::NAN), ..header.clone() }).is_err());
    assert!(receipt(v1::UpdateHeader { normalizer: Some(f64::INFINITY), ..header.clone() }).is_err());
    assert!(receipt(v1::UpdateHeader { learning_rate: Some(f64::NAN), ..header.clone() }).is_err());
    let bad = v1::Evaluation { examples: 1, loss: 0.1, accuracy: 1.5 };
    assert!(receipt(v1::UpdateHeader { evaluation: Some(bad), ..header }).is_err());
}
