//! From what people wrote to what may run: required keys, defaults, ranges, and what goes with what.

use std::time::Duration;

use polder_core::Digest;
use polder_core::policy::{OnFailure, PolicyRef};
use polder_core::spec::{
    CohortSpec, DEADLINE_MS_MAX, Deadlines, EvaluationSpec, Metric, ModelSpec, RetentionSpec, SpecError, Target,
    TrainerSpec,
};
use polder_train::{Architecture, ArchitectureError, ConfigError, Optimizer, TrainConfig};

use super::fault::{Fault, quoted};
use super::raw::{RawDeadlines, RawModel, RawPolicy, RawRun, RawTarget, RawTrain, RawTrainer};
use super::source::{Source, listed};
use super::{ModelPlan, PolicyPlan, PolicySource, RunFile, keys};
use crate::called::Called;

const SELECTION_DEFAULT: Duration = Duration::from_secs(10);
/// Workers that may stand in for one seat where the run file says nothing.
const STANDBYS_DEFAULT: u32 = 2;
const ROUND_DEFAULT: Duration = Duration::from_secs(600);
const DAY_MS: u64 = 24 * 3600 * 1000;
/// The trainers that a run may name, as workers call them.
const EMBEDDED: &str = "embedded";
const SYNTHETIC: &str = "synthetic";

pub(super) fn check(source: &Source<'_>, raw: RawRun) -> Result<RunFile, Fault> {
    let check = Check { source };
    let RawRun { name, data, seed, rounds, model, train, trainer, .. } = raw;
    let RawRun { cohort, deadlines, evaluation, target, retention, policy, .. } = raw;
    let model = check.model(model)?;
    let size = check.required("cohort.size", cohort.size)?;
    let on_failure = check.on_failure("policy", policy.on_failure)?.unwrap_or_default();
    let file = RunFile {
        name: check.required("name", name)?,
        dataset: check.required("data", data)?,
        seed: seed.unwrap_or(0),
        rounds: check.required("rounds", rounds)?,
        trainer: check.trainer(trainer, &model.architecture, train)?,
        model,
        cohort: CohortSpec {
            size,
            over_selection: cohort.over_selection.unwrap_or(0),
            quorum: cohort.quorum.unwrap_or(size / 2 + 1),
            staleness_max: cohort.staleness_max.unwrap_or(0),
            standbys: cohort.standbys.unwrap_or(STANDBYS_DEFAULT),
        },
        deadlines: check.deadlines(deadlines)?,
        evaluation: match evaluation {
            None => None,
            Some(raw) => Some(EvaluationSpec { holdout: check.required("evaluation.holdout", raw.holdout)? }),
        },
        target: target.map(|target| check.target(target)).transpose()?,
        retention: retention.models.map_or_else(RetentionSpec::default, |models| RetentionSpec { models }),
        placement: check.policy("placement", "least-loaded", policy.placement, on_failure)?,
        aggregation: check.policy("aggregation", "fedavg", policy.aggregation, on_failure)?,
    };
    check.whole(&file)?;
    Ok(file)
}

struct Check<'a> {
    source: &'a Source<'a>,
}

