//! What cannot start says why, and how to make it start.

use polder_tests::Polder;
use polder_tests::process::data;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");

fn refused(polder: &Polder, name: &str, arguments: &[&str], text: &str) {
    let Err(log) = polder.try_start(name, arguments) else { panic!("{name} started") };
    assert!(log.contains(text), "it does not say `{text}`:\n{log}");
}

#[test]
fn a_port_in_use() {
    let polder = Polder::new(PROGRAM);
    let coordinator = polder.coordinator();
    let listening = coordinator.up["listening"].as_str().unwrap();
    let other = polder.path("other").display().to_string();
    let arguments = ["coordinator", "start", "--listen", listening, "--dir", &other];
    refused(&polder, "second", &arguments, "another program has this port");
}

#[test]
fn a_directory_in_use() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let arguments = ["coordinator", "start", "--listen", "127.0.0.1:0"];
    refused(&polder, "second", &arguments, "is in use by another coordinator");
}

#[test]
fn data_sets_that_are_none() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    polder.file("empty.csv", "");
    polder.file("empty.schema.toml", "[label]\ncolumn = 0\nclasses = 2\n");
    polder.file("short.csv", "1,2,0\n1,2\n");
    polder.file("short.schema.toml", "[label]\ncolumn = 2\nclasses = 2\n");
    polder.file("label.csv", "1,2,0\n1,2,7\n");
    polder.file("label.schema.toml", "[label]\ncolumn = 2\nclasses = 2\n");
    for (file, text) in [
        ("missing.csv", "missing.csv"),
        ("empty.csv", "empty.csv"),
        ("short.csv", "short.csv"),
        ("label.csv", "label.csv"),
    ] {
        let token = polder.token("eu-west");
        let data = format!("numbers={}", polder.path(file).display());
        refused(&polder, file, &["worker", "start", "--join", &token, "--data", &data], text);
    }
}

#[test]
fn tokens_that_let_nobody_in() {
    let polder = Polder::new(PROGRAM);
    let _coordinator = polder.coordinator();
    let data = data(&polder.path(""), "numbers", "eu-west", 3);
    let start = |name: &'static str, token: &str, text: &str| {
        refused(&polder, name, &["worker", "start", "--join", token, "--name", name, "--data", &data], text);
    };
    start("mangled", "polder1.AAAA", "token");
    let token = polder.token("eu-west");
    let _first = polder.start("first", &["worker", "start", "--join", &token, "--name", "first", "--data", &data]);
    start("second", &token, "already used by `first`");
    let other = polder.token("us-east");
    let arguments = ["worker", "start", "--join", &other, "--name", "third", "--region", "eu-west", "--data", &data];
    refused(&polder, "third", &arguments, "not `eu-west`");
}

#[test]
fn run_files_and_commands_that_cannot_be() {
    let polder = Polder::new(PROGRAM);
    polder.run(&["run", "list"]).fails(2, "polder coordinator start");
    let _coordinator = polder.coordinator();
    let file = polder.file("bad.toml", "name = \"x\"\ndata = \"y\"\nrounds = 1\nround = 2\n");
    polder.run(&["run", "submit", &file]).fails(2, "round");
    polder.run(&["run", "show", "nowhere"]).fails(4, "nowhere");
    polder.run(&["run", "submit", "absent.toml"]).fails(2, "absent.toml");
    polder.run(&["policy", "push", &file, "--name", "mine"]).fails(2, "no WebAssembly");
}
