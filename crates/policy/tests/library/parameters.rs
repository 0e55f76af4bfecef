//! Parameters: defaults are taken, what is out of range is refused in words that name the key, and so is what no policy knows.

use polder_core::policy::PolicyKind;
use polder_policy::{PolicyError, builtins};

use crate::federation::describe;

/// Policy, parameters that it must refuse, and what its words must hold.
const REFUSED: &[(&str, &str, &str)] = &[
    ("fedavgm", r#"{"server_momentum": 1}"#, "server_momentum is 1; it must be at least 0 and below 1"),
    ("fedavgm", r#"{"server_learning_rate": 0}"#, "server_learning_rate is 0"),
    ("fedadam", r#"{"beta_1": 1.0}"#, "beta_1 is 1"),
    ("fedadam", r#"{"beta_2": -0.1}"#, "beta_2 is -0.1"),
    ("fedyogi", r#"{"eta": -1}"#, "eta is -1"),
    ("fedyogi", r#"{"tau": 1e-60}"#, "tau is 1e-60"),
    ("fedadagrad", r#"{"beta_2": 0.5}"#, "unknown field `beta_2`"),
    ("fedadagrad", r#"{"tau": 0}"#, "tau is 0"),
    ("fedprox", r#"{"proximal_mu": -0.5}"#, "proximal_mu is -0.5; it must be at least 0"),
    ("scaffold", r#"{"server_learning_rate": -1}"#, "server_learning_rate is -1"),
    ("feddyn", r#"{"alpha": 0}"#, "alpha is 0"),
    ("qfedavg", r#"{"q_param": -1}"#, "q_param is -1"),
    ("qfedavg", r#"{"qffl_learning_rate": 0}"#, "qffl_learning_rate is 0"),
    ("trimmed-mean", r#"{"beta": 0.5}"#, "beta is 0.5; it must be at least 0 and below 0.5"),
    ("trimmed-mean", r#"{"beta": "much"}"#, "invalid type"),
    ("krum", r#"{"num_malicious_clients": 4000000000}"#, "num_malicious_clients is 4000000000"),
    ("multi-krum", r#"{"num_clients_to_keep": -1}"#, "invalid value"),
    ("bulyan", r#"{"num_malicious_clients": 1073741824}"#, "num_malicious_clients is 1073741824"),
    ("rfa", r#"{"maxiter": 0}"#, "maxiter is 0; it must be from 1 to 10,000"),
    ("rfa", r#"{"eps": 0}"#, "eps is 0"),
    ("fltrust", r#"{"tolerance": -1}"#, "tolerance is -1"),
    ("norm-clipping", r#"{"threshold": 0}"#, "threshold is 0"),
    ("norm-clipping", r#"{"smoothing": 1}"#, "smoothing is 1"),
    ("fedbuff", r#"{"staleness_exponent": -1}"#, "staleness_exponent is -1"),
    ("diloco", r#"{"outer_momentum": 1.5}"#, "outer_momentum is 1.5"),
    ("diloco", r#"{"outer_learning_rate": 0}"#, "outer_learning_rate is 0"),
];

fn refusal(name: &str, parameters: &str) -> String {
    match describe(name, parameters) {
        Err(PolicyError::Parameters { message }) => message,
        other => panic!("{name} with {parameters} gave {other:?}"),
    }
}

#[test]
fn what_is_out_of_range_is_refused_by_name() {
    for (name, parameters, words) in REFUSED {
        let reason = refusal(name, parameters);
        assert!(reason.contains(words), "{name} with {parameters}: {reason}");
    }
}

#[test]
fn every_policy_takes_none_and_refuses_unknown_ones() {
    for builtin in builtins().iter().filter(|builtin| builtin.kind == PolicyKind::Aggregation) {
        describe(builtin.name, "{}").unwrap();
        let reason = refusal(builtin.name, r#"{"no_such_key": 1}"#);
        assert!(reason.contains("unknown field `no_such_key`"), "{}: {reason}", builtin.name);
    }
}
