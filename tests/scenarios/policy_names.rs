//! Policies by their names, with the real program: tried, signed, pushed, shown, pulled, swapped into a run, removed.

use std::os::unix::fs::PermissionsExt;

use polder_policy::{Builtin, builtin_named};
use polder_tests::Polder;
use polder_tests::process::data;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");

/// The key of RFC 8410, section 10.3, and its public half.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
const SIGNER: &str = "ed25519:19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

const RUN: &str = r#"
name = "swap"
data = "numbers"
rounds = 3
[model]
kind = "logistic-regression"
inputs = 4
classes = 2
[cohort]
size = 1
[policy]
on_failure = "abandon"
[policy.aggregation]
name = "mine@1"
"#;

fn ours(name: &str) -> &'static Builtin {
    builtin_named(name, None).unwrap_or_else(|| panic!("no policy `{name}` ships"))
}

/// A component of ours in a file of this machine.
fn component(polder: &Polder, name: &str) -> String {
    let path = polder.path(&format!("{name}.wasm"));
    std::fs::write(&path, ours(name).bytes).unwrap();
    path.display().to_string()
}

fn key(polder: &Polder) -> String {
    let path = polder.file("key.pem", KEY);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn id(policy: &Value) -> String {
    format!("{}@{}", policy["name"].as_str().unwrap(), policy["version"].as_str().unwrap())
}

#[test]
fn a_policy_is_pushed_shown_pulled_and_removed() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let (fedavg, fedavgm) = (component(&polder, "fedavg"), component(&polder, "fedavgm"));
    let push = |arguments: &[&str]| polder.run(&[&["policy", "push", "--json"], arguments].concat());

    let first = push(&[&fedavg, "--name", "mine", "--key", &key(&polder)]).object();
    assert_eq!((id(&first).as_str(), first["signer"].as_str()), ("mine@1", Some(SIGNER)), "{first}");
    assert_eq!(id(&push(&[&fedavg, "--name", "mine"]).object()), "mine@1", "the same bytes are the same policy");
    let tried = push(&[&fedavgm, "--name", "mine", "--dry-run"]).object();
    assert_eq!(id(&tried), "mine@2");
    assert_eq!(polder.run(&["policy", "show", "mine", "--json"]).object()["version"], "1", "a dry run stores nothing");
    assert_eq!(id(&push(&[&fedavgm, "--name", "mine"]).object()), "mine@2");
    assert_eq!(id(&push(&[&fedavgm, "--name", "other@beta"]).object()), "other@beta");
    push(&[&fedavgm, "--name", "mine@1"]).fails(3, "`mine@1` is sha256:");
    push(&[&fedavgm, "--name", "krum"]).fails(3, "`krum` is a built-in policy");

    let listed: Vec<String> = polder.run(&["policy", "list", "--json"]).objects().iter().map(id).collect();
    for policy in ["mine@1", "mine@2", "other@beta"] {
        assert!(listed.contains(&policy.to_owned()), "{policy} is not in {listed:?}");
    }
    let shown = polder.run(&["policy", "show", "mine@1", "--json"]).object();
    assert_eq!((&shown["signer"], &shown["traits"]["shape"]), (&SIGNER.into(), &"sums".into()), "{shown}");
    assert!(shown["limits"].as_array().unwrap().iter().any(|limit| limit["key"] == "question_ms_max"), "{shown}");
    let text = polder.run(&["policy", "show", "mine"]).ok();
    assert!(text.contains("mine@2: aggregation") && text.contains("memory_bytes_max"), "{text}");

    let pulled = polder.path("pulled.wasm");
    polder.run(&["policy", "pull", "mine@1", "-o", pulled.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read(&pulled).unwrap(), ours("fedavg").bytes);

    polder.run(&["policy", "rm", "mine"]).fails(3, "names no version");
    polder.run(&["policy", "rm", "fedavg@0.2.0"]).fails(3, "is built in");
    polder.run(&["policy", "rm", "mine@1"]).ok();
    polder.run(&["policy", "show", "mine@1"]).fails(4, "there is no policy `mine@1` here");
    push(&[&fedavg, "--name", "mine@1"]).fails(3, "a name and version are never given again");
    let broken = polder.path("broken.wasm");
    std::fs::write(&broken, &ours("fedavg").bytes[..5000]).unwrap();
    push(&[broken.to_str().unwrap()]).fails(3, "`broken` was not taken");
}

#[test]
fn a_policy_is_swapped_into_a_run() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    for name in ["fedavg", "fedavgm"] {
        polder.run(&["policy", "push", &component(&polder, name), "--name", "mine"]).ok();
    }
    // Nobody is there to train yet, so that round 1 is open under what the file says.
    let run = polder.submit(&polder.file("run.toml", RUN));
    let set = |arguments: &[&str]| polder.run(&[&["run", "set-policy", &run, "--json"], arguments].concat());
    set(&[]).fails(3, "nothing is to change");
    set(&["--aggregation", "least-loaded"]).fails(3, "`least-loaded@0.2.0` decides placement, not aggregation");
    set(&["--aggregation-parameters", r#"{"weihgted": true}"#]).fails(3, "weihgted");
    let long = format!("{{{}}}", " ".repeat(70_000));
    set(&["--aggregation-parameters", &long]).fails(3, "at most 65536");
    set(&["--aggregation", "bulyan"]).fails(3, "cannot aggregate this run");
    let swapped = set(&["--aggregation", "mine", "--placement-on-failure", "previous"]).object();
    assert_eq!((&swapped["from_round"], &swapped["aggregation"]["version"]), (&2.into(), &"2".into()), "{swapped}");
    assert_eq!(swapped["aggregation"]["on_failure"], "abandon", "it stays as the file has it: {swapped}");
    assert_eq!(
        (&swapped["placement"]["name"], &swapped["placement"]["on_failure"]),
        (&"least-loaded".into(), &"previous".into())
    );
    let shown = polder.run(&["policy", "show", "mine@2", "--json"]).object();
    assert_eq!(shown["runs"], serde_json::json!([run]));

    let _worker = polder.worker("eu-west", &data(&polder.path(""), "numbers", "eu-west", 3));
    let ended = polder.ended(&run);
    assert_eq!(ended["status"], "completed", "{ended}");
    for (round, name, policy) in
        [("1", "mine@1", ours("fedavg")), ("2", "mine@2", ours("fedavgm")), ("3", "mine@2", ours("fedavgm"))]
    {
        let round = polder.run(&["round", "show", &run, round, "--json"]).object();
        assert!(round["aggregation"].as_str().unwrap().starts_with(name), "{round}");
        assert_eq!(round["aggregation_policy"], policy.digest().to_string(), "{round}");
    }
    let log = polder.run(&["run", "log", &run]).ok();
    assert!(log.contains("aggregation: mine@2 (sha256:"), "the swap is not in the log:\n{log}");
    assert!(log.contains("aggregated by mine@1 (sha256:") && log.contains("aggregated by mine@2 (sha256:"), "{log}");
    set(&["--aggregation", "fedavg"]).fails(3, "has ended");
}

#[test]
fn a_coordinator_that_wants_signatures_takes_nothing_else() {
    let polder = Polder::new(PROGRAM);
    let limits = polder.file("limits.toml", "question_ms_max = 1234\n");
    let start =
        ["coordinator", "start", "--listen", "127.0.0.1:0", "--require-signer", SIGNER, "--policy-limits", &limits];
    let _coordinator = polder.start("coordinator", &start);
    let fedavg = component(&polder, "fedavg");
    polder.run(&["policy", "push", &fedavg, "--name", "mine"]).fails(3, "is not signed");
    polder.run(&["policy", "push", &fedavg, "--name", "mine", "--key", &key(&polder)]).ok();
    let shown = polder.run(&["policy", "show", "mine", "--json"]).object();
    let limit = shown["limits"].as_array().unwrap().iter().find(|limit| limit["key"] == "question_ms_max");
    assert_eq!(limit.unwrap()["value"], 1234, "{shown}");
    // What ships with the program needs no signature.
    polder.submit(&polder.file("run.toml", &RUN.replace("mine@1", "fedavg")));
}

#[test]
fn a_policy_is_tried_without_a_coordinator() {
    let polder = Polder::new(PROGRAM);
    let listed = polder.run(&["policy", "list", "--builtin", "--json"]).objects();
    assert_eq!(listed.len(), polder_policy::builtins().len());
    let fedavg = component(&polder, "fedavg");
    let objects = polder.run(&["policy", "test", &fedavg, "--json"]).objects();
    assert_eq!(objects[0]["digest"], ours("fedavg").digest().to_string());
    assert!(objects.len() > 8 && objects[1..].iter().all(|check| check["passed"] == true), "{objects:#?}");

    let question = r#"{"call": "weigh", "question": {"round": 1, "updates": [{"examples": 1}, {"examples": 3}]}}"#;
    polder.file("cases/two/question.json", question);
    polder.file("cases/two/answer.json", r#"{"weights": [0.25, 0.75]}"#);
    let cases = polder.path("cases").display().to_string();
    let table = polder.run(&["policy", "test", &fedavg, "--cases", &cases]).ok();
    assert!(table.contains("case two") && table.contains("as expected"), "{table}");
    polder.file("cases/two/answer.json", r#"{"weights": [0.5, 0.5]}"#);
    polder.run(&["policy", "test", &fedavg, "--cases", &cases]).fails(1, "1 of ");
    polder.run(&["policy", "test", &polder.file("no.wasm", "no")]).fails(2, "it is no WebAssembly");
}
