use polder_core::policy::{OnFailure, PolicyRef, ReleaseBudget, TrainingNeeds};
use polder_core::round::Task;
use polder_core::spec::TrainerSpec;
use polder_core::{AssignmentId, Digest, RunId, Timestamp, WorkerName};
use tempfile::TempDir;

use super::*;

fn assignment(cohort: u32) -> effect::Assignment {
    let run = RunId::new("r").unwrap();
    effect::Assignment {
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
        cohort,
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

fn numbers() -> UpdateNumbers {
    UpdateNumbers { parameters: 2, examples: 5, loss: Some(0.5), steps: Some(3), norm: 5.0, max_norm: 4.0 }
}

fn guest(name: &str) -> String {
    format!("{}/../tests/policies/guests/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

fn open(dir: &TempDir, policy: Option<&str>, parameters: &str) -> Result<ReleaseGuard, ReleaseError> {
    ReleaseGuard::open(&ReleaseChoice::parse(policy, Some(parameters.into()))?, dir.path())
}

fn refusal(policy: Option<&str>, parameters: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    chain(&open(&dir, policy, parameters).err().unwrap())
}

fn review(guard: &ReleaseGuard, cohort: u32) -> Result<Treatment, String> {
    review_in(guard, 1, cohort)
}

fn review_in(guard: &ReleaseGuard, round: u32, cohort: u32) -> Result<Treatment, String> {
    let region = Region::new("eu-west").unwrap();
    let mut assignment = assignment(cohort);
    assignment.id.round = round;
    guard.review(&assignment, &region, numbers()).map_err(|withheld| withheld.to_string())
}

fn budget(guard: &ReleaseGuard) -> ReleaseBudget {
    guard.ledgers.open(&RunId::new("r").unwrap()).unwrap().budget()
}

#[test]
fn without_a_choice_everything_leaves_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let guard = open(&dir, None, "{}").unwrap();
    assert!(guard.name.starts_with("allow-all@"), "{}", guard.name);
    assert_eq!(review(&guard, 1), Ok(Treatment::default()));
    assert_eq!(budget(&guard), ReleaseBudget { released: 1, withheld: 0 });
}

#[test]
fn what_the_policy_says_is_to_be_done_and_counts_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for released in 1..=2 {
        let guard = open(&dir, Some("clip"), r#"{"norm": 2.5}"#).unwrap();
        assert_eq!(review(&guard, 1), Ok(Treatment { clip: Some(2.5), ..Treatment::default() }));
        assert_eq!(budget(&guard), ReleaseBudget { released, withheld: 0 });
    }
    let guard = open(&dir, Some("min-cohort"), r#"{"cohort_min": 3}"#).unwrap();
    let reason = review(&guard, 2).unwrap_err();
    assert!(reason.starts_with("withheld by release policy min-cohort@"), "{reason}");
    assert!(reason.contains("the round has 2 workers"), "{reason}");
    assert_eq!(review_in(&guard, 2, 3), Ok(Treatment::default()));
    assert_eq!(budget(&guard), ReleaseBudget { released: 3, withheld: 1 });
}

/// It answers whatever lies in its state.
#[test]
fn the_policy_gets_its_own_state_and_no_other_policys() {
    let dir = tempfile::tempdir().unwrap();
    let guard = open(&dir, Some(&guest("echo-release")), "{}").unwrap();
    let run = RunId::new("r").unwrap();
    let mut noise = vec![0; 72];
    noise[32] = 1;
    noise[40..48].copy_from_slice(&0.25_f64.to_le_bytes());
    let mut ledger = Ledger::default();
    ledger.released(guard.policy.digest(), noise.clone());
    guard.ledgers.save(&run, &ledger).unwrap();
    assert_eq!(review(&guard, 1), Ok(Treatment { noise: Some(0.25), ..Treatment::default() }));
    // It returned an empty one.
    assert_eq!(review_in(&guard, 2, 1), Ok(Treatment::default()));
    ledger.released(Digest::sha256([1; 32]), noise);
    guard.ledgers.save(&run, &ledger).unwrap();
    assert_eq!(review_in(&guard, 3, 1), Ok(Treatment::default()));
}

#[test]
fn what_was_noised_or_withheld_is_not_decided_again() {
    let dir = tempfile::tempdir().unwrap();
    let strict = || open(&dir, Some("min-cohort"), r#"{"cohort_min": 3}"#).unwrap();
    assert!(review_in(&strict(), 4, 2).unwrap_err().contains("the round has 2 workers"));
    for (round, cohort) in [(4, 3), (3, 3)] {
        let reason = review_in(&strict(), round, cohort).unwrap_err();
        assert!(reason.contains("stands; it decides once"), "{reason}");
    }
    assert_eq!(budget(&strict()), ReleaseBudget { released: 0, withheld: 1 });
    // What left as it was may leave again, after a crash for instance: it is the same update.
    for released in 1..=2 {
        assert_eq!(review_in(&strict(), 5, 3), Ok(Treatment::default()));
        assert_eq!(budget(&strict()), ReleaseBudget { released, withheld: 1 });
    }
}

#[test]
fn a_policy_that_fails_releases_nothing() {
    for name in ["unreachable-in-review", "loop-in-review", "clip-nan", "noise-negative", "release-state-too-large"] {
        let dir = tempfile::tempdir().unwrap();
        let guard = open(&dir, Some(&guest(name)), "{}").unwrap();
        let reason = review(&guard, 9).unwrap_err();
        assert!(reason.starts_with(&format!("withheld by release policy {name}.wasm: it failed: ")), "{reason}");
        assert_eq!(budget(&guard), ReleaseBudget { released: 0, withheld: 1 });
    }
}

#[test]
fn without_its_record_nothing_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let guard = open(&dir, Some("allow-all"), "{}").unwrap();
    let path = dir.path().join("released/r.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "{").unwrap();
    assert!(review(&guard, 1).unwrap_err().contains("cannot be kept; the worker's log says why"));
    std::fs::remove_file(&path).unwrap();
    assert!(review(&guard, 1).is_ok());
    // One that can be read and not written.
    std::fs::create_dir(path.with_file_name(".r.json")).unwrap();
    assert!(review(&guard, 1).unwrap_err().contains("cannot be kept"));
}

#[test]
fn what_cannot_guard_a_region_is_refused_at_start() {
    let unknown = refusal(Some("clop"), "{}");
    assert!(unknown.contains("`--release clop`") && unknown.contains("clip"), "{unknown}");
    assert!(refusal(Some("fedavg"), "{}").contains("no release policy of that name"));
    assert!(refusal(Some("/nowhere/x.wasm"), "{}").contains("cannot read the release policy `/nowhere/x.wasm`"));
    assert!(refusal(None, "[]").contains("`--release-parameters` is no JSON object"));
    let bad = refusal(Some("clip"), r#"{"norm": -1}"#);
    assert!(bad.contains("the release policy clip@") && bad.contains("above 0"), "{bad}");
    assert!(refusal(None, r#"{"x": 1}"#).contains("unknown field `x`"));
    assert!(refusal(Some(&guest("honest-placement")), "{}").contains("is a policy for placement"));
    assert!(refusal(Some(&guest("core-module")), "{}").contains("core-module.wasm cannot be used"));
}

#[test]
fn an_update_that_its_treatment_spoils_is_withheld() {
    let dir = tempfile::tempdir().unwrap();
    let guard = open(&dir, Some(&guest("echo-release")), "{}").unwrap();
    let layout = polder_tensor::Layout::new(vec![polder_tensor::TensorSpec::new("w", [2])]).unwrap();
    let update = polder_tensor::Parameters::new(std::sync::Arc::new(layout), vec![3.0, 1e6]).unwrap();
    let mut trained = Trained::plain(update, 1);
    let mut ledger = Ledger::default();
    // To float16, which ends at 65,504.
    let mut answer = vec![0; 72];
    answer[48] = 1;
    ledger.released(guard.policy.digest(), answer);
    guard.ledgers.save(&RunId::new("r").unwrap(), &ledger).unwrap();
    let region = Region::new("eu-west").unwrap();
    let reason = guard.release(&assignment(1), &region, &mut trained).unwrap_err().to_string();
    assert!(reason.contains("echo-release.wasm") && reason.contains("rounded to float16"), "{reason}");
    assert_eq!(budget(&guard).released, 2, "the decision counts all the same");
    trained.parameters.values_mut().copy_from_slice(&[3.0, 4.0]);
    guard.release(&assignment(1), &region, &mut trained).unwrap();
    assert_eq!(trained.parameters.values(), [3.0, 4.0]);
}
