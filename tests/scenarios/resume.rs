//! A worker that was killed goes on where it was: with the training it was at, or with the update it had made.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use polder_tests::process::data;
use polder_tests::{Polder, Running};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");
const REGIONS: [&str; 2] = ["eu-west", "us-east"];
/// Longer than anything here takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

fn run_file(trainer: &str) -> String {
    format!(
        r#"
name = "resume"
data = "numbers"
rounds = 1
seed = 11
[model]
kind = "logistic-regression"
inputs = 4
classes = 2
{trainer}
[cohort]
size = 2
quorum = 2
[deadlines]
round = "10m"
"#
    )
}

struct World {
    polder: Polder,
    coordinator: Running,
    workers: Vec<Running>,
    data: Vec<String>,
}

impl World {
    fn new() -> Self {
        let polder = Polder::new(PROGRAM);
        let coordinator = polder.coordinator();
        let data: Vec<_> = REGIONS.iter().map(|region| data(&polder.path(""), "numbers", region, 5)).collect();
        let start = |(region, data): (&&str, &String)| {
            let token = polder.token(region);
            start(&polder, region, data, &["--join", &token])
        };
        let workers = REGIONS.iter().zip(&data).map(start).collect();
        Self { polder, coordinator, workers, data }
    }

    fn submit(&self, trainer: &str) -> String {
        let file = self.polder.file("run.toml", &run_file(trainer));
        self.polder.submit(&file)
    }

    fn start_again(&mut self, index: usize) {
        self.workers[index] = start(&self.polder, REGIONS[index], &self.data[index], &[]);
    }

    /// Files that a worker keeps, with this ending.
    fn kept(&self, index: usize, below: &str, ending: &str) -> Vec<PathBuf> {
        let dir = self.polder.path(&format!("workers/{}-1/{below}", REGIONS[index]));
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        // What is being written has a dot before its name.
        let is_whole = |path: &PathBuf| !path.file_name().unwrap().as_encoded_bytes().starts_with(b".");
        let files = entries.map(|entry| entry.unwrap().path()).filter(is_whole);
        files.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
    }

    fn until_kept(&self, index: usize, below: &str, ending: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.kept(index, below, ending).is_empty() {
            assert!(Instant::now() < deadline, "no {ending} came about: {}", self.workers[index].log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn nothing_is_kept(&self, index: usize) {
        let deadline = Instant::now() + PATIENCE;
        let count =
            || self.kept(index, "updates", "update").len() + self.kept(index, "checkpoints", "checkpoint").len();
        while count() > 0 {
            assert!(Instant::now() < deadline, "something is left: {}", self.workers[index].log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn start(polder: &Polder, region: &str, data: &str, more: &[&str]) -> Running {
    let name = format!("{region}-1");
    let arguments = ["worker", "start", "--name", &name, "--data", data, "--checkpoint-every", "50ms"];
    polder.start(&name, &[&arguments, more].concat())
}

fn completed(run: &Value) -> &str {
    assert_eq!((&run["status"], &run["rounds_abandoned"]), (&"completed".into(), &0.into()), "{run}");
    run["model"]["digest"].as_str().unwrap()
}

#[test]
fn training_that_was_killed_goes_on_and_makes_the_very_same_model() {
    // Long enough to be killed in, and Adam has much to remember.
    let trained = "[train]\nepochs = 4000\nbatch_size = 10\noptimizer = \"adam\"\nlearning_rate = 0.01";
    let mut world = World::new();
    let undisturbed = world.submit(trained);
    let expected = world.polder.ended(&undisturbed);
    let run = world.submit(trained);
    for _ in 0..2 {
        world.until_kept(0, "checkpoints", "checkpoint");
        world.workers[0].kill();
        world.start_again(0);
    }
    let ended = world.polder.ended(&run);
    assert_eq!(completed(&ended), completed(&expected), "{}", world.workers[0].log());
    let log = world.workers[0].log();
    assert!(log.contains("training goes on from a checkpoint"), "{log}");
    world.nothing_is_kept(0);
}

#[test]
fn an_update_that_was_made_is_sent_by_the_next_worker_and_not_made_again() {
    let mut world = World::new();
    let run = world.submit("[trainer]\nkind = \"synthetic\"\nsettings = { delay_ms = 2500 }");
    world.polder.until(&run, "cohort-chosen");
    // Nobody is there to take the updates, when they are made.
    world.coordinator.kill();
    for index in 0..REGIONS.len() {
        world.until_kept(index, "updates", "update");
        world.workers[index].kill();
    }
    world.coordinator = world.polder.coordinator_again(&world.coordinator);
    let began = Instant::now();
    for index in 0..REGIONS.len() {
        world.start_again(index);
    }
    completed(&world.polder.ended(&run));
    for index in 0..REGIONS.len() {
        let log = world.workers[index].log();
        assert!(log.contains("an update that was made before is sent"), "after {:?}: {log}", began.elapsed());
        assert_eq!(log.matches("assignment accepted").count(), 1, "it was made again: {log}");
        world.nothing_is_kept(index);
    }
}

#[test]
fn what_is_not_wanted_any_more_is_dropped_and_the_worker_is_told_why() {
    let mut world = World::new();
    let run = world.submit("[train]\nepochs = 10000\nbatch_size = 1");
    world.until_kept(0, "checkpoints", "checkpoint");
    world.workers[0].kill();
    world.polder.run(&["run", "stop", &run]).ok();
    world.start_again(0);
    world.nothing_is_kept(0);
    let log = world.workers[0].log();
    assert!(log.contains("training that was interrupted goes on"), "{log}");
    assert!(log.contains("assignment cancelled: round 1 is closed"), "{log}");
}
