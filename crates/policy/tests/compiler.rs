//! Compiling in a child process. This program is its own child: the first argument says which part it plays.

#![allow(clippy::print_stdout)]

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use polder_core::policy::{AggregationQuestion, PolicyKind, UpdateSummary};
use polder_policy::{CompileIn, Limits, NotAPolicy, PolicyError, PolicyHost, builtins, compiler_main};
use rustix::process::{Resource, Rlimit, setrlimit};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("part:compiler") => return compiler_main(),
        Some("part:sleeper") => sleep_for_ever(&arguments.next().unwrap_or_default()),
        Some("part:liar") => return lie(),
        Some("part:crowded") => return answer_in_little_address_space(),
        _ => {}
    }
    let tests: [(&str, fn()); 8] = [
        ("what_a_child_compiles_answers_as_what_a_thread_compiles", compiles),
        ("what_is_wrong_with_a_component_is_said_in_the_same_words", malformed),
        ("a_compiler_that_wants_too_much_memory_is_stopped", memory),
        ("a_child_is_dead_after_its_deadline", deadline),
        ("a_component_that_takes_long_is_given_up", long),
        ("a_child_that_writes_no_code_is_not_believed", liar),
        ("a_program_that_is_not_there_is_said", missing),
        ("policies_answer_where_address_space_is_limited", crowded),
    ];
    for (name, test) in tests {
        // a test that fails ends the program with its message
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// A host whose compiler is this program in that part.
fn host(part: &str, more: Option<&Path>, limits: Limits) -> PolicyHost {
    let mut arguments = vec![OsString::from(part)];
    arguments.extend(more.map(OsString::from));
    let place = CompileIn::Process { program: this_program(), arguments };
    PolicyHost::new(limits, None).unwrap().compiling_in(place)
}

fn fedavg() -> &'static [u8] {
    builtins().iter().find(|builtin| builtin.name == "fedavg").unwrap().bytes
}

fn weights(host: &PolicyHost) -> Vec<f32> {
    let updates = [1, 3].map(|examples| UpdateSummary { examples, ..UpdateSummary::default() });
    let question = AggregationQuestion { round: 1, updates: updates.into(), ..AggregationQuestion::default() };
    let policy = host.load(fedavg()).unwrap();
    host.weigh(&policy, "{}", &question).unwrap().weights
}

/// Limits for a slow machine.
fn patient() -> Limits {
    Limits { question_ms_max: 60_000, compile_ms_max: 120_000, ..Limits::default() }
}

fn compiles() {
    let host = host("part:compiler", None, patient());
    assert_eq!(weights(&host), [0.25, 0.75]);
    assert_eq!(weights(&PolicyHost::new(patient(), None).unwrap()), [0.25, 0.75]);
    for kind in [PolicyKind::Placement, PolicyKind::Aggregation] {
        let policy = host.builtin(kind).unwrap();
        host.check_parameters(&policy, "{}").unwrap();
    }
}

fn malformed() {
    let (child, thread) = (host("part:compiler", None, patient()), PolicyHost::new(patient(), None).unwrap());
    let cut = &fedavg()[..fedavg().len() / 2];
    let (here, there) = (thread.load(cut).unwrap_err(), child.load(cut).unwrap_err());
    assert!(matches!(there, PolicyError::NotAPolicy(NotAPolicy::Malformed { .. })), "{there:?}");
    assert_eq!(there.to_string(), here.to_string());
}

/// A component of one function so long that compiling it takes hundreds of megabytes, and long.
fn bomb() -> Vec<u8> {
    let body = "local.get 0 i64.const 3 i64.mul local.get 0 i64.rotl local.set 0 ".repeat(200_000);
    wat::parse_str(format!("(component (core module (func (param i64) {body})))")).unwrap()
}

fn memory() {
    let limits = Limits { compile_memory_bytes_max: 128 << 20, ..patient() };
    let host = host("part:compiler", None, limits);
    assert_eq!(weights(&host), [0.25, 0.75], "a policy of ours fits");
    let error = host.load(&bomb()).unwrap_err();
    assert!(matches!(error, PolicyError::CompileOutOfMemory { limit_bytes: 134_217_728 }), "{error:?}");
    assert!(error.to_string().ends_with("or raise compile_memory_bytes_max"), "{error}");
    assert_eq!(weights(&host), [0.25, 0.75], "the next one is compiled as before");
}

fn deadline() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let host = host("part:sleeper", Some(&file), Limits { compile_ms_max: 3000, ..patient() });
    let started = Instant::now();
    let error = host.load(fedavg()).unwrap_err();
    assert!(matches!(error, PolicyError::CompileTimedOut { limit_ms: 3000 }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(30), "it took {:?}", started.elapsed());
    let pid = std::fs::read_to_string(file).unwrap();
    assert!(!Path::new("/proc").join(&pid).exists(), "process {pid} is still there");
}

fn long() {
    let host = host("part:compiler", None, Limits { compile_ms_max: 1, ..patient() });
    let error = host.load(&bomb()).unwrap_err();
    assert!(matches!(error, PolicyError::CompileTimedOut { limit_ms: 1 }), "{error:?}");
}

fn liar() {
    let error = host("part:liar", None, patient()).load(fedavg()).unwrap_err();
    assert!(matches!(error, PolicyError::Host { .. }), "{error:?}");
    assert!(error.to_string().contains("the policy compiler is of another make"), "{error}");
    let place = CompileIn::Process { program: "/bin/true".into(), arguments: Vec::new() };
    let error = PolicyHost::new(patient(), None).unwrap().compiling_in(place).load(fedavg()).unwrap_err();
    assert!(error.to_string().contains("the policy compiler failed: exit status: 0"), "{error}");
}

fn missing() {
    let place = CompileIn::Process { program: "/nowhere/polder".into(), arguments: Vec::new() };
    let error = PolicyHost::new(patient(), None).unwrap().compiling_in(place).load(fedavg()).unwrap_err();
    assert!(error.to_string().contains("cannot start the policy compiler /nowhere/polder"), "{error}");
}

fn crowded() {
    let output = Command::new(this_program()).arg("part:crowded").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[0.25, 0.75]");
}

fn sleep_for_ever(file: &str) {
    std::fs::write(file, std::process::id().to_string()).unwrap();
    loop {
        std::thread::park();
    }
}

/// Takes the component and writes what is no code.
fn lie() -> ExitCode {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    std::io::stdout().write_all(b"+this is no code").unwrap();
    ExitCode::SUCCESS
}

/// Less than the 4 GiB that a linear memory reserves where it may.
fn answer_in_little_address_space() -> ExitCode {
    let limit = Some(1 << 30);
    setrlimit(Resource::As, Rlimit { current: limit, maximum: limit }).unwrap();
    print!("{:?}", weights(&host("part:compiler", None, patient())));
    ExitCode::SUCCESS
}
