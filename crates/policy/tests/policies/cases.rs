//! Recorded cases and the contract's own checks, on our policies and on bad ones.

use std::path::Path;

use polder_policy::cases::{Case, Check, contract_checks, run_case};
use polder_policy::{PolicyHost, builtin_named, builtins};

use crate::guest::{self, Aggregator};
use crate::questions::host;

/// A folder with one case.
fn record(folder: &Path, question: &str, answer: &str) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("question.json"), question).unwrap();
    std::fs::write(folder.join("answer.json"), answer).unwrap();
}

/// Runs one case on a policy: whether it passed, and where it differs.
fn run(host: &PolicyHost, component: &[u8], question: &str, answer: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    record(&directory.path().join("one"), question, answer);
    let [case] = Case::read_all(directory.path()).unwrap().try_into().unwrap();
    assert_eq!(case.name, "one");
    let result = run_case(host, &host.load(component).unwrap(), &case);
    assert_eq!(result.passed, result.difference.is_empty(), "{result:?}");
    assert_eq!(result.usage.memory_bytes > 0, !result.found.contains("error"), "{result:?}");
    (result.passed, result.difference)
}

fn ours(name: &str) -> &'static [u8] {
    builtin_named(name, None).unwrap().bytes
}

const THIRDS: &str = r#"{"call": "weigh", "question": {"round": 1, "updates": [{"examples": 1}, {"examples": 2}]}}"#;

