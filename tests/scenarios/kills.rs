//! `kill -9`, at every moment that has a name, and the federation goes on.

use std::time::{Duration, Instant};

use polder_tests::peer::now;
use polder_tests::process::data;
use polder_tests::{Polder, Running};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");
const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];

/// Three regions, three updates a round, so that every round is the same whatever happens around it.
fn run_file(rounds: u32, quorum: u32, trainer: &str) -> String {
    format!(
        r#"
name = "kills"
data = "numbers"
rounds = {rounds}
seed = 11
[model]
kind = "logistic-regression"
inputs = 4
classes = 2
{trainer}
[cohort]
size = 3
quorum = {quorum}
[deadlines]
round = "5m"
"#
    )
}

struct World {
    polder: Polder,
    coordinator: Option<Running>,
    workers: Vec<Running>,
    data: Vec<String>,
}

impl World {
    fn new() -> Self {
        let polder = Polder::new(PROGRAM);
        let coordinator = polder.coordinator();
        let data: Vec<_> = REGIONS.iter().map(|region| data(&polder.path(""), "numbers", region, 5)).collect();
        let workers = REGIONS.iter().zip(&data).map(|(region, data)| polder.worker(region, data)).collect();
        Self { polder, coordinator: Some(coordinator), workers, data }
    }

    fn submit(&self, text: &str) -> String {
        let file = self.polder.file("run.toml", text);
        self.polder.submit(&file)
    }

    fn kill_coordinator_and_start_again(&mut self) {
        let mut killed = self.coordinator.take().unwrap();
        killed.kill();
        self.coordinator = Some(self.polder.coordinator_again(&killed));
    }

    fn start_worker_again(&mut self, index: usize) {
        self.workers[index] = self.polder.worker_again(REGIONS[index], &self.data[index]);
    }
}

fn model(run: &Value) -> &str {
    run["model"]["digest"].as_str().unwrap()
}

/// Waits for something that the processes bring about.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came about: {what}");
    }
}

const TRAINED: &str = "[train]\nepochs = 3\nbatch_size = 10\nlearning_rate = 0.3";

#[test]
fn a_coordinator_killed_at_any_moment_ends_with_the_same_model() {
    let mut world = World::new();
    let undisturbed = world.submit(&run_file(6, 3, TRAINED));
    let expected = world.polder.ended(&undisturbed);
    assert_eq!(expected["status"], "completed");

    for moment in ["run-submitted", "cohort-chosen", "update-received", "reporting-closed", "round-committed"] {
        let run = world.submit(&run_file(6, 3, TRAINED));
        world.polder.until(&run, moment);
        world.kill_coordinator_and_start_again();
        let ended = world.polder.ended(&run);
        assert_eq!(
            (&ended["status"], &ended["rounds_abandoned"]),
            (&"completed".into(), &0.into()),
            "{moment}: {ended}"
        );
        assert_eq!(model(&ended), model(&expected), "killed at {moment}, another model came out");
        let commits = world.polder.log(&run).into_iter().filter(|line| line["kind"] == "round-committed").count();
        assert_eq!(commits, 6, "killed at {moment}: each round commits once");
    }
}

#[test]
fn what_a_killed_coordinator_had_received_is_not_trained_again() {
    let mut world = World::new();
    // The slow ones leave time to kill the coordinator while it holds one update of three.
    let slow = "[trainer]\nkind = \"synthetic\"\nsettings = { delay_ms = 1500 }";
    let run = world.submit(&run_file(1, 3, slow));
    world.polder.until(&run, "update-received");
    world.kill_coordinator_and_start_again();
    let ended = world.polder.ended(&run);
    assert_eq!((&ended["status"], &ended["rounds_abandoned"]), (&"completed".into(), &0.into()), "{ended}");
    let updates = world.polder.log(&run).into_iter().filter(|line| line["kind"] == "update-received").count();
    assert_eq!(updates, 3, "each region's update was received once");
}

