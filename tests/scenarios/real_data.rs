//! Real inputs through `polder run submit`: MNIST and four hospitals, where the data is at hand (it is larger than what
//! belongs into a repository): `POLDER_TEST_DATA`, or `../shared/data`. Elsewhere these tests say that they were skipped.

use std::path::{Path, PathBuf};

use polder_tests::Polder;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// Says so, where a test's output is read.
#[allow(clippy::print_stderr)]
fn skipped(folder: &Path) {
    eprintln!("skipped: there is no {}", folder.display());
}

/// The folder `name` of the larger data, if it is here.
fn larger(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("POLDER_TEST_DATA").map(PathBuf::from);
    let root = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(&folder);
    None
}

fn last_accuracy(run: &serde_json::Value) -> f64 {
    run["evaluations"].as_array().unwrap().last().unwrap()["accuracy"].as_f64().unwrap()
}

#[test]
fn four_hospitals_learn_together() {
    let Some(data) = larger("heart-disease") else { return };
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let mut workers = Vec::new();
    for hospital in ["cleveland", "hungarian", "switzerland", "va"] {
        let folder = polder.path(hospital);
        std::fs::create_dir(&folder).unwrap();
        let file = format!("processed.{hospital}.data");
        std::fs::copy(data.join(&file), folder.join(&file)).unwrap();
        std::fs::copy(format!("{EXAMPLES}/heart-disease/schema.toml"), folder.join("schema.toml")).unwrap();
        workers.push(polder.worker(hospital, &format!("heart-disease={}", folder.join(&file).display())));
    }
    let run = polder.submit(&format!("{EXAMPLES}/heart-disease/run.toml"));
    let ended = polder.ended(&run);
    assert_eq!((&ended["status"], &ended["rounds_committed"]), (&"completed".into(), &30.into()), "{ended}");
    let accuracy = last_accuracy(&ended);
    assert!(accuracy > 0.7, "accuracy {accuracy}");
}

#[test]
fn mnist_is_learned() {
    let Some(data) = larger("mnist-10k") else { return };
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let _worker = polder.worker("eu-west", &format!("mnist={}", data.display()));
    // 8,000 images to train on, 2,000 held out.
    let file = format!("{EXAMPLES}/mnist/run.toml");
    let submitted = polder.run(&["run", "submit", &file, "--set", "cohort.size=1", "--set", "rounds=6", "--json"]);
    let run = submitted.object()["run"].as_str().unwrap().to_owned();
    let ended = polder.ended(&run);
    assert_eq!(ended["status"], "completed", "{ended}");
    let accuracy = last_accuracy(&ended);
    assert!(accuracy > 0.87, "accuracy {accuracy}");
}
