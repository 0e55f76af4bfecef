//! A region whose own release policy fails: nothing leaves it, and the round says why.

use polder_tests::Polder;
use polder_tests::process::data;

use crate::builder::folder;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");

const RUN: &str = r#"
name = "withheld"
data = "numbers"
rounds = 2
seed = 7
[model]
kind = "logistic-regression"
inputs = 4
classes = 2
[trainer]
kind = "synthetic"
[cohort]
size = 1
quorum = 1
"#;

#[test]
fn a_release_policy_that_fails_releases_nothing() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let data = data(&polder.path(""), "numbers", "eu-west", 3);
    let guest = folder().join("later-unreachable-in-review.wasm").display().to_string();
    let token = polder.token("eu-west");
    let arguments = ["worker", "start", "--join", &token, "--name", "eu-west-1", "--data", &data, "--release", &guest];
    let _worker = polder.start("eu-west-1", &arguments);
    let run = polder.submit(&polder.file("run.toml", RUN));
    // honest in round 1
    polder.until(&run, "round-committed");
    polder.until(&run, "round-abandoned");
    let round = polder.run(&["round", "show", &run, "2", "--json"]).object();
    let seat = &round["cohort"][0];
    assert_eq!((&round["phase"], &seat["state"]), (&"abandoned".into(), &"declined".into()), "{round}");
    let reason = seat["reason"].as_str().unwrap();
    assert!(reason.contains("withheld by release policy") && reason.contains("trapped"), "{reason}");
    let shown = polder.show(&run);
    assert_eq!(shown["rounds_committed"], 1, "{shown}");
    polder.run(&["run", "stop", &run]).ok();
}

#[test]
fn a_release_policy_that_is_none_does_not_start() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let data = data(&polder.path(""), "numbers", "eu-west", 3);
    for (guest, words) in [
        ("loop-in-start", "did not answer within"),
        ("honest-aggregation", "aggregation"),
        ("imports-unknown-interface", "evil:corp/exfiltration"),
        ("made-for-9", "polder:policy@9.0.0"),
    ] {
        let path = folder().join(format!("{guest}.wasm")).display().to_string();
        let token = polder.token("eu-west");
        let arguments = ["worker", "start", "--join", &token, "--name", guest, "--data", &data, "--release", &path];
        let Err(log) = polder.try_start(guest, &arguments) else { panic!("a worker started under {guest}") };
        assert!(log.contains(words), "{guest}: it does not say `{words}`:\n{log}");
    }
}
