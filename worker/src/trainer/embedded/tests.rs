use std::collections::BTreeMap;

use polder_core::policy::Correction;
use polder_core::{AssignmentId, RunId, WorkerName};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::datasets::DataSets;
use crate::kept::tests::{assignment, bond};
use crate::trainer::Checkpoints;

/// Forty points on a line; those right of the middle are of class 1.
fn points() -> (tempfile::TempDir, DataSet) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("points.csv");
    let rows: String = (0..40).map(|x| format!("{},{}\n", f64::from(x - 20) / 10.0, u8::from(x >= 20))).collect();
    std::fs::write(&path, format!("x,label\n{rows}")).unwrap();
    std::fs::write(dir.path().join("points.schema.toml"), "[label]\ncolumn = \"label\"\nclasses = 2\n").unwrap();
    let sets = DataSets::open(&BTreeMap::from([("points".to_owned(), Some(path))])).unwrap();
    let data = sets.get("points").unwrap().clone();
    (dir, data)
}

fn settings(epochs: u32) -> Value {
    serde_json::json!({
        "model": { "kind": "logistic-regression", "inputs": 1, "classes": 2 },
        "train": { "epochs": epochs, "batch_size": 8, "learning_rate": 0.5 },
    })
}

fn request(data: DataSet, task: Task, holdout: f64, epochs: u32) -> TrainRequest {
    let architecture = Architecture::LogisticRegression { inputs: 1, classes: 2 };
    let model = Arc::new(architecture.initial(1).unwrap());
    TrainRequest {
        task,
        model,
        data,
        settings: settings(epochs),
        holdout,
        holdout_seed: 5,
        seed: 6,
        needs: TrainingNeeds::default(),
        linear: None,
        gpu: Some(0),
    }
}

fn watcher() -> (Watcher, CancellationToken) {
    let assignment = AssignmentId { run: RunId::new("r").unwrap(), round: 1, worker: WorkerName::new("w").unwrap() };
    let cancel = CancellationToken::new();
    (Watcher::new(&assignment, cancel.clone(), mpsc::channel(1).0), cancel)
}

#[tokio::test]
async fn trains_on_what_is_not_held_out_and_evaluates_on_what_is() {
    let (_dir, data) = points();
    let (watcher, _) = watcher();
    let trainer = Embedded::on(Device::Cpu);
    let run = |request: &TrainRequest| trainer.run(request, &watcher).unwrap();
    let Outcome::Trained(trained) = run(&request(data.clone(), Task::Train, 0.25, 20)) else { panic!("not trained") };
    assert_eq!(trained.examples, 30);
    assert_eq!(trained.evaluation.unwrap().examples, 10);
    assert!(trained.accuracy.unwrap() > 0.9);

    let mut evaluate = request(data.clone(), Task::Evaluate, 0.25, 1);
    evaluate.model = Arc::new(trained.parameters);
    let Outcome::Evaluated(evaluation) = run(&evaluate) else { panic!("not evaluated") };
    assert_eq!(evaluation.examples, 10);
    assert!(evaluation.accuracy > 0.8 && evaluation.loss < trained.evaluation.unwrap().loss);

    let Outcome::Trained(trained) = run(&request(data, Task::Train, 0.0, 1)) else { panic!("not trained") };
    assert_eq!((trained.examples, trained.evaluation), (40, None));
}

#[tokio::test]
async fn adds_what_a_policy_wants_and_says_what_followed() {
    let (_dir, data) = points();
    let (watcher, _) = watcher();
    let trainer = Embedded::on(Device::Cpu);
    let needs = TrainingNeeds {
        proximal_mu: None,
        correction: Some(Correction::ControlVariates { state_tensor: 0 }),
        base_loss: true,
    };
    let run = |linear| {
        let plain = request(data.clone(), Task::Train, 0.0, 2);
        let Outcome::Trained(trained) = trainer.run(&TrainRequest { needs, linear, ..plain }, &watcher).unwrap() else {
            panic!("not trained")
        };
        trained
    };
    let (plain, pushed) = (run(None), run(Some(Arc::new(vec![0.0, 0.0, 0.5, 0.0]))));
    assert_eq!((plain.steps, plain.normalizer, plain.learning_rate), (Some(10), Some(10.0), Some(0.5)));
    assert!(plain.base_loss.unwrap() > plain.loss.unwrap());
    // The third parameter got 0.5 more of a gradient in each of ten steps of 0.5; the others only feel it.
    let moved = plain.parameters.values()[2] - pushed.parameters.values()[2];
    assert!((1.0..2.6).contains(&moved), "{moved}");
    let evaluate = TrainRequest { needs, ..request(data, Task::Evaluate, 0.5, 1) };
    assert!(matches!(trainer.run(&evaluate, &watcher), Ok(Outcome::Evaluated(_))));

    assert!(trainer.adapts(&settings(1), &needs).is_ok());
    let mut momentum = settings(1);
    momentum["train"]["optimizer"] = serde_json::json!({"kind": "sgd", "momentum": 0.9});
    let reason = chain(&trainer.adapts(&momentum, &needs).unwrap_err());
    assert!(reason.contains("SCAFFOLD's control variates cannot be had with momentum"), "{reason}");
}