#[test]
fn a_worker_killed_in_training_is_noticed_and_the_round_goes_on_by_quorum() {
    let mut world = World::new();
    // Long enough to be killed in, however slow the machine.
    let slow = "[trainer]\nkind = \"synthetic\"\nsettings = { delay_ms = 6000 }";
    let run = world.submit(&run_file(1, 2, slow));
    world.polder.until(&run, "cohort-chosen");
    world.workers[1].kill();
    let ended = world.polder.ended(&run);
    assert_eq!(ended["status"], "completed", "{ended}");
    let round = world.polder.run(&["round", "show", &run, "1", "--json"]).object();
    let states: Vec<_> =
        round["cohort"].as_array().unwrap().iter().map(|seat| seat["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["reported", "lost", "reported"], "{round}");
    // 2000 ms after a connection that broke; a machine that stood still may take it for silence first
    let reason = round["cohort"][1]["reason"].as_str().unwrap();
    assert!(["2000", "500"].iter().any(|ms| reason.contains(&format!("did not return within {ms} ms"))), "{round}");
}

/// Longest that a silent worker may go unnoticed: silence 2 s, return 500 ms.
const NOTICED_MS: u64 = 3_000;
/// How much later a loaded machine may be about it.
const LATE_MS: u64 = 12_000;

#[test]
fn a_worker_that_falls_silent_in_training_is_noticed_and_welcome_when_it_speaks_again() {
    let world = World::new();
    let slow = "[trainer]\nkind = \"synthetic\"\nsettings = { delay_ms = 120000 }";
    let run = world.submit(&run_file(1, 2, slow));
    world.polder.until(&run, "cohort-chosen");
    let silent = || {
        let workers = world.polder.run(&["worker", "list", "--json"]).objects();
        workers.into_iter().find(|worker| worker["worker"] == "eu-west-1").unwrap()
    };
    assert_eq!(silent()["state"], "connected");
    // It sleeps: its connection stays as it was, and nobody is told.
    let paused_at = now().0;
    world.workers[1].pause();
    let of_silent = |line: &Value| line["kind"] == "worker-lost" && line["worker"] == "eu-west-1";
    let lost = eventually("the run's log tells", || world.polder.log(&run).into_iter().find(of_silent));
    assert!(lost["text"].as_str().unwrap().contains("it said nothing for 2000 ms"), "{lost}");
    let lost_at = lost["at"].as_u64().unwrap();
    let noticed_ms = lost_at.saturating_sub(paused_at);
    assert!(lost_at > paused_at && noticed_ms <= NOTICED_MS + LATE_MS, "noticed after {noticed_ms} ms: {lost}");
    let seen = silent();
    assert_eq!(seen["state"], "lost", "{seen}");
    assert!(seen["since"].as_u64().unwrap() <= lost_at, "{seen}");
    world.workers[1].resume();
    eventually("it is back", || (silent()["state"] == "connected").then_some(()));
    world.polder.run(&["run", "stop", &run]).ok();
}

#[test]
fn a_run_that_lost_every_worker_waits_for_them_and_goes_on() {
    let mut world = World::new();
    // More rounds than it can do before the workers are killed, however slowly that goes.
    let slow = "[trainer]\nkind = \"synthetic\"\nsettings = { delay_ms = 300 }";
    let run = world.submit(&run_file(1000, 3, slow));
    world.polder.until(&run, "round-committed");
    for worker in &mut world.workers {
        worker.kill();
    }
    world.polder.until(&run, "worker-lost");
    let waiting = world.polder.show(&run);
    let reason = waiting["waiting_for"].as_str().unwrap();
    assert!(reason.contains("return") || reason.contains("0 are connected"), "{reason}");
    let committed = waiting["rounds_committed"].as_u64().unwrap();
    for index in 0..REGIONS.len() {
        world.start_worker_again(index);
    }
    world.polder.until_committed(&run, committed + 2);
    world.polder.run(&["run", "stop", &run]).ok();
}
