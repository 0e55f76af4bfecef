//! What is a policy, and what is not.

use polder_core::policy::PolicyKind;
use polder_policy::{ChunkJob, Limits, NotAPolicy, PolicyError, PolicyHost, builtin_named, builtins};

use crate::guest::{Aggregator, CHECK, CONTRACT, PLACE, component, placement, placement_in, weights};
use crate::questions::{self, host};

/// Loads, and expects a refusal with these words in its message.
fn refuse(guest: &[u8], words: &str) -> PolicyError {
    let error = host().load(guest).expect_err("it was taken for a policy");
    let message = error.to_string();
    assert!(message.contains(words), "`{message}` does not say `{words}`");
    error
}

const IDLE: &str = r#"(memory (export "memory") 16)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))"#;

#[test]
fn bytes_that_are_no_component() {
    let words = "these bytes are no WebAssembly";
    refuse(b"", words);
    refuse(b"\0asm", words);
    refuse(b"#!/bin/sh\n", words);
    refuse(&[0xa5; 4096], words);
    refuse(&wat::parse_str("(module)").unwrap(), "this is a core module; wrap it into a component");
}

#[test]
fn truncated_anywhere() {
    let host = host();
    let whole = builtins()[1].bytes;
    for part in 0..40 {
        let error = host.load(&whole[..whole.len() * part / 40]).expect_err("a truncated policy was taken");
        assert!(matches!(error, PolicyError::NotAPolicy(_)), "{part}/40: {error}");
    }
}

#[test]
fn random_bytes_behind_a_good_start() {
    let host = host();
    let mut state = 1u32;
    for length in [1, 10, 100, 1000, 10_000] {
        let mut guest = b"\0asm\x0d\0\x01\0".to_vec();
        guest.extend((0..length).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }));
        let error = host.load(&guest).expect_err("noise was taken for a policy");
        assert!(matches!(error, PolicyError::NotAPolicy(NotAPolicy::Malformed { .. })), "{error}");
    }
}

#[test]
fn too_large() {
    let limits = Limits { component_bytes_max: 1000, ..Limits::default() };
    let error = PolicyHost::new(limits, None).unwrap().load(builtins()[0].bytes).unwrap_err();
    assert!(error.to_string().ends_with("and at most 1000 are taken (component_bytes_max)"), "{error}");
}

#[test]
fn too_long_to_compile() {
    let limits = Limits { compile_ms_max: 0, ..Limits::default() };
    let error = PolicyHost::new(limits, None).unwrap().load(builtins()[0].bytes).unwrap_err();
    assert!(matches!(error, PolicyError::CompileTimedOut { limit_ms: 0 }), "{error}");
}

/// The contract with another package, whose functions a policy might want to call, and a world that does.
fn with_import(package: &str, import: &str) -> String {
    format!("{CONTRACT}\nworld nosy {{ {import} export placer; }}\n{package}")
}

#[test]
fn imports_of_functions_are_refused_by_name() {
    let wasi = with_import(
        "package wasi:clocks@0.2.0 { interface monotonic-clock { now: func() -> u64; } }",
        "import wasi:clocks/monotonic-clock@0.2.0;",
    );
    let module = format!(
        r#"(module (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
            {IDLE} {CHECK} {PLACE} (drop (call $now)) (i32.const 1024)))"#
    );
    let guest = component(&wasi, "nosy", &module);
    refuse(
        &guest,
        "it imports the function now of wasi:clocks/monotonic-clock@0.2.0, and policies import no function at all",
    );

    let log = with_import("", "import log: func(text: string);");
    let module = format!(
        r#"(module (import "$root" "log" (func $log (param i32 i32)))
            {IDLE} {CHECK} {PLACE} (call $log (i32.const 0) (i32.const 0)) (i32.const 1024)))"#
    );
    refuse(&component(&log, "nosy", &module), "it imports the function log, and");
}

