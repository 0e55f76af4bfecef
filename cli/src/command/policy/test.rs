//! `polder policy test`

use std::path::PathBuf;

use clap::Args;
use polder_core::Digest;
use polder_core::policy::PolicyKind;
use polder_policy::cases::{Case, CaseResult, Check, contract_checks, run_case};
use polder_policy::{Inspection, Limits, Policy, PolicyHost, Usage};
use serde::Serialize;
use serde_json::Value;

use crate::args::Context;
use crate::component;
use crate::failure::{Ended, Exit};
use crate::output::{Table, bytes, talk};

/// Characters of a difference or an answer that a table has room for.
const DETAIL_CHARS: usize = 160;

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A WebAssembly component, or the core module that a compiler made of a policy's source (.wasm).
    file: PathBuf,
    /// Recorded cases: a folder of folders, each with question.json and answer.json.
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Parameters that the policy should take [default: those of the first case, or {}].
    #[arg(long, value_name = "JSON")]
    parameters: Option<String>,
}

/// What was tried, as `--json` prints it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Object<'a> {
    Policy {
        kind: PolicyKind,
        contract: &'a str,
        digest: Digest,
        bytes: u64,
        compile_ms: u64,
        compiled_bytes: u64,
        memory_bytes: u64,
    },
    Check {
        name: &'a str,
        passed: bool,
        detail: &'a str,
        micros: u64,
        memory_bytes: u64,
    },
    Case {
        name: &'a str,
        passed: bool,
        expected: &'a str,
        found: &'a str,
        difference: &'a str,
        micros: u64,
        memory_bytes: u64,
    },
}

impl Test {
    pub(crate) fn perform(self, context: &Context) -> anyhow::Result<()> {
        let component = component::read(&self.file)?;
        let cases = match &self.cases {
            None => Vec::new(),
            Some(folder) => Case::read_all(folder).map_err(|error| Ended::usage(with_cause(&error)))?,
        };
        let parameters = self.parameters(&cases)?;
        let host = PolicyHost::new(Limits::default(), None)?;
        let failed = |error: polder_policy::PolicyError| {
            Ended::error(Exit::Failed, format!("`{}` is not taken: {error}", self.file.display()))
        };
        let inspection = host.inspect(&component).map_err(failed)?;
        let policy = host.load(&component).map_err(failed)?;
        say_what(context, &inspection)?;
        let passed = tried(context, &host, &policy, &parameters, &cases)?;
        let count = passed.iter().filter(|passed| !**passed).count();
        if count > 0 {
            let sentence = format!("{count} of {} checks and cases failed", passed.len());
            return Err(Ended::error(Exit::Failed, sentence));
        }
        if context.output.is_json() {
            return Ok(());
        }
        talk(&format!("All {} checks and cases passed.", passed.len()))
    }

    fn parameters(&self, cases: &[Case]) -> anyhow::Result<String> {
        let Some(text) = &self.parameters else {
            let first = cases.first().map(|case| Value::Object(case.question.parameters.clone()).to_string());
            return Ok(first.unwrap_or_else(|| "{}".into()));
        };
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) => Ok(text.clone()),
            Ok(_) => Err(Ended::usage("--parameters is no JSON object; write for instance '{\"trim\": 0.1}'")),
            Err(error) => Err(Ended::usage(format!("--parameters is no JSON: {error}"))),
        }
    }
}

