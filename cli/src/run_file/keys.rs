//! Every key of `run.toml`: what it may hold and what it is when left out. Errors, `polder run submit --help` and
//! `examples/README.md` quote this table; a test holds it to what is read.

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted, e.g. `train.epochs`.
    pub path: &'static str,
    /// What it may hold.
    pub allowed: &'static str,
    /// What it is when left out; None if it must be given, or means nothing when it is not.
    pub default: Option<&'static str>,
    pub about: &'static str,
}

const fn key(path: &'static str, allowed: &'static str, default: Option<&'static str>, about: &'static str) -> Key {
    Key { path, allowed, default, about }
}

const COUNT: &str = "a whole number from 1";
const POLICY_NAME: &str = "text: NAME (the newest version) or NAME@VERSION";
const ON_FAILURE: &str = r#""retry", "previous", "builtin" or "abandon""#;
const POLICY_PARAMETERS: &str = "a table; the policy says what is in it";

/// Keys that nobody needs but our own measurements.
const HIDDEN: [&str; 2] = ["trainer.kind", "trainer.settings"];

/// All keys, in the order in which they are documented.
pub const KEYS: &[Key] = &[
    key("name", "text: 1 to 40 of a-z, 0-9, `-`, `_`, `.`", None, "what the run's id starts with"),
    key("data", "text: a data set's name", None, "the data set, as workers offer it: `worker start --data NAME=PATH`"),
    key("rounds", "a whole number from 1 to 1000000", None, "rounds to commit"),
    key("seed", "a whole number from 0 to 9223372036854775807", Some("0"), "decides all that is random"),
    key("model.kind", r#""logistic-regression", "mlp" or "cnn""#, None, "the architecture"),
    key("model.inputs", COUNT, None, "features of an example (logistic-regression, mlp)"),
    key("model.classes", "a whole number from 2", None, "classes to tell apart"),
    key("model.hidden", "a list of whole numbers from 1", None, "widths of the hidden layers (mlp)"),
    key("model.height", "a whole number from 4 to 1024", None, "rows of an image (cnn)"),
    key("model.width", "a whole number from 4 to 1024", None, "columns of an image (cnn)"),
    key("model.channels", "a whole number from 1 to 64", Some("1"), "colours of an image (cnn)"),
    key("model.file", "text: a path", None, "a safetensors file to start from, instead of random parameters"),
    key("train.epochs", "a whole number from 1 to 10000", Some("1"), "passes over a region's data in a round"),
    key("train.batch_size", "a whole number from 1 to 65536", Some("32"), "examples a step"),
    key("train.learning_rate", "a number above 0, at most 100", Some("0.05"), "length of a step"),
    key("train.optimizer", r#""sgd" or "adam""#, Some(r#""sgd""#), "how a step follows from a gradient"),
    key("train.momentum", "a number from 0, below 1", Some("0"), "sgd's"),
    key("train.weight_decay", "a number from 0 to 1", Some("0"), "sgd's L2 penalty"),
    key("train.betas", "two numbers from 0, below 1", Some("[0.9, 0.999]"), "adam's"),
    key("train.eps", "a number above 0, at most 1", Some("1e-8"), "adam's"),
    key("train.proximal_mu", "a number from 0 to 1000", Some("0"), "FedProx's pull towards the global model"),
    key("train.retries", "0 to 10", Some("1"), "tries after one that crashed, hung or lost its GPU"),
    key("trainer.kind", r#""embedded" or "synthetic""#, Some(r#""embedded""#), "who trains"),
    key("trainer.settings", "a table", None, "the synthetic trainer's"),
    key("cohort.size", COUNT, None, "updates that a round wants"),
    key("cohort.over_selection", "a whole number from 0", Some("0"), "workers asked beyond that"),
    key(
        "cohort.quorum",
        "a whole number from 1 to `cohort.size`",
        Some("more than half of size"),
        "fewest updates that make a round count",
    ),
    key(
        "cohort.staleness_max",
        "a whole number from 0 to 64",
        Some("0"),
        "model versions that a late update may be behind and still count (FedBuff)",
    ),
    key(
        "cohort.standbys",
        "a whole number from 0 to 16",
        Some("2"),
        "workers that may take the place of one that is lost, declines or fails",
    ),
    key(
        "deadlines.selection",
        r#"a duration, e.g. "10s""#,
        Some(r#""10s""#),
        "wait for a full cohort once a quorum is free",
    ),
    key(
        "deadlines.round",
        r#"a duration, e.g. "10m""#,
        Some(r#""10m""#),
        "from the first assignment to the last update",
    ),
    key(
        "evaluation.holdout",
        "a number above 0, below 1",
        None,
        "share of each region's rows kept for evaluation; without it there is none",
    ),
    key("target.metric", r#""accuracy" or "loss""#, None, "end early once federated evaluation reaches a value"),
    key("target.value", "a number", None, "that value"),
    key(
        "retention.models",
        "a whole number from 1 to 1000000",
        Some("10"),
        "committed models that are kept, beside the newest and the best",
    ),
    key("policy.on_failure", ON_FAILURE, Some(r#""builtin""#), "what happens to a round whose policy failed"),
    key("policy.placement.name", POLICY_NAME, Some(r#""least-loaded""#), "who trains where"),
    key("policy.placement.file", "text: the path of a .wasm component", None, "pushed first, under `name`"),
    key("policy.placement.parameters", POLICY_PARAMETERS, Some("{}"), "handed to the policy"),
    key("policy.placement.on_failure", ON_FAILURE, Some("`policy.on_failure`"), "the same for this one alone"),
    key("policy.aggregation.name", POLICY_NAME, Some(r#""fedavg""#), "how updates become a model"),
    key("policy.aggregation.file", "text: the path of a .wasm component", None, "pushed first, under `name`"),
    key("policy.aggregation.parameters", POLICY_PARAMETERS, Some("{}"), "handed to the policy"),
    key("policy.aggregation.on_failure", ON_FAILURE, Some("`policy.on_failure`"), "the same for this one alone"),
];

/// What the key may hold.
pub(super) fn allowed(path: &str) -> Option<&'static str> {
    KEYS.iter().find(|key| key.path == path).map(|key| key.allowed)
}

/// What a table (`""` is the whole file) may hold: the last parts of its keys, and the names of its tables.
pub(super) fn inside(table: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS.iter().filter(|key| !HIDDEN.contains(&key.path)) {
        let rest = if table.is_empty() { Some(key.path) } else { below(table, key.path) };
        let name = rest.and_then(|rest| rest.split('.').next()).filter(|name| !names.contains(name));
        names.extend(name);
    }
    names
}

/// `path` without `table.`, if it lies in it.
fn below<'a>(table: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(table)?.strip_prefix('.')
}

/// The table for `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Keys of RUN.toml:\n");
    for Key { path, allowed, default, about } in KEYS.iter().filter(|key| !HIDDEN.contains(&key.path)) {
        let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        text += &format!("  {path:<32} {about}\n{:35}{allowed}{default}\n", "");
    }
    text
}