impl Check<'_> {
    fn fault(&self, key: &str, problem: String) -> Fault {
        self.source.fault(key, problem)
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| {
            let allowed = keys::allowed(key).unwrap_or("a value");
            self.fault(key, format!("`{key}` is missing; it holds {allowed}"))
        })
    }

    fn one_of<T: Copy>(&self, key: &str, text: &str, choices: &[(&str, T)]) -> Result<T, Fault> {
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let allowed = keys::allowed(key).unwrap_or("another value");
                Err(self.fault(key, format!("`{key}` is \"{}\"; allowed: {allowed}", quoted(text))))
            }
        }
    }

    /// Refuses keys of `table` that are `given` but mean nothing there.
    fn only(&self, table: &str, what: &str, given: &[(&str, bool)], allowed: &[&str]) -> Result<(), Fault> {
        match given.iter().find(|(name, is_given)| *is_given && !allowed.contains(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let problem = format!("`{table}.{name}` means nothing for {what}; it takes {}", listed(allowed));
                Err(self.fault(&format!("{table}.{name}"), problem))
            }
        }
    }

    fn model(&self, raw: RawModel) -> Result<ModelPlan, Fault> {
        #[derive(Clone, Copy)]
        enum Kind {
            LogisticRegression,
            Mlp,
            Cnn,
        }
        let kind = self.required("model.kind", raw.kind)?;
        let choices = [("logistic-regression", Kind::LogisticRegression), ("mlp", Kind::Mlp), ("cnn", Kind::Cnn)];
        let given = [
            ("inputs", raw.inputs.is_some()),
            ("hidden", raw.hidden.is_some()),
            ("height", raw.height.is_some()),
            ("width", raw.width.is_some()),
            ("channels", raw.channels.is_some()),
        ];
        let only = |allowed: &[&str]| self.only("model", &format!("the model kind \"{kind}\""), &given, allowed);
        let choice = self.one_of("model.kind", &kind, &choices)?;
        let classes = || self.required("model.classes", raw.classes);
        let architecture = match choice {
            Kind::LogisticRegression => {
                only(&["inputs", "classes", "file"])?;
                let inputs = self.required("model.inputs", raw.inputs)?;
                Architecture::LogisticRegression { inputs, classes: classes()? }
            }
            Kind::Mlp => {
                only(&["inputs", "hidden", "classes", "file"])?;
                let inputs = self.required("model.inputs", raw.inputs)?;
                let hidden = self.required("model.hidden", raw.hidden)?;
                Architecture::Mlp { inputs, hidden, classes: classes()? }
            }
            Kind::Cnn => {
                only(&["height", "width", "channels", "classes", "file"])?;
                let height = self.required("model.height", raw.height)?;
                let width = self.required("model.width", raw.width)?;
                Architecture::Cnn { height, width, channels: raw.channels.unwrap_or(1), classes: classes()? }
            }
        };
        architecture.check().map_err(|error| match error {
            ArchitectureError::OutOfRange { key, value, min, max } => {
                let key = format!("model.{key}");
                self.fault(&key, format!("`{key}` is {value}; allowed: a whole number from {min} to {max}"))
            }
            error @ ArchitectureError::Layers { .. } => self.fault("model.hidden", error.to_string()),
            error => self.fault("model", error.to_string()),
        })?;
        Ok(ModelPlan { architecture, file: raw.file.map(|file| self.source.directory().join(file)) })
    }

    fn train(&self, raw: RawTrain, architecture: &Architecture) -> Result<TrainConfig, Fault> {
        let given = [
            ("momentum", raw.momentum.is_some()),
            ("weight_decay", raw.weight_decay.is_some()),
            ("betas", raw.betas.is_some()),
            ("eps", raw.eps.is_some()),
        ];
        let name = raw.optimizer.as_deref().unwrap_or("sgd");
        let only = |allowed: &[&str]| self.only("train", &format!("the optimizer \"{name}\""), &given, allowed);
        let optimizer = if self.one_of("train.optimizer", name, &[("sgd", true), ("adam", false)])? {
            only(&["momentum", "weight_decay"])?;
            Optimizer::Sgd { momentum: raw.momentum.unwrap_or(0.0), weight_decay: raw.weight_decay.unwrap_or(0.0) }
        } else {
            only(&["betas", "eps"])?;
            Optimizer::Adam { betas: raw.betas.unwrap_or([0.9, 0.999]), eps: raw.eps.unwrap_or(1e-8) }
        };
        let default = TrainConfig::default();
        let config = TrainConfig {
            epochs: raw.epochs.unwrap_or(default.epochs),
            batch_size: raw.batch_size.unwrap_or(default.batch_size),
            learning_rate: raw.learning_rate.unwrap_or(default.learning_rate),
            optimizer,
            proximal_mu: raw.proximal_mu.unwrap_or(default.proximal_mu),
            retries: raw.retries.unwrap_or(default.retries),
        };
        config.check_for(architecture).map_err(|error| match error {
            ConfigError::OutOfRange { key, value, allowed } => {
                let key = format!("train.{}", key.trim_start_matches("optimizer."));
                self.fault(&key, format!("`{key}` is {value}; allowed: {allowed}"))
            }
            error @ ConfigError::BatchTooLarge { .. } => self.fault("train.batch_size", error.to_string()),
        })?;
        Ok(config)
    }

    /// The trainer and its settings, as workers read them.
    fn trainer(&self, raw: RawTrainer, model: &Architecture, train: RawTrain) -> Result<TrainerSpec, Fault> {
        let kind = raw.kind.as_deref().unwrap_or(EMBEDDED);
        let kind = self.one_of("trainer.kind", kind, &[(EMBEDDED, EMBEDDED), (SYNTHETIC, SYNTHETIC)])?;
        let settings = match raw.settings {
            None if kind == SYNTHETIC => serde_json::json!({}),
            Some(settings) if kind == SYNTHETIC => self.json("trainer.settings", settings)?,
            Some(_) => {
                let problem = "`trainer.settings` means nothing for the embedded trainer; use [model] and [train]";
                return Err(self.fault("trainer.settings", problem.into()));
            }
            None => {
                let train = self.train(train, model)?;
                serde_json::json!({ "model": model, "train": train })
            }
        };
        Ok(TrainerSpec { kind: kind.into(), settings })
    }

    fn deadlines(&self, raw: RawDeadlines) -> Result<Deadlines, Fault> {
        let selection_ms = self.duration("deadlines.selection", raw.selection, SELECTION_DEFAULT)?;
        let round_ms = self.duration("deadlines.round", raw.round, ROUND_DEFAULT)?;
        if round_ms == 0 {
            let problem = "`deadlines.round` is no time at all; use 1ms or more".into();
            return Err(self.fault("deadlines.round", problem));
        }
        Ok(Deadlines { selection_ms, round_ms })
    }

    /// In milliseconds.
    fn duration(&self, key: &str, text: Option<String>, default: Duration) -> Result<u64, Fault> {
        let Some(text) = text else { return Ok(milliseconds(default)) };
        let duration = humantime::parse_duration(&text).map_err(|error| {
            let found = quoted(&text);
            self.fault(
                key,
                format!("`{key}` is \"{found}\", which is no duration: {error}; write \"10s\", \"5m\" or \"1h 30m\""),
            )
        })?;
        match milliseconds(duration) {
            ms if ms > DEADLINE_MS_MAX => {
                let problem =
                    format!("`{key}` is \"{}\"; allowed: at most {} days", quoted(&text), DEADLINE_MS_MAX / DAY_MS);
                Err(self.fault(key, problem))
            }
            ms => Ok(ms),
        }
    }

    fn target(&self, raw: RawTarget) -> Result<Target, Fault> {
        let metric = self.required("target.metric", raw.metric)?;
        let metric =
            self.one_of("target.metric", &metric, &[("accuracy", Metric::Accuracy), ("loss", Metric::Loss)])?;
        Ok(Target { metric, value: self.required("target.value", raw.value)? })
    }

    fn policy(&self, kind: &str, default: &str, raw: RawPolicy, on_failure: OnFailure) -> Result<PolicyPlan, Fault> {
        let table = format!("policy.{kind}");
        let key = format!("{table}.name");
        let path = raw.file.map(|file| self.source.directory().join(file));
        let stem = path.as_ref().and_then(|path| path.file_stem()?.to_str());
        let name = raw.name.as_deref();
        let called = name.or(stem).unwrap_or(default).parse::<Called>().map_err(|error| match (name, stem) {
            (None, Some(_)) => {
                let problem = format!("`{key}` is missing, and the file's name does not make one: {error}");
                self.fault(&format!("{table}.file"), problem)
            }
            _ => self.fault(&key, format!("`{key}`: {error}")),
        })?;
        let parameters = self.json(&format!("{table}.parameters"), raw.parameters.unwrap_or_default())?.to_string();
        let on_failure = self.on_failure(&table, raw.on_failure)?.unwrap_or(on_failure);
        let source = path.map_or(PolicySource::Coordinator, PolicySource::File);
        Ok(PolicyPlan { source, called, parameters, on_failure })
    }

    fn on_failure(&self, table: &str, word: Option<String>) -> Result<Option<OnFailure>, Fault> {
        let choices = [
            ("retry", OnFailure::Retry),
            ("previous", OnFailure::Previous),
            ("builtin", OnFailure::Builtin),
            ("abandon", OnFailure::Abandon),
        ];
        word.map(|word| self.one_of(&format!("{table}.on_failure"), &word, &choices)).transpose()
    }

    fn json(&self, key: &str, table: toml::Table) -> Result<serde_json::Value, Fault> {
        json(toml::Value::Table(table)).map_err(|problem| self.fault(key, format!("`{key}` holds {problem}")))
    }

    /// What only the whole can tell, and every bound that the coordinator will hold it to.
    fn whole(&self, file: &RunFile) -> Result<(), Fault> {
        let model = ModelSpec { digest: Digest::blake3([0; 32]), bytes: 1, parameters: 1 };
        let policy = |plan: &PolicyPlan| PolicyRef {
            parameters: plan.parameters.clone(),
            ..PolicyRef::new(plan.called.name.clone(), Digest::sha256([0; 32]))
        };
        let spec = file.spec(model, policy(&file.placement), policy(&file.aggregation));
        spec.check().map_err(|error| {
            let SpecError { key, found, allowed } = error;
            self.fault(key, format!("`{key}` is {found}; {allowed}"))
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The same as JSON; a problem where JSON knows no such value.
fn json(value: toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Float(number) => {
            serde_json::Number::from_f64(number).ok_or_else(|| format!("{number}; numbers here must be finite"))?.into()
        }
        toml::Value::Datetime(date) => return Err(format!("the date {date}; write it as text, in quotes")),
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| Ok((key, json(value)?)));
            serde_json::Value::Object(entries.collect::<Result<_, String>>()?)
        }
    })
}
