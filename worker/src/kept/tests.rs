use std::sync::Arc;

use polder_core::policy::{OnFailure, PolicyRef, TrainingNeeds};
use polder_core::round::{Task, UpdateReceipt};
use polder_core::spec::TrainerSpec;
use polder_core::{Digest, RunId, Timestamp};
use polder_tensor::{Layout, Parameters, TensorSpec};
use tempfile::TempDir;

use super::*;

pub(crate) fn bond(authority: &str) -> Bond {
    Bond { authority: authority.into(), worker: WorkerName::new("w").unwrap() }
}

fn kept(dir: &TempDir) -> Arc<Kept> {
    Arc::new(Kept::at(dir.path(), bond("a"), 1 << 20))
}

pub(crate) fn assignment(round: u32) -> Assignment {
    Assignment {
        id: AssignmentId { run: RunId::new("r").unwrap(), round, worker: WorkerName::new("w").unwrap() },
        task: Task::Train,
        model: Digest::blake3([0; 32]),
        model_bytes: 100,
        model_version: 1,
        dataset: "d".into(),
        trainer: TrainerSpec { kind: "embedded".into(), settings: serde_json::json!({ "rate": 0.1 }) },
        holdout: 0.1,
        holdout_seed: 0,
        seed: u64::MAX,
        gpu: None,
        deadline: Timestamp(7),
        cohort: 2,
        quorum: 1,
        aggregation: PolicyRef {
            name: "some".parse().unwrap(),
            version: None,
            digest: Digest::sha256([0; 32]),
            parameters: "{}".into(),
            on_failure: OnFailure::default(),
            signature: None,
        },
        training: TrainingNeeds::default(),
        control_variate: None,
    }
}

fn parameters(values: &[f32]) -> Parameters {
    let layout = Layout::new(vec![TensorSpec::new("w", [values.len()])]).unwrap();
    Parameters::new(Arc::new(layout), values.to_vec()).unwrap()
}

fn keep_update(place: &Place, parameters: &Parameters) -> io::Result<()> {
    let bytes = parameters.layout().file_bytes();
    let receipt = UpdateReceipt { loss: Some(0.1 + 0.2), ..UpdateReceipt::new(parameters.digest(), bytes, 10) };
    let file = parameters.to_safetensors();
    let (head, values) = file.split_at(file.len() - 4 * parameters.values().len());
    place.keep_update(&Sent { receipt: &receipt, released_by: "policy", change: None, parts: [head, values] })
}

fn keep_checkpoint(place: &Place, text: &str) -> io::Result<()> {
    place.keep_checkpoint(|file| file.write_all(text.as_bytes()))
}

fn checkpoint(place: &Place) -> Option<String> {
    let mut text = String::new();
    place.checkpoint()?.read_to_string(&mut text).unwrap();
    Some(text)
}

/// Every file below the directory.
fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = ["updates", "checkpoints"]
        .iter()
        .filter_map(|below| fs::read_dir(dir.path().join(below)).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()))
        .collect();
    names.sort();
    names
}

#[test]
fn an_update_outlives_the_worker_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (place, update) = (kept(&dir).place(&assignment(3)), parameters(&[0.1, f32::MIN_POSITIVE, -3.0]));
    keep_checkpoint(&place, "half way").unwrap();
    keep_update(&place, &update).unwrap();
    assert_eq!(names(&dir), ["r.3.update"], "the checkpoint has served its purpose");

    let again = kept(&dir);
    let mut left = again.left();
    assert!(left.unfinished.is_empty());
    let found = left.updates.pop().unwrap();
    assert_eq!((&found.assignment, &found.parameters), (&assignment(3), &update));
    assert_eq!((found.receipt.loss, found.receipt.examples), (Some(0.1 + 0.2), 10));
    assert_eq!(found.released_by, "policy");
    assert!(found.change.is_none());
    again.place(&assignment(3)).clear();
    assert!(names(&dir).is_empty());
}

#[test]
fn a_checkpoint_belongs_to_what_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    keep_checkpoint(&kept(&dir).place(&assignment(3)), "half way").unwrap();
    let again = kept(&dir);
    assert_eq!(again.left().unfinished, [assignment(3)]);
    // Another deadline changes nothing of what training makes; another seed does.
    let later = Assignment { deadline: Timestamp(9), cohort: 3, ..assignment(3) };
    assert_eq!(checkpoint(&again.place(&later)).as_deref(), Some("half way"));
    assert_eq!(checkpoint(&again.place(&Assignment { seed: 1, ..assignment(3) })), None);
    assert_eq!(checkpoint(&again.place(&assignment(4))), None);
}

#[test]
fn what_is_damaged_foreign_or_unknown_is_removed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let ours = kept(&dir);
    keep_update(&ours.place(&assignment(1)), &parameters(&[1.0])).unwrap();
    keep_checkpoint(&ours.place(&assignment(2)), "half way").unwrap();
    let path = dir.path().join("updates/r.1.update");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    for name in ["updates/.r.7.update", "checkpoints/.r.7.checkpoint", "checkpoints/what", "updates/r.9.update"] {
        fs::write(dir.path().join(name), "?").unwrap();
    }
    let left = kept(&dir).left();
    assert!(left.updates.is_empty());
    assert_eq!(left.unfinished, [assignment(2)]);
    assert_eq!(names(&dir), ["r.2.checkpoint"]);

    let left = Kept::at(dir.path(), bond("another"), 1 << 20).left();
    assert!(left.updates.is_empty() && left.unfinished.is_empty());
    assert!(names(&dir).is_empty());
}

#[test]
fn nothing_is_written_any_more_once_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let place = kept(&dir).place(&assignment(1));
    keep_checkpoint(&place, "half way").unwrap();
    place.clear();
    // A trainer's thread that has not noticed yet.
    keep_checkpoint(&place, "further").unwrap();
    drop(place.begin());
    let _begun = place.begin();
    assert!(names(&dir).is_empty());
}

#[test]
fn workers_that_end_while_they_train_are_counted_until_training_came_further() {
    let dir = tempfile::tempdir().unwrap();
    let killed = |expected: u32| {
        let kept = kept(&dir);
        kept.left();
        let place = kept.place(&assignment(1));
        assert_eq!(place.begun(), expected);
        // Never dropped, as of a worker that was killed.
        let _ = std::mem::ManuallyDrop::new(place.begin());
        place
    };
    killed(0);
    killed(1);
    keep_checkpoint(&killed(2), "further").unwrap();
    killed(1);
    // Training that failed is no worker that ended.
    let kept = kept(&dir);
    kept.left();
    let place = kept.place(&assignment(1));
    drop(place.begin());
    assert_eq!(place.begun(), 2);
    assert_eq!(names(&dir), ["r.1.checkpoint"]);
}

#[test]
fn what_is_kept_is_bounded_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Arc::new(Kept::at(dir.path(), bond("a"), 5_000));
    let large = parameters(&[1.0; 1_000]);
    keep_update(&kept.place(&assignment(1)), &large).unwrap();
    let error = keep_update(&kept.place(&assignment(2)), &large).unwrap_err().to_string();
    assert!(error.contains("more than the 5000 allowed"), "{error}");
    assert_eq!(names(&dir), ["r.1.update"]);
    kept.place(&assignment(1)).clear();
    keep_update(&kept.place(&assignment(2)), &large).unwrap();
}
