//! A child of `demo` or `bench` ends, in order, when its parent does: its stdin is a pipe that then closes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn a_coordinator_ends_with_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_polder"));
    command.args(["coordinator", "start", "--json", "--listen", "127.0.0.1:0", "--dir"]).arg(dir.path());
    command.env("POLDER_PARENT_PIPE", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("listening"), "{line}");
    assert!(child.try_wait().unwrap().is_none(), "it ended while its parent lived");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
