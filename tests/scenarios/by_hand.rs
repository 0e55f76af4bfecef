//! The walk of the README, command by command, with the real program.

use polder_tests::process::data;
use polder_tests::{Polder, update};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");

const RUN: &str = r#"
name = "walk"
data = "numbers"
rounds = 3
seed = 7
[model]
kind = "logistic-regression"
inputs = 4
classes = 2
[train]
epochs = 2
batch_size = 10
learning_rate = 0.5
[cohort]
size = 2
quorum = 2
[evaluation]
holdout = 0.2
"#;

#[test]
fn the_walk_works_as_written() {
    let polder = Polder::new(PROGRAM);
    let coordinator = polder.coordinator();
    let home = polder.path("");
    let workers = ["eu-west", "us-east"].map(|region| polder.worker(region, &data(&home, "numbers", region, 3)));

    let listed = polder.run(&["worker", "list", "--json"]).objects();
    let names: Vec<_> = listed.iter().map(|worker| worker["worker"].as_str().unwrap()).collect();
    assert_eq!(names, ["eu-west-1", "us-east-1"]);

    let file = polder.file("run.toml", RUN);
    let run = polder.submit(&file);
    let ended = polder.ended(&run);
    assert_eq!((&ended["status"], &ended["rounds_committed"]), (&"completed".into(), &3.into()), "{ended}");
    let accuracy = ended["evaluations"].as_array().unwrap().last().unwrap()["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.7, "two regions of a linear task were not learned: {accuracy}");

    let runs = polder.run(&["run", "list", "--json"]).objects();
    assert_eq!(runs[0]["run"], run.as_str());
    let round = polder.run(&["round", "show", &run, "2", "--json"]).object();
    assert_eq!(round["phase"], "committed");
    let reasons = round["cohort"].as_array().unwrap().iter().map(|seat| seat["chosen_because"].as_str().unwrap());
    assert!(reasons.into_iter().all(|reason| !reason.is_empty()), "{round}");
    let kinds: Vec<Value> = polder.log(&run).into_iter().map(|line| line["kind"].clone()).collect();
    for kind in
        ["run-submitted", "cohort-chosen", "update-received", "round-committed", "model-evaluated", "run-completed"]
    {
        assert!(kinds.contains(&kind.into()), "`{kind}` is not in the log: {kinds:?}");
    }

    let policies = polder.run(&["policy", "list", "--json"]).objects();
    assert!(policies.iter().any(|policy| policy["name"] == "fedavg"));
    let models = polder.run(&["model", "list", &run, "--json"]).objects();
    assert_eq!(models.len(), 4, "the submitted model and three committed ones");
    let pulled = home.join("model.safetensors");
    polder.run(&["model", "pull", &run, "-o", pulled.to_str().unwrap()]).ok();
    let bytes = std::fs::read(&pulled).unwrap();
    assert_eq!(update::digest(&bytes).to_string(), ended["model"]["digest"].as_str().unwrap());

    // What people see, without --json.
    for command in [vec!["run", "list"], vec!["run", "show", &run], vec!["worker", "list"], vec!["run", "log", &run]] {
        assert!(!polder.run(&command).ok().is_empty(), "{command:?}");
    }
    for worker in workers {
        worker.stop();
    }
    coordinator.stop();
}

#[test]
fn a_run_is_stopped_and_says_so() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let file = polder.file("run.toml", RUN);
    let run = polder.submit(&file);
    let waiting = polder.show(&run);
    assert!(waiting["waiting_for"].as_str().unwrap().contains("0 are connected"), "{waiting}");
    polder.run(&["run", "stop", &run]).ok();
    assert_eq!(polder.show(&run)["status"], "stopped");
    polder.run(&["run", "watch", &run]).fails(1, "stopped");
}

#[test]
fn a_worker_that_drains_gets_nothing_new() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let _worker = polder.worker("eu-west", &data(&polder.path(""), "numbers", "eu-west", 3));
    polder.run(&["worker", "drain", "eu-west-1"]).ok();
    let file = polder.file("run.toml", &RUN.replace("size = 2\nquorum = 2", "size = 1\nquorum = 1"));
    let run = polder.submit(&file);
    let waiting = polder.show(&run);
    assert!(waiting["waiting_for"].as_str().unwrap().contains("1 are draining"), "{waiting}");
    polder.run(&["worker", "drain", "eu-west-1", "--undo"]).ok();
    assert_eq!(polder.ended(&run)["status"], "completed");
}

#[test]
fn the_demo_brings_its_report_and_the_same_seed_the_same_model() {
    let polder = Polder::new(PROGRAM);
    let demo = |report: &str| {
        let arguments = ["demo", "--rounds", "2", "--regions", "2", "--seed", "4", "--json", "--report", report];
        polder.run(&arguments).object()
    };
    let (first, second) = (demo("one"), demo("two"));
    assert_eq!(first["model"], second["model"], "the same seed gave another model");
    assert_eq!((&first["rounds"], &first["workers"]), (&2.into(), &2.into()));
    for key in ["accuracy", "best_region_accuracy", "pooled_accuracy", "seconds", "first_training_seconds"] {
        assert!(first[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {first}");
    }
    assert!(first["bytes_sent"].as_u64().unwrap() > 100_000, "{first}");
    assert_eq!(first["policies"].as_array().unwrap().len(), 2);
    let report = std::path::PathBuf::from(first["report_dir"].as_str().unwrap());
    let model = std::fs::read(report.join("model.safetensors")).unwrap();
    assert_eq!(update::digest(&model).to_string(), first["model"].as_str().unwrap());
    assert!(std::fs::read_to_string(report.join("plot.svg")).unwrap().starts_with("<svg"));
    let written: Value = serde_json::from_slice(&std::fs::read(report.join("report.json")).unwrap()).unwrap();
    assert_eq!(written, first);
}