#[test]
fn imports_of_resources_modules_and_components_are_refused() {
    for (guest, words) in [
        (r#"(component (import "files" (type (sub resource))))"#, "imports files"),
        (r#"(component (import "a:b/c" (instance (export "file" (type (sub resource))))))"#, "imports file of a:b/c"),
        (r#"(component (import "code" (core module)))"#, "imports code"),
        (r#"(component (import "part" (component)))"#, "root-level component imports are not supported"),
    ] {
        refuse(&wat::parse_str(guest).unwrap(), words);
    }
}

#[test]
fn imports_of_types_are_fine() {
    let guest = placement("(i32.const 1024)");
    assert!(host().load(&guest).is_ok());
}

#[test]
fn another_world() {
    refuse(
        &wat::parse_str("(component)").unwrap(),
        "of polder:policy@0.2.0 it exports neither placer nor aggregator nor releaser, but nothing",
    );
    let wit =
        format!("{CONTRACT}\ninterface weather {{ rains: func() -> bool; }} world forecast {{ export weather; }}");
    let module = r#"(module (func (export "polder:policy/weather@0.2.0#rains") (result i32) (i32.const 1)))"#;
    refuse(&component(&wit, "forecast", module), "but polder:policy/weather@0.2.0");
}

#[test]
fn two_worlds_at_once() {
    let wit = format!("{CONTRACT}\nworld both {{ export placer; export releaser; }}");
    let module = format!(
        r#"(module {IDLE} {CHECK} {PLACE} (i32.const 1024))
            (func (export "polder:policy/releaser@0.2.0#check") (param i32 i32) (result i32) (i32.const 1024))
            (func (export "polder:policy/releaser@0.2.0#review") (param i32) (result i32) (i32.const 1024)))"#
    );
    refuse(&component(&wit, "both", &module), "not one policy but two: it exports a placement and a release world");
}

#[test]
fn another_version_is_named_beside_ours() {
    for version in ["0.1.0", "0.2.1", "1.0.0"] {
        let wit = CONTRACT.replace("policy@0.2.0", &format!("policy@{version}"));
        let module =
            format!("(module {IDLE} {CHECK} {PLACE} (i32.const 1024)))").replace("@0.2.0", &format!("@{version}"));
        let guest = component(&wit, "placement", &module);
        refuse(&guest, &format!("made for polder:policy@{version}, and this host takes polder:policy@0.2.0"));
    }
}

#[test]
fn a_policy_of_the_contract_before_is_told_both_versions() {
    let before = include_bytes!("../fixtures/fedavg-0.1.0.wasm");
    refuse(
        before,
        "the policy is made for polder:policy@0.1.0, and this host takes polder:policy@0.2.0; build it against that version",
    );
}

#[test]
fn our_version_with_other_types() {
    let wit = CONTRACT.replace("seats-min: u32,", "");
    let guest = component(&wit, "placement", &format!("(module {IDLE} {CHECK} {PLACE} (i32.const 1024)))"));
    refuse(&guest, "made for polder:policy@0.2.0, but its functions have other types");
}

#[test]
fn an_aggregator_without_a_step() {
    let wit = CONTRACT.replace("  step: func(chunk", "  leap: func(chunk");
    let module = Aggregator::default().module().replace("#step", "#leap");
    refuse(&component(&wit, "aggregation", &module), "but its functions have other types");
}

#[test]
fn precompiled_code_is_refused() {
    // what wasmtime compiles to: an ELF file
    let mut code = b"\x7fELF\x02\x01\x01".to_vec();
    code.resize(4096, 0);
    refuse(&code, "these bytes are no WebAssembly");
}

#[test]
fn relaxed_simd_is_refused_as_it_differs_between_machines() {
    let relaxed = "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))";
    refuse(&placement_in(16, "(i32.const 1024)", relaxed), "relaxed SIMD support is not enabled");
}

#[test]
fn shared_memory_is_refused() {
    let guest = wat::parse_str("(component (core module (memory 1 1 shared)))").unwrap();
    refuse(&guest, "threads must be enabled for shared memories");
}

#[test]
fn a_policy_is_named_by_the_sha256_of_its_bytes() {
    let sums = include_str!("../../../../plugins/dist/SHA256SUMS");
    assert_eq!(sums.lines().count(), builtins().len());
    for builtin in builtins() {
        let line = format!("{}  {}.wasm", builtin.digest().hex(), builtin.name);
        assert!(sums.lines().any(|found| found == line), "SHA256SUMS lacks `{line}`");
        let policy = host().load(builtin.bytes).unwrap();
        assert_eq!((policy.digest(), policy.kind()), (builtin.digest(), builtin.kind), "{}", builtin.name);
        assert_eq!(policy.component_bytes(), builtin.bytes.len() as u64);
    }
}

#[test]
fn a_component_is_inspected_before_anybody_asks_it() {
    let host = host();
    for kind in [PolicyKind::Placement, PolicyKind::Aggregation] {
        let builtin = builtins().iter().find(|builtin| builtin.kind == kind).unwrap();
        let found = host.inspect(builtin.bytes).unwrap();
        assert_eq!((found.kind, found.contract, found.digest), (kind, "0.2.0", builtin.digest()));
        assert_eq!(found.component_bytes, builtin.bytes.len() as u64);
        assert!(found.imports.iter().all(|import| import.starts_with("polder:policy/")), "{found:?}");
        assert!(found.exports.iter().any(|export| export.ends_with("@0.2.0")), "{found:?}");
        assert!(found.compiled_bytes > found.component_bytes && found.memory_bytes >= 65_536, "{found:?}");
    }
    assert!(host.inspect(b"#!/bin/sh").is_err());
}

#[test]
fn limits_are_listed_under_the_keys_that_set_them() {
    let limits = Limits { question_ms_max: 77, ..Limits::default() };
    let entries = limits.entries();
    let table: String = entries.iter().map(|(key, value, _)| format!("{key} = {value}\n")).collect();
    assert_eq!(toml::from_str::<Limits>(&table).unwrap(), limits);
    assert_eq!(toml::Table::try_from(&limits).unwrap().len(), entries.len());
    assert!(entries.iter().all(|(_, _, meaning)| meaning.ends_with('.')));
}

#[test]
fn what_fits_is_pooled_and_answers_the_same() {
    let limits = |pooled_instances_max| Limits { pooled_instances_max, question_ms_max: 60_000, ..Limits::default() };
    let question = questions::placement(20);
    let mut answers = Vec::new();
    for (count, is_pooled) in [(0, false), (1, true)] {
        let host = PolicyHost::new(limits(count), None).unwrap();
        let policy = host.builtin(PolicyKind::Placement).unwrap();
        assert_eq!(policy.is_pooled(), is_pooled);
        answers.push(host.place(&policy, "{}", &question).unwrap());
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn who_finds_all_slots_taken_is_served_all_the_same() {
    let limits = Limits { pooled_instances_max: 1, question_ms_max: 60_000, ..Limits::default() };
    let host = PolicyHost::new(limits, None).unwrap();
    let policy = host.load(&Aggregator::default().build()).unwrap();
    let job = ChunkJob::default();
    // each holds its instance
    let chunks: Vec<_> = (0..5).map(|_| host.chunks(&policy, &job).unwrap()).collect();
    assert!(policy.is_pooled());
    assert!(chunks.iter().all(|chunks| chunks.usage().memory_bytes == 1 << 20));
    assert_eq!(host.describe(&policy, "{}").unwrap().updates_min, 1);
}

#[test]
fn what_does_not_fit_the_pool_gets_its_memory_on_demand() {
    let host = host();
    let two = host.load(&placement_in(16, "(i32.const 1024)", "(memory $second 1)")).unwrap();
    assert!(!two.is_pooled());
    host.place(&two, "{}", &questions::placement(1)).unwrap();
}

#[test]
fn a_builtin_is_found_by_name_and_version() {
    let version = builtins()[0].version;
    assert_eq!(builtin_named("fedavg", None).unwrap().name, "fedavg");
    assert_eq!(builtin_named("fedavg", Some(version)).unwrap().name, "fedavg");
    assert!(builtin_named("fedavg", Some("0.0.1")).is_none());
    assert!(builtin_named("fedavgs", None).is_none());
}

#[test]
fn versions_are_those_of_the_contract_and_of_the_policies() {
    assert!(CONTRACT.contains(&format!("package polder:policy@{};", polder_policy::CONTRACT_VERSION)));
    let manifest: toml::Table = include_str!("../../../../plugins/Cargo.toml").parse().unwrap();
    let version = manifest["workspace"]["package"]["version"].as_str();
    assert!(builtins().iter().all(|builtin| version == Some(builtin.version)), "{version:?}");
}

#[test]
fn the_kind_asked_must_be_the_kind_it_is() {
    let host = host();
    let placement = host.builtin(PolicyKind::Placement).unwrap();
    let aggregation = host.builtin(PolicyKind::Aggregation).unwrap();
    let error = host.weigh(&placement, "{}", &questions::aggregation(&[1])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is a policy of the kind placement, and a policy of the kind aggregation was asked for"
    );
    assert!(matches!(host.describe(&placement, "{}"), Err(PolicyError::WrongKind { .. })));
    assert!(matches!(host.place(&aggregation, "{}", &questions::placement(1)), Err(PolicyError::WrongKind { .. })));
    assert!(matches!(host.review(&placement, "{}", &questions::release()), Err(PolicyError::WrongKind { .. })));
    let job = ChunkJob::default();
    assert!(matches!(host.chunks(&placement, &job), Err(PolicyError::WrongKind { .. })));
}

#[test]
fn a_policy_of_another_host_is_refused() {
    let (here, there) = (host(), questions::impatient());
    let policy = there.builtin(PolicyKind::Aggregation).unwrap();
    let error = here.weigh(&policy, "{}", &questions::aggregation(&[1])).unwrap_err();
    assert!(error.to_string().contains("loaded by another host"), "{error}");
}

#[test]
fn policies_in_memory_make_room_and_stay_usable() {
    let limits = Limits { compiled_policies_max: 1, ..Limits::default() };
    let host = PolicyHost::new(limits, None).unwrap();
    let first = host.load(&weights(&[1.0])).unwrap();
    let second = host.load(&weights(&[0.5])).unwrap();
    let question = questions::aggregation(&[9]);
    assert_eq!(host.weigh(&first, "{}", &question).unwrap().weights, [1.0]);
    assert_eq!(host.weigh(&second, "{}", &question).unwrap().weights, [0.5]);
}
