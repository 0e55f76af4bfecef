use std::fs;
use std::path::{Path, PathBuf};

use polder_core::spec::Metric;
use polder_train::TrainConfig;

use super::*;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/run_file")
}

/// The case's run file, with the `--set`s of its `set.txt`.
fn parse(case: &Path) -> Result<RunFile, Fault> {
    let text = fs::read_to_string(case.join("run.toml")).unwrap();
    let sets = fs::read_to_string(case.join("set.txt")).unwrap_or_default();
    let overrides: Vec<Override> = sets.lines().map(|line| line.parse().unwrap()).collect();
    RunFile::parse(Path::new("run.toml"), &text, &overrides)
}

fn good(name: &str) -> RunFile {
    parse(&cases().join(name)).unwrap_or_else(|fault| panic!("{name}\n{fault}"))
}

/// Each folder is a case: with `error.txt`, the file is refused in these words; without, it is taken.
/// `POLDER_BLESS=1` writes what is said now.
#[test]
fn every_case_says_what_its_folder_says() {
    let mut folders: Vec<PathBuf> = fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() > 40, "only {} cases were found", folders.len());
    let mut wrong = Vec::new();
    for folder in folders {
        let expected_at = folder.join("error.txt");
        let said = parse(&folder).err().map(|fault| format!("{fault}\n"));
        if std::env::var_os("POLDER_BLESS").is_some() {
            match &said {
                Some(said) => fs::write(&expected_at, said).unwrap(),
                None => drop(fs::remove_file(&expected_at)),
            }
        }
        let expected = fs::read_to_string(&expected_at).ok();
        if said != expected {
            wrong.push(format!("{}\n-- said:\n{said:?}\n-- expected:\n{expected:?}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_is_left_out_has_its_default() {
    let file = good("good");
    assert_eq!(file.seed, 0);
    assert_eq!(file.cohort, CohortSpec { size: 3, over_selection: 0, quorum: 2, staleness_max: 0, standbys: 2 });
    assert_eq!(file.deadlines, Deadlines { selection_ms: 10_000, round_ms: 600_000 });
    assert_eq!((file.evaluation, file.target), (None, None));
    assert_eq!(file.placement.called.to_string(), "least-loaded");
    assert_eq!(file.aggregation.called.to_string(), "fedavg");
    assert_eq!(file.aggregation.parameters, "{}");
    assert_eq!(file.aggregation.source, PolicySource::Coordinator);
    assert_eq!((file.placement.on_failure, file.aggregation.on_failure), (OnFailure::Builtin, OnFailure::Builtin));
    assert_eq!(file.trainer.kind, "embedded");
    let train: TrainConfig = serde_json::from_value(file.trainer.settings["train"].clone()).unwrap();
    assert_eq!(train, TrainConfig::default());
    let model: Architecture = serde_json::from_value(file.trainer.settings["model"].clone()).unwrap();
    assert_eq!(model, file.model.architecture);
}

#[test]
fn every_key_arrives() {
    let file = good("good-every-key");
    assert_eq!((file.seed, file.rounds), (7, 20));
    assert_eq!(file.cohort, CohortSpec { size: 3, over_selection: 1, quorum: 2, staleness_max: 4, standbys: 1 });
    assert_eq!(file.deadlines, Deadlines { selection_ms: 500, round_ms: 5_400_000 });
    assert_eq!(file.evaluation, Some(EvaluationSpec { holdout: 0.2 }));
    assert_eq!(file.target, Some(Target { metric: Metric::Accuracy, value: 0.95 }));
    assert_eq!(file.retention.models, 3);
    assert_eq!(file.model.file, Some("start.safetensors".into()));
    assert_eq!(
        file.trainer.settings["train"],
        serde_json::json!({
            "epochs": 2, "batch_size": 16, "learning_rate": 1.0, "proximal_mu": 0.01, "retries": 3,
            "optimizer": { "kind": "sgd", "momentum": 0.9, "weight_decay": 0.0001 },
        })
    );
    assert_eq!(file.aggregation.source, PolicySource::File("policies/my-mean.wasm".into()));
    let called = [&file.placement, &file.aggregation].map(|plan| plan.called.to_string());
    assert_eq!(called, ["least-loaded@0.2.0", "my-mean"]);
    assert_eq!((file.placement.on_failure, file.aggregation.on_failure), (OnFailure::Retry, OnFailure::Previous));
    let parameters: serde_json::Value = serde_json::from_str(&file.aggregation.parameters).unwrap();
    let expected = serde_json::json!({ "trim": 0.1, "names": ["a", "b"], "nested": { "deep": true } });
    assert_eq!(parameters, expected);
}

#[test]
fn overrides_lie_over_the_file() {
    let file = good("good-overridden");
    assert_eq!(file.name, "other");
    assert_eq!(file.trainer.settings["train"]["epochs"], 3);
    assert_eq!(file.trainer.settings["model"]["hidden"], serde_json::json!([32]));
    assert_eq!(file.aggregation.parameters, r#"{"weighted":false}"#);
    assert_eq!(file.evaluation, Some(EvaluationSpec { holdout: 0.25 }));
}

#[test]
fn an_override_needs_a_key_and_a_value() {
    for bad in ["train.epochs", "=3", "train..epochs=3", ".x=1", "a b=1"] {
        assert!(bad.parse::<Override>().is_err(), "{bad}");
    }
    assert!("a.b-c_d=x=y".parse::<Override>().is_ok());
}

/// The table that errors and `--help` quote has the keys that are read, and no others.
#[test]
fn the_table_of_keys_is_what_is_read() {
    for key in keys::KEYS {
        let set = format!("{}=%no value fits this%", key.path).parse::<Override>().unwrap();
        let fault = RunFile::parse(Path::new("run.toml"), "", &[set]).unwrap_err();
        assert!(!fault.problem.contains("is not a key"), "{} is in the table, but not read: {fault}", key.path);
    }
    // The other way round, by what serde itself says of each struct.
    let known = |table: &str| {
        let text = if table.is_empty() { "x_x = 1".to_owned() } else { format!("{table}.x_x = 1") };
        toml::from_str::<raw::RawRun>(&text).unwrap_err().message().to_owned()
    };
    for table in ["", "model", "train", "trainer", "cohort", "deadlines", "evaluation", "target", "retention", "policy"]
    {
        let said = known(table);
        let read: Vec<&str> = said.split('`').skip(3).step_by(2).collect();
        assert!(!read.is_empty(), "{said}");
        let prefix = if table.is_empty() { String::new() } else { format!("{table}.") };
        for key in read {
            let path = format!("{prefix}{key}");
            let is_in = |key: &keys::Key| key.path == path || key.path.starts_with(&format!("{path}."));
            assert!(keys::KEYS.iter().any(is_in), "`{path}` is read, but not in the table");
        }
    }
}

#[test]
fn the_help_lists_keys_but_not_those_for_ourselves() {
    let help = keys::help();
    assert!(help.contains("  train.epochs "), "{help}");
    assert!(!help.contains("trainer."), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
}

#[test]
fn the_first_model_is_random_by_seed_or_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = good("good").model;
    let random = plan.initial(7).unwrap();
    assert_eq!(random.digest(), plan.initial(7).unwrap().digest());
    assert_ne!(random.digest(), plan.initial(8).unwrap().digest());

    let path = dir.path().join("start.safetensors");
    plan.file = Some(path.clone());
    assert!(matches!(plan.initial(7), Err(FirstModelError::Read { .. })));
    fs::write(&path, random.to_safetensors()).unwrap();
    assert_eq!(plan.initial(99).unwrap().digest(), random.digest());

    fs::write(&path, "not a model").unwrap();
    assert!(matches!(plan.initial(7), Err(FirstModelError::NotAModel { .. })));
    let other = Architecture::LogisticRegression { inputs: 64, classes: 10 }.initial(7).unwrap();
    fs::write(&path, other.to_safetensors()).unwrap();
    assert!(matches!(plan.initial(7), Err(FirstModelError::Different { .. })));
    let mut broken = random.clone();
    broken.values_mut()[3] = f32::NAN;
    fs::write(&path, broken.to_safetensors()).unwrap();
    assert!(matches!(plan.initial(7), Err(FirstModelError::NotFinite { .. })));
}

#[test]
fn a_file_that_is_none_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    assert!(matches!(RunFile::load(&path, &[]), Err(RunFileError::Read { .. })));
    assert!(matches!(RunFile::load(dir.path(), &[]), Err(RunFileError::Read { .. })));
    fs::write(&path, [b'#', 0xff]).unwrap();
    assert!(matches!(RunFile::load(&path, &[]), Err(RunFileError::NotText { .. })));
    fs::write(&path, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
    assert!(matches!(RunFile::load(&path, &[]), Err(RunFileError::TooLarge { .. })));
}

#[test]
fn paths_in_a_run_file_start_from_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    fs::copy(cases().join("good-every-key/run.toml"), &path).unwrap();
    let file = RunFile::load(&path, &[]).unwrap();
    assert_eq!(file.model.file, Some(dir.path().join("start.safetensors")));
    assert_eq!(file.aggregation.source, PolicySource::File(dir.path().join("policies/my-mean.wasm")));
}

/// Every run file in `examples/` is good, and so is what it says of its data.
#[test]
fn every_example_can_be_submitted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = Vec::new();
    for entry in fs::read_dir(examples).unwrap() {
        let folder = entry.unwrap().path();
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.ends_with("schema.toml") {
                let text = fs::read_to_string(&path).unwrap();
                polder_train::Schema::from_toml(&text).unwrap_or_else(|error| panic!("{}\n{error}", path.display()));
            } else if name.ends_with(".toml") {
                let file = RunFile::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
                file.model.initial(file.seed).unwrap();
                seen.push(file.name);
            }
        }
    }
    seen.sort();
    assert_eq!(seen, ["digits", "heart-disease", "mnist"]);
}
