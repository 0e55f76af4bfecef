//! What the federation is busy with.

/// Small rounds in quick succession, really trained.
pub(crate) fn trained() -> String {
    format!(
        r#"
name = "trained"
data = "numbers"
rounds = 1000000
seed = 11
[model]
kind = "logistic-regression"
inputs = 4
classes = 2
[train]
epochs = 3
batch_size = 10
learning_rate = 0.1
{COHORT}
"#
    )
}

/// Rounds that take their time in training and on the line: 256 KiB a worker and direction.
pub(crate) fn heavy() -> String {
    synthetic("heavy", 1_000_000, 12, "inputs = 8191\nclasses = 8", 150)
}

/// Submitted while everything goes wrong; it has to come to its end.
pub(crate) fn queued(number: usize) -> String {
    synthetic(&format!("queued-{number}"), 2, 100 + number, "inputs = 20\nclasses = 3", 20)
}

const COHORT: &str = r#"
[cohort]
size = 5
quorum = 3
[deadlines]
selection = "2s"
round = "20s"
"#;

fn synthetic(name: &str, rounds: u32, seed: usize, shape: &str, delay_ms: u32) -> String {
    format!(
        r#"
name = "{name}"
data = "numbers"
rounds = {rounds}
seed = {seed}
[model]
kind = "logistic-regression"
{shape}
[trainer]
kind = "synthetic"
settings = {{ delay_ms = {delay_ms} }}
{COHORT}
"#
    )
}
