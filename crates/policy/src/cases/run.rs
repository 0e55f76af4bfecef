//! One recorded case, asked and compared.

use polder_core::policy::{AggregationPlan, AggregationQuestion, AggregationTraits, PlacementAnswer, ReleaseAnswer};
use polder_core::policy::{ReleaseQuestion, tidy_reason};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::{difference, overlaid};
use super::{Call, Case, CaseChunk};
use crate::questions::Measured;
use crate::{ChunkJob, Policy, PolicyError, PolicyHost, Span, Usage};

/// How a case went.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseResult {
    pub name: String,
    pub passed: bool,
    /// What the case expects, as JSON.
    pub expected: String,
    /// What the policy answered, as JSON; `{"error": ...}` if it failed.
    pub found: String,
    /// Where the two first differ, and how; empty for a case that passed.
    pub difference: String,
    /// What the policy took.
    pub usage: Usage,
}

#[derive(Serialize, Deserialize)]
struct Combined {
    aggregate: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct Stepped {
    model: Vec<f32>,
    state: Vec<Vec<f32>>,
}

/// Asks a policy a recorded question and compares the answer with the recorded one.
#[must_use]
pub fn run_case(host: &PolicyHost, policy: &Policy, case: &Case) -> CaseResult {
    let parameters = Value::Object(case.question.parameters.clone()).to_string();
    let asked = ask(host, policy, &parameters, &case.question.call);
    let (found, usage, difference) = match (asked, expected_error(&case.answer)) {
        (Ok((found, usage, _)), Some(words)) => {
            (found, usage, Some(format!("an error that says `{words}` is expected, and it answers")))
        }
        (Err(error), Some(words)) => {
            let message = error.to_string();
            let difference = (!message.contains(words)).then(|| format!("the error does not say `{words}`: {message}"));
            (error_json(&message), Usage::default(), difference)
        }
        (Err(error), None) => (error_json(&error.to_string()), Usage::default(), Some(error.to_string())),
        (Ok((found, usage, typed)), None) => {
            let difference = compare(&found, typed, &case.answer, case.question.tolerance);
            (found, usage, difference)
        }
    };
    CaseResult {
        name: case.name.clone(),
        passed: difference.is_none(),
        expected: case.answer.to_string(),
        found: found.to_string(),
        difference: difference.map(|text| tidy_reason(&text)).unwrap_or_default(),
        usage,
    }
}

fn expected_error(answer: &Value) -> Option<&str> {
    answer.as_object().filter(|answer| answer.len() == 1)?.get("error")?.as_str()
}

fn error_json(message: &str) -> Value {
    serde_json::json!({ "error": message })
}

/// Reads what is expected as the type that was found, so that 0.1 is the same number in both.
type Typed = fn(Value) -> serde_json::Result<Value>;

fn compare(found: &Value, typed: Typed, expected: &Value, tolerance: f64) -> Option<String> {
    let whole = match overlaid(found, expected, "the answer") {
        Ok(whole) => whole,
        Err(difference) => return Some(difference),
    };
    match typed(whole) {
        Ok(expected) => difference(found, &expected, tolerance, "the answer"),
        Err(error) => Some(format!("what is expected is no answer: {error}")),
    }
}

fn ask(
    host: &PolicyHost,
    policy: &Policy,
    parameters: &str,
    call: &Call,
) -> Result<(Value, Usage, Typed), PolicyError> {
    match call {
        Call::Describe => json::<AggregationTraits>(host.describe_measured(policy, parameters)),
        Call::Weigh { question } => {
            let question: AggregationQuestion = completed(question)?;
            json::<AggregationPlan>(host.weigh_measured(policy, parameters, &question))
        }
        Call::Place { question } => json::<PlacementAnswer>(host.place_measured(policy, parameters, question)),
        Call::Review { question } => {
            let question: ReleaseQuestion = completed(question)?;
            json::<ReleaseAnswer>(host.review_measured(policy, parameters, &question))
        }
        Call::Combine { chunk, rows, weights } => {
            let (job, span) = job(chunk, parameters);
            let mut aggregate = vec![0.0; rows.first().map_or(0, Vec::len)];
            let mut chunks = host.chunks(policy, &job)?;
            chunks.combine(span, &slices(rows), weights, &mut aggregate)?;
            json(Ok((Combined { aggregate }, chunks.usage())))
        }
        Call::Step { chunk, model, aggregate, extra, state } => {
            let (job, span) = job(chunk, parameters);
            let (mut model, mut state) = (model.clone(), state.clone());
            let mut places: Vec<&mut [f32]> = state.iter_mut().map(Vec::as_mut_slice).collect();
            let mut chunks = host.chunks(policy, &job)?;
            chunks.step(span, &mut model, aggregate, &slices(extra), &mut places)?;
            json(Ok((Stepped { model, state }, chunks.usage())))
        }
    }
}

fn slices(rows: &[Vec<f32>]) -> Vec<&[f32]> {
    rows.iter().map(Vec::as_slice).collect()
}

fn job(chunk: &CaseChunk, parameters: &str) -> (ChunkJob, Span) {
    let CaseChunk { round, seed, tensor, offset, memo } = chunk.clone();
    (ChunkJob { round, seed, memo, parameters: parameters.into() }, Span { tensor, offset })
}

/// A question, of which what is left out is as its default has it.
fn completed<T: Default + Serialize + DeserializeOwned>(question: &Value) -> Result<T, PolicyError> {
    let refuse = |reason: String| PolicyError::Question { reason };
    let default = serde_json::to_value(T::default()).map_err(|error| refuse(error.to_string()))?;
    let whole = overlaid(&default, question, "the question").map_err(refuse)?;
    serde_json::from_value(whole).map_err(|error| refuse(error.to_string()))
}

fn json<T: Serialize + DeserializeOwned>(answer: Measured<T>) -> Result<(Value, Usage, Typed), PolicyError> {
    let (answer, usage) = answer?;
    let typed: Typed = |value| serde_json::to_value(serde_json::from_value::<T>(value)?);
    let value = serde_json::to_value(answer).map_err(|error| PolicyError::Host { reason: error.to_string() })?;
    Ok((value, usage, typed))
}
