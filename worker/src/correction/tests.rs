use polder_core::policy::{PolicyRef, TrainingNeeds};
use polder_core::round::Task;
use polder_core::spec::TrainerSpec;
use polder_core::{AssignmentId, Digest, Timestamp, WorkerName};
use polder_tensor::TensorSpec;

use super::*;

fn parameters(values: &[f32]) -> Parameters {
    let layout = Layout::new(vec![TensorSpec::new("w", [values.len()])]).unwrap();
    Parameters::new(Arc::new(layout), values.to_vec()).unwrap()
}

fn assignment(correction: Option<policy::Correction>) -> Assignment {
    let run = RunId::new("r").unwrap();
    Assignment {
        id: AssignmentId { run, round: 1, worker: WorkerName::new("w").unwrap() },
        task: Task::Train,
        model: Digest::blake3([0; 32]),
        model_bytes: 1,
        model_version: 1,
        dataset: "d".into(),
        trainer: TrainerSpec { kind: "embedded".into(), settings: serde_json::json!({}) },
        holdout: 0.0,
        holdout_seed: 0,
        seed: 0,
        gpu: None,
        deadline: Timestamp(0),
        cohort: 2,
        quorum: 1,
        aggregation: PolicyRef {
            name: "some".parse().unwrap(),
            version: None,
            digest: Digest::sha256([0; 32]),
            parameters: "{}".into(),
            on_failure: policy::OnFailure::default(),
            signature: None,
        },
        training: TrainingNeeds { correction, ..TrainingNeeds::default() },
        control_variate: None,
    }
}

const SCAFFOLD: policy::Correction = policy::Correction::ControlVariates { state_tensor: 0 };

/// Two rounds of SCAFFOLD by hand: K = 4 steps at 0.5, so that Δ / (K η) is Δ / 2.
#[tokio::test]
async fn control_variates_follow_option_ii() {
    let dir = tempfile::tempdir().unwrap();
    let corrections = Corrections::at(dir.path().into());
    let (model, assignment) = (parameters(&[0.0; 2]), assignment(Some(SCAFFOLD)));
    let turn = corrections.turn(&assignment.id.run).await;

    let first = Correction::of(&assignment, None).unwrap();
    assert_eq!(first.linear(&turn, &model), None);
    // c_i = 0 − 0 − Δ / 2
    first.change(Some(4), Some(0.5)).unwrap().make(&turn, model.layout(), &[1.0, -2.0]).unwrap();

    let second = Correction::of(&assignment, Some(Arc::new(parameters(&[0.25, 0.5])))).unwrap();
    // c − c_i
    assert_eq!(second.linear(&turn, &model), Some(vec![0.25 + 0.5, 0.5 - 1.0]));
    // c_i = [−0.5, 1] − [0.25, 0.5] − [2, 2] / 2
    second.change(Some(4), Some(0.5)).unwrap().make(&turn, model.layout(), &[2.0, 2.0]).unwrap();
    assert_eq!(second.linear(&turn, &model), Some(vec![0.25 + 1.75, 0.5 + 0.5]));
}

/// A coordinator whose c is all zero has counted nothing of what we kept.
#[tokio::test]
async fn a_control_variate_starts_anew_with_the_coordinators() {
    let dir = tempfile::tempdir().unwrap();
    let corrections = Corrections::at(dir.path().into());
    let (model, assignment) = (parameters(&[0.0]), assignment(Some(SCAFFOLD)));
    let turn = corrections.turn(&assignment.id.run).await;
    let fresh = Correction::of(&assignment, None).unwrap();
    for delta in [1.0, 3.0] {
        assert_eq!(fresh.linear(&turn, &model), None);
        fresh.change(Some(1), Some(1.0)).unwrap().make(&turn, model.layout(), &[delta]).unwrap();
    }
    let later = Correction::of(&assignment, Some(Arc::new(parameters(&[0.0])))).unwrap();
    assert_eq!(later.linear(&turn, &model), Some(vec![3.0]));
}

/// Two rounds of FedDyn by hand, α = 0.5.
#[tokio::test]
async fn the_dynamic_regularizer_gathers_what_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let corrections = Corrections::at(dir.path().into());
    let assignment = assignment(Some(policy::Correction::DynamicRegularizer { alpha: 0.5 }));
    let (model, run) = (parameters(&[0.0; 2]), assignment.id.run.clone());
    let dynamic = Correction::of(&assignment, None).unwrap();
    assert_eq!(dynamic.linear(&corrections.turn(&run).await, &model), None);
    for _ in 0..2 {
        let turn = corrections.turn(&run).await;
        dynamic.change(None, None).unwrap().make(&turn, model.layout(), &[1.0, -3.0]).unwrap();
    }
    // h = −α (Δ + Δ), and every gradient gets −h.
    assert_eq!(dynamic.linear(&corrections.turn(&run).await, &model), Some(vec![1.0, -3.0]));
}

#[test]
fn control_variates_need_steps_and_a_learning_rate() {
    let correction = Correction::of(&assignment(Some(SCAFFOLD)), None).unwrap();
    for (steps, rate) in [(None, Some(0.1)), (Some(1), None), (Some(0), Some(0.1)), (Some(1), Some(0.0))] {
        assert_eq!(correction.change(steps, rate).unwrap_err(), NoSteps);
    }
    assert!(Correction::of(&assignment(None), None).is_none());
}

#[tokio::test]
async fn what_overflows_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let corrections = Corrections::at(dir.path().into());
    let assignment = assignment(Some(policy::Correction::DynamicRegularizer { alpha: 1000.0 }));
    let (model, turn) = (parameters(&[0.0]), corrections.turn(&assignment.id.run).await);
    let dynamic = Correction::of(&assignment, None).unwrap();
    dynamic.change(None, None).unwrap().make(&turn, model.layout(), &[1.0]).unwrap();
    dynamic.change(None, None).unwrap().make(&turn, model.layout(), &[f32::MAX]).unwrap();
    assert_eq!(dynamic.linear(&turn, &model), None);
}

#[tokio::test]
async fn one_has_its_turn_at_a_time_and_what_nobody_waits_for_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let corrections = Arc::new(Corrections::at(dir.path().into()));
    let (a, b) = (RunId::new("a").unwrap(), RunId::new("b").unwrap());
    let turn = corrections.turn(&a).await;
    let other = corrections.turn(&b).await;
    let waiting = tokio::spawn({
        let (corrections, a) = (corrections.clone(), a.clone());
        async move { drop(corrections.turn(&a).await) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "two had their turn at once");
    drop(turn);
    waiting.await.unwrap();
    drop(other);
    drop(corrections.turn(&b).await);
    assert_eq!(corrections.turns.lock().unwrap().len(), 1);
}
