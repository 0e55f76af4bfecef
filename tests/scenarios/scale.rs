//! Many workers, and a model that nobody holds in memory: the benchmarks of both, small.

use polder_tests::Polder;
use serde_json::Value;

fn polder() -> Polder {
    Polder::new(env!("CARGO_BIN_EXE_polder-under-test"))
}

fn number(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("no {key} in {of}"))
}

#[test]
fn fifty_workers_are_held_do_rounds_and_come_back_after_a_kill() {
    let arguments = ["bench", "fanin", "--json", "--workers", "50", "--cohort", "10", "--rounds", "2"];
    let measured = polder().run(&arguments).object();
    let held = measured["held"].as_array().unwrap();
    let workers: Vec<u64> = held.iter().map(|held| number(held, "workers")).collect();
    assert_eq!(workers, [0, 25, 50, 50]);
    if cfg!(target_os = "linux") {
        assert!(number(&held[2], "open_files") >= number(&held[0], "open_files") + 50, "{held:?}");
    }
    let rounds = measured["rounds"].as_array().unwrap();
    let cohorts: Vec<u64> = rounds.iter().map(|rounds| number(rounds, "cohort")).collect();
    assert_eq!(cohorts, [10, 50]);
    for rounds in rounds {
        let steps = rounds["steps"].as_array().unwrap();
        let spool = steps.iter().find(|step| step["step"] == "spool").unwrap();
        assert_eq!(spool["times_a_round"].as_f64(), rounds["cohort"].as_f64(), "{rounds}");
    }
    assert!(measured["return_seconds"].as_f64() >= measured["restart_seconds"].as_f64());
}

#[test]
fn a_round_takes_less_memory_than_its_model() {
    let measured = polder().run(&["bench", "large", "--json", "--mib", "128", "--workers", "2"]).object();
    let model = number(&measured, "model_bytes");
    assert!(model >= 128 << 20, "{measured}");
    assert!(number(&measured, "largest_tensor_bytes") > model / 2, "{measured}");
    if cfg!(target_os = "linux") {
        let (idle, peak) = (number(&measured, "idle_bytes"), number(&measured, "peak_bytes"));
        assert!(peak - idle < model, "the coordinator grew by {} for a model of {model}", peak - idle);
    }
}

#[test]
fn what_the_disk_cannot_hold_is_not_begun() {
    let said = polder().run(&["bench", "large", "--mib", "65000", "--workers", "100"]);
    said.fails(1, "give another directory with --dir, or a smaller model with --mib");
}