#[test]
fn a_recorded_answer_is_compared_as_far_as_it_goes() {
    let host = host();
    let fedavg = ours("fedavg");
    let passes = |answer: &str| run(host, fedavg, THIRDS, answer);
    assert_eq!(passes("{}"), (true, String::new()));
    // as short as float32 is written, and as long as float64 is
    assert_eq!(passes(r#"{"weights": [0.33333334, 0.6666667]}"#), (true, String::new()));
    assert_eq!(passes(r#"{"weights": [0.3333333432674408, 0.6666666865348816], "state": []}"#), (true, String::new()));
    let (passed, difference) = passes(r#"{"weights": [0.33333334, 0.66666]}"#);
    assert!(!passed && difference.starts_with("the answer.weights[1] is 0.666666686"), "{difference}");
    let (_, difference) = passes(r#"{"weights": [1.0]}"#);
    assert_eq!(difference, "the answer.weights has 2 entries, and 1 are expected");
    let (_, difference) = passes(r#"{"wieghts": [1.0]}"#);
    assert!(difference.starts_with("the answer has no `wieghts`, but extra_weights, memo, notes"), "{difference}");
    let (_, difference) = passes(r#"{"error": "no"}"#);
    assert_eq!(difference, "an error that says `no` is expected, and it answers");
    let near = THIRDS.replace(r#""question""#, r#""tolerance": 0.001, "question""#);
    assert_eq!(run(host, fedavg, &near, r#"{"weights": [0.333, 0.667]}"#), (true, String::new()));
}

#[test]
fn errors_are_answers_too() {
    let host = host();
    let question = THIRDS.replace(r#""question""#, r#""parameters": {"weigted": 1}, "question""#);
    assert!(run(host, ours("fedavg"), &question, r#"{"error": "unknown field `weigted`"}"#).0);
    let (passed, difference) = run(host, ours("fedavg"), &question, r#"{"error": "something else"}"#);
    assert!(
        !passed && difference.starts_with("the error does not say `something else`: the policy refuses"),
        "{difference}"
    );
    let (passed, difference) = run(host, ours("fedavg"), &question, r#"{"weights": [0.5, 0.5]}"#);
    assert!(!passed && difference.contains("unknown field `weigted`"), "{difference}");
    let wrong = r#"{"call": "weigh", "question": {"rond": 1}}"#;
    assert!(run(host, ours("fedavg"), wrong, r#"{"error": "the question has no `rond`, but"}"#).0);
}

#[test]
fn every_call_can_be_recorded() {
    let host = host();
    let describe = r#"{"call": "describe"}"#;
    assert!(run(host, ours("fedavg"), describe, r#"{"shape": "sums", "training": {"base_loss": false}}"#).0);
    assert!(!run(host, ours("fedavg"), describe, r#"{"shape": "columns"}"#).0);
    let place = r#"{"call": "place", "question": {"seed": 1, "state": [], "workers": [{"name": "a", "region": "eu", "slots": 1,
        "slots_free": 1, "rounds_assigned": 0, "load": {"cpu_utilization": 0.5, "memory_free_bytes": 1, "gpus": []}}],
        "demands": [{"run": "digits", "round": 1, "seats": 1, "seats_min": 1, "candidates": ["a"]}]}}"#;
    assert!(
        run(host, ours("least-loaded"), place, r#"{"assignments": [{"worker": "a", "gpu": null}], "declined": []}"#).0
    );
    assert!(!run(host, ours("least-loaded"), place, r#"{"assignments": [{"worker": "b"}]}"#).0);

    // combine answers the first row; step the aggregate, and no state
    let row = "(i64.store align=4 (i32.const 2052) (i64.load align=4 (local.get $rows))) (i32.const 2048)";
    let step =
        "(i32.store (i32.const 2052) (local.get $aggregate)) (i32.store (i32.const 2056) (local.get $aggregate_len))
        (i32.const 2048)";
    let guest = Aggregator { combine: row, step, ..Aggregator::default() }.build();
    let combine = r#"{"call": "combine", "chunk": {"tensor": 1}, "rows": [[0.1, 0.2], [1, 2]], "weights": [0.5, 0.5]}"#;
    assert_eq!(run(host, &guest, combine, r#"{"aggregate": [0.1, 0.2]}"#), (true, String::new()));
    let step = r#"{"call": "step", "model": [0, 0], "aggregate": [0.5, 1.5]}"#;
    assert_eq!(run(host, &guest, step, r#"{"model": [0.5, 1.5], "state": []}"#), (true, String::new()));
    assert_eq!(
        run(host, &guest, step, r#"{"model": [0.5, 2.5]}"#).1,
        "the answer.model[1] is 1.5, and 2.5 is expected"
    );

    let released = guest::release(&guest::words(2048, &[0; 16]));
    let review = r#"{"call": "review", "question": {"update": {"norm": 2.0}}}"#;
    let expected = r#"{"verdict": {"release": {"clip": null, "precision": "float32"}}}"#;
    assert_eq!(run(host, &released, review, expected), (true, String::new()));
    assert!(!run(host, &released, review, r#"{"verdict": "withhold"}"#).0);
}

#[test]
fn folders_that_hold_no_case_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let read = || Case::read_all(directory.path()).unwrap_err().to_string();
    assert!(read().ends_with("holds no case; a case is a folder with question.json and answer.json"), "{}", read());
    record(&directory.path().join("a"), r#"{"call": "dance"}"#, "{}");
    assert!(read().contains("question.json is no question: unknown variant `dance`"), "{}", read());
    std::fs::remove_file(directory.path().join("a/question.json")).unwrap();
    assert!(read().starts_with("cannot read "), "{}", read());
}

fn checks(component: &[u8], parameters: &str) -> Vec<Check> {
    let host = host();
    contract_checks(host, &host.load(component).unwrap(), parameters)
}

fn failed(component: &[u8]) -> Vec<(&'static str, String)> {
    let failed = checks(component, "{}").into_iter().filter(|check| !check.passed);
    failed.map(|check| (check.name, check.detail)).collect()
}

#[test]
fn every_policy_of_ours_does_what_the_contract_asks() {
    for builtin in builtins() {
        let parameters = match builtin.name {
            "clip" => r#"{"norm": 1.0}"#,
            "min-cohort" => r#"{"cohort_min": 3}"#,
            _ => "{}",
        };
        let checks = checks(builtin.bytes, parameters);
        let failed: Vec<_> = checks.iter().filter(|check| !check.passed).collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", builtin.name);
        assert!(checks.len() >= 11, "{}: {checks:#?}", builtin.name);
        assert!(checks[0].usage.memory_bytes > 0, "{}: {checks:#?}", builtin.name);
    }
}

#[test]
fn a_policy_that_takes_every_parameter_is_told_so() {
    let failed = failed(&guest::weights(&[1.0]));
    let names: Vec<_> = failed.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&"refuses a parameter that it does not know"), "{failed:?}");
    assert!(names.contains(&"refuses parameters that are no JSON"), "{failed:?}");
    // one weight, whatever the round
    assert!(failed.iter().any(|(_, detail)| detail.contains("it holds 1 weights for 5 updates")), "{failed:?}");
}

#[test]
fn a_placement_that_overcommits_is_found_out() {
    // the first worker for the first run, whether it is free or not
    let failed = failed(&guest::assignment(0, 0, None));
    assert!(failed.iter().any(|(name, _)| *name == "answers questions, small ones first"), "{failed:?}");
}

#[test]
fn chunks_that_depend_on_what_came_before_are_found_out() {
    // counts its calls in its memory, and answers the count
    let counts = "(i32.store (i32.const 8192) (i32.add (i32.load (i32.const 8192)) (i32.const 1)))
        (i64.store align=4 (i32.const 2052) (i64.load align=4 (local.get $rows)))
        (f32.store (i32.load (local.get $rows)) (f32.convert_i32_u (i32.load (i32.const 8192))))
        (i32.const 2048)";
    // shape columns; as many weights of 1 as there are updates
    let weigh = "(i32.store (i32.const 2052) (i32.const 10000)) (i32.store (i32.const 2056) (local.get $updates_len)) (i32.const 2048)";
    let items = format!("{} {}", guest::data(1032, [1]), guest::floats(10_000, &[1.0; 100]));
    let guest = Aggregator { combine: counts, weigh, items: &items, ..Aggregator::default() }.build();
    let failed = failed(&guest);
    let words = "asked again, the same instance makes something else of a chunk of 1 values";
    assert!(failed.contains(&("combine is a function of its arguments", words.into())), "{failed:?}");
}
