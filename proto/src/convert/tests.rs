use super::*;

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
fn every_bad_field_is_named() {
    let wire = || assignment_to_wire(&assignment_value(), Timestamp(0));
    let cases = [
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
    let bad = v1::Evaluation { examples: 1, loss: 0.1, accuracy: 1.5 };
    assert!(receipt(v1::UpdateHeader { evaluation: Some(bad), ..header }).is_err());
}