#[tokio::test]
async fn says_what_it_cannot_do() {
    let (_dir, data) = points();
    let (watcher, cancel) = watcher();
    let trainer = Embedded::on(Device::Cpu);
    let nothing = trainer.run(&request(data.clone(), Task::Evaluate, 0.0, 1), &watcher);
    assert!(matches!(nothing, Err(TrainerError::NothingHeldOut)));
    cancel.cancel();
    let cancelled = trainer.run(&request(data.clone(), Task::Train, 0.0, 10_000), &watcher);
    assert!(matches!(cancelled, Err(TrainerError::Cancelled)));

    let refusal = |settings: Value| {
        let error = trainer.check(&settings, &data).unwrap_err();
        chain(&error)
    };
    assert!(trainer.check(&settings(1), &data).is_ok());
    assert!(refusal(serde_json::json!({})).contains("missing field `model`"));
    let mut wide = settings(1);
    wide["model"]["inputs"] = 3.into();
    assert!(refusal(wide).contains("the model takes 3 features, but the data set has 1"));
    let mut unknown = settings(1);
    unknown["epochs"] = 3.into();
    assert!(refusal(unknown).contains("unknown field `epochs`"));
    assert!(refusal(settings(0)).contains("`epochs` is 0"));
}

/// Interrupts training after every batch and goes on, as a worker that is started again does.
#[tokio::test]
async fn training_that_was_interrupted_makes_the_same_update() {
    let (_dir, data) = points();
    let kept_in = tempfile::tempdir().unwrap();
    let trainer = Embedded::on(Device::Cpu);
    let request = TrainRequest {
        settings: serde_json::json!({
            "model": { "kind": "logistic-regression", "inputs": 1, "classes": 2 },
            "train": { "epochs": 4, "batch_size": 8, "optimizer": { "kind": "adam" } },
        }),
        ..request(data, Task::Train, 0.0, 4)
    };
    let trained = |outcome| match outcome {
        Outcome::Trained(trained) => trained,
        other => panic!("not trained: {other:?}"),
    };
    let whole = trained(trainer.run(&request, &watcher().0).unwrap());
    let mut interruptions = 0;
    let resumed = loop {
        let kept = Arc::new(crate::kept::Kept::at(kept_in.path(), bond("a"), 1 << 20));
        let (place, stopping) = (kept.place(&assignment(1)), CancellationToken::new());
        let (watcher, cancel) = watcher();
        let watcher = watcher.with_checkpoints(Checkpoints::new(place, std::time::Duration::ZERO, stopping));
        // Each gets one batch further.
        cancel.cancel();
        match trainer.run(&request, &watcher) {
            Ok(outcome) => break trained(outcome),
            Err(TrainerError::Cancelled) => interruptions += 1,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(interruptions, 4 * 5);
    let bits = |trained: &Trained| trained.parameters.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&resumed), bits(&whole));
    assert_eq!((resumed.steps, resumed.loss, resumed.accuracy), (whole.steps, whole.loss, whole.accuracy));
}

#[cfg(not(feature = "cuda"))]
#[tokio::test]
async fn a_gpu_that_is_lost_may_be_back_but_what_diverged_diverges_again() {
    let (_dir, data) = points();
    let request = request(data, Task::Train, 0.0, 1);
    let lost = Embedded::on(Device::Cuda { index: 0 }).run(&request, &watcher().0).unwrap_err();
    assert!(lost.may_pass(), "{lost}");
    let mut settings = settings(10_000);
    settings["train"]["learning_rate"] = 100.0.into();
    settings["train"]["optimizer"] = serde_json::json!({ "kind": "sgd", "weight_decay": 1.0 });
    let diverging = TrainRequest { settings, ..request };
    let diverged = Embedded::on(Device::Cpu).run(&diverging, &watcher().0).unwrap_err();
    assert!(!diverged.may_pass() && chain(&diverged).contains("diverged"), "{}", chain(&diverged));
    assert_eq!(Embedded::on(Device::Cpu).retries(&diverging.settings), 1);
}