/// Tries everything; says as it goes where objects are wanted, and in one table otherwise.
fn tried(
    context: &Context,
    host: &PolicyHost,
    policy: &Policy,
    parameters: &str,
    cases: &[Case],
) -> anyhow::Result<Vec<bool>> {
    let mut passed = Vec::new();
    let mut table = Table::new(&["CHECK", "RESULT", ">TIME", ">MEMORY", "FOUND"]);
    for check in contract_checks(host, policy, parameters) {
        passed.push(check.passed);
        match context.output.is_json() {
            true => context.output.object(&of_check(&check))?,
            false => table.row(row(check.name, check.passed, check.usage, &check.detail)),
        }
    }
    for case in cases {
        let result = run_case(host, policy, case);
        passed.push(result.passed);
        match context.output.is_json() {
            true => context.output.object(&of_case(&result))?,
            false => {
                let found = if result.passed { "as expected" } else { &result.difference };
                table.row(row(&format!("case {}", result.name), result.passed, result.usage, found));
            }
        }
    }
    if !context.output.is_json() {
        context.output.table(&table, "There is nothing to try.")?;
    }
    Ok(passed)
}

fn say_what(context: &Context, found: &Inspection) -> anyhow::Result<()> {
    let Inspection { kind, contract, digest, component_bytes, compile_ms, compiled_bytes, memory_bytes, .. } = found;
    if context.output.is_json() {
        return context.output.object(&Object::Policy {
            kind: *kind,
            contract,
            digest: *digest,
            bytes: *component_bytes,
            compile_ms: *compile_ms,
            compiled_bytes: *compiled_bytes,
            memory_bytes: *memory_bytes,
        });
    }
    context.output.line(&format!(
        "{kind} policy for polder:policy@{contract}, {digest}\n\
         {}, compiled in {compile_ms} ms to {}; an instance starts with {} of memory\n",
        bytes(*component_bytes),
        bytes(*compiled_bytes),
        bytes(*memory_bytes)
    ))
}

fn of_check(check: &Check) -> Object<'_> {
    let Check { name, passed, detail, usage: Usage { micros, memory_bytes } } = check;
    Object::Check { name, passed: *passed, detail, micros: *micros, memory_bytes: *memory_bytes }
}

fn of_case(result: &CaseResult) -> Object<'_> {
    let CaseResult { name, passed, expected, found, difference, usage: Usage { micros, memory_bytes } } = result;
    let (passed, micros, memory_bytes) = (*passed, *micros, *memory_bytes);
    Object::Case { name, passed, expected, found, difference, micros, memory_bytes }
}

fn row(name: &str, passed: bool, usage: Usage, found: &str) -> [String; 5] {
    let result = if passed { "passed" } else { "failed" };
    let mut short: String = found.chars().take(DETAIL_CHARS).collect();
    if short.len() < found.len() {
        short.push('…');
    }
    let (time, memory) = match usage {
        Usage { micros: 0, memory_bytes: 0 } => ("-".into(), "-".into()),
        Usage { micros, memory_bytes } => (format!("{:.2} ms", micros as f64 / 1000.0), bytes(memory_bytes)),
    };
    [name.into(), result.into(), time, memory, short]
}

fn with_cause(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    match error.source().map(ToString::to_string) {
        Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_found_and_what_it_took() {
        let usage = Usage { micros: 1234, memory_bytes: 2048 };
        assert_eq!(row("loads", true, usage, "a policy"), ["loads", "passed", "1.23 ms", "2.00 KiB", "a policy"]);
        let [_, result, time, memory, found] = row("x", false, Usage::default(), &"é".repeat(500));
        assert_eq!((result.as_str(), time.as_str(), memory.as_str()), ("failed", "-", "-"));
        assert_eq!(found.chars().count(), DETAIL_CHARS + 1);
    }

    #[test]
    fn parameters_are_an_object() {
        let test = |parameters: Option<&str>| Test {
            file: "x.wasm".into(),
            cases: None,
            parameters: parameters.map(str::to_owned),
        };
        assert_eq!(test(None).parameters(&[]).unwrap(), "{}");
        assert_eq!(test(Some(r#"{"trim": 0.1}"#)).parameters(&[]).unwrap(), r#"{"trim": 0.1}"#);
        for bad in ["7", "{", "[]"] {
            assert!(test(Some(bad)).parameters(&[]).unwrap_err().to_string().contains("--parameters is no JSON"));
        }
    }
}
