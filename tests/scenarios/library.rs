//! The whole library on the demo's data set: every aggregation policy that ships decides a run of the real program, with
//! five regions that hold real digits, and reaches what its family should reach there.

use std::collections::BTreeMap;

use polder_core::policy::PolicyKind;
use polder_tests::Polder;
use polder_train::digits;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");
const REGIONS: [&str; 5] = ["ap-south", "eu-north", "eu-west", "us-east", "us-west"];

/// What a policy is tried with, and the accuracy on held-out rows that it must reach in [`ROUNDS`] rounds.
struct Trial {
    /// A TOML table.
    parameters: &'static str,
    accuracy: f64,
}

const ROUNDS: u32 = 12;

/// Chance is 0.1. Means of all updates do best; a policy that follows one update, or the middle of five, learns from less.
const TRIALS: &[(&str, Trial)] = &[
    ("fedavg", Trial { parameters: "{}", accuracy: 0.9 }),
    ("fedavgm", Trial { parameters: "{ server_momentum = 0.5 }", accuracy: 0.9 }),
    ("fedadam", Trial { parameters: "{ eta = 0.02, tau = 0.001 }", accuracy: 0.85 }),
    ("fedyogi", Trial { parameters: "{ eta = 0.02, tau = 0.001 }", accuracy: 0.85 }),
    ("fedadagrad", Trial { parameters: "{ eta = 0.05, tau = 0.001 }", accuracy: 0.85 }),
    ("fedprox", Trial { parameters: "{ proximal_mu = 0.1 }", accuracy: 0.9 }),
    ("scaffold", Trial { parameters: "{}", accuracy: 0.9 }),
    ("feddyn", Trial { parameters: "{ alpha = 0.01 }", accuracy: 0.85 }),
    ("fednova", Trial { parameters: "{}", accuracy: 0.9 }),
    ("qfedavg", Trial { parameters: "{}", accuracy: 0.8 }),
    ("fedmedian", Trial { parameters: "{}", accuracy: 0.88 }),
    ("trimmed-mean", Trial { parameters: "{}", accuracy: 0.88 }),
    ("krum", Trial { parameters: "{}", accuracy: 0.8 }),
    ("multi-krum", Trial { parameters: "{}", accuracy: 0.85 }),
    ("bulyan", Trial { parameters: "{}", accuracy: 0.85 }),
    ("rfa", Trial { parameters: "{}", accuracy: 0.9 }),
    ("norm-clipping", Trial { parameters: "{}", accuracy: 0.85 }),
    ("fltrust", Trial { parameters: "{}", accuracy: 0.88 }),
    ("fedbuff", Trial { parameters: "{}", accuracy: 0.88 }),
    ("diloco", Trial { parameters: "{}", accuracy: 0.88 }),
];

fn run_file(policy: &str, parameters: &str) -> String {
    format!(
        r#"
name = "{policy}"
data = "digits"
rounds = {ROUNDS}
seed = 3
[model]
kind = "mlp"
inputs = 64
hidden = [64]
classes = 10
[train]
epochs = 2
batch_size = 16
learning_rate = 0.1
[cohort]
size = 5
quorum = 5
[evaluation]
holdout = 0.2
[policy.aggregation]
name = "{policy}"
parameters = {parameters}
on_failure = "abandon"
"#
    )
}

/// One coordinator and five workers, each with its own fifth of the digits.
fn federation(polder: &Polder) -> Vec<polder_tests::Running> {
    // Even parts of a nearly even mix: what heterogeneity does to each policy is its paper's business.
    let parts = digits().unwrap().dirichlet_split(REGIONS.len(), 100.0, 5).unwrap();
    let mut running = vec![polder.coordinator()];
    for (region, part) in REGIONS.iter().zip(parts) {
        let file = polder.path(&format!("{region}.csv.gz"));
        part.write_csv(&file).unwrap();
        running.push(polder.worker(region, &format!("digits={}", file.display())));
    }
    running
}

fn last_accuracy(run: &Value) -> f64 {
    run["evaluations"].as_array().and_then(|all| all.last()).map_or(0.0, |last| last["accuracy"].as_f64().unwrap())
}

#[test]
fn every_aggregation_policy_learns_the_digits() {
    let polder = Polder::new(PROGRAM);
    let _running = federation(&polder);
    let trials: BTreeMap<_, _> = TRIALS.iter().map(|(name, trial)| (*name, trial)).collect();
    let shipped = polder_policy::builtins().iter().filter(|builtin| builtin.kind == PolicyKind::Aggregation);
    let shipped: Vec<_> = shipped.map(|builtin| builtin.name).collect();
    let untried: Vec<_> = shipped.iter().filter(|name| !trials.contains_key(**name)).collect();
    assert!(untried.is_empty(), "not tried: {untried:?}");
    assert_eq!(shipped.len(), trials.len(), "tried, but not shipped");

    let submit = |name: &&str| {
        let file = polder.file(&format!("{name}.toml"), &run_file(name, trials[*name].parameters));
        polder.submit(&file)
    };
    let runs: Vec<String> = shipped.iter().map(submit).collect();
    let mut short = Vec::new();
    for (name, run) in shipped.iter().zip(&runs) {
        let ended = polder.ended(run);
        let accuracy = last_accuracy(&ended);
        if ended["status"] != "completed" || accuracy < trials[name].accuracy {
            short.push(format!("{name}: {} with accuracy {accuracy}: {}", ended["status"], ended["reason"]));
        }
    }
    assert!(short.is_empty(), "{short:#?}");
}
