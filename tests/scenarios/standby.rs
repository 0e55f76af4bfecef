//! A worker that is killed in the middle of a round, and the one that takes its place.

use polder_tests::process::data;
use polder_tests::{Polder, Running};

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");
const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];

#[test]
fn a_killed_workers_place_is_taken_by_a_standby_before_a_quorum_has_reported() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let data = REGIONS.map(|region| data(&polder.path(""), "numbers", region, 5));
    let mut workers: Vec<Running> =
        REGIONS.iter().zip(&data).map(|(region, data)| polder.worker(region, data)).collect();
    // Two of three work on it, and both are needed; long enough to be killed in.
    let file = polder.file(
        "run.toml",
        r#"
name = "standby"
data = "numbers"
rounds = 1
seed = 3
[model]
kind = "logistic-regression"
inputs = 4
classes = 2
[trainer]
kind = "synthetic"
settings = { delay_ms = 5000 }
[cohort]
size = 2
quorum = 1
[deadlines]
round = "5m"
"#,
    );
    let run = polder.submit(&file);
    polder.until(&run, "cohort-chosen");
    let show = || polder.run(&["round", "show", &run, "1", "--json"]).object();
    let cohort = |round: &serde_json::Value| -> Vec<(String, String, String)> {
        let text = |seat: &serde_json::Value, key: &str| seat[key].as_str().unwrap_or_default().to_owned();
        let seats = round["cohort"].as_array().unwrap().iter();
        seats.map(|seat| (text(seat, "worker"), text(seat, "state"), text(seat, "chosen_because"))).collect()
    };
    let round = show();
    let chosen = cohort(&round);
    assert_eq!(chosen.len(), 2, "{round}");
    let killed = chosen[0].0.clone();
    let index = REGIONS.iter().position(|region| killed == format!("{region}-1")).unwrap();
    workers[index].kill();
    let ended = polder.ended(&run);
    assert_eq!(ended["status"], "completed", "{ended}");
    let round = show();
    let standby = cohort(&round).into_iter().find(|seat| chosen.iter().all(|before| before.0 != seat.0));
    let (_, state, reason) = standby.unwrap_or_else(|| panic!("nobody stood in: {round}"));
    assert_eq!(state, "reported", "{round}");
    assert!(reason.starts_with(&format!("replaces worker {killed}: ")), "{reason}");
}
