//! How a command that failed says so: one headline, what led to it, and an exit code that scripts can rely on.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use console::Style;
use polder_security::token::TokenError;
use polder_worker::WorkerError;

use crate::client::CallError;
use crate::home::ProfileError;
use crate::run_file::{FirstModelError, RunFileError};

/// The table of exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the operation failed; for `run watch` also: the run failed or was stopped
  2    wrong usage, or an input file that cannot be used
  3    the coordinator cannot be reached, or it refused
  4    there is no such run, round, worker, policy or model
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP)

Environment:
  POLDER_HOME     where profiles, coordinators and workers keep their files [default: ~/.polder]
  POLDER_PROFILE  the same as --profile
  POLDER_LOG      what is logged to stderr, e.g. `info` or `polder_worker=debug` [default: warn; info for `start`]
  NO_COLOR        set to anything, no colours";

/// What an exit code stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    BadInput = 2,
    Refused = 3,
    NotFound = 4,
    HungUp = 129,
    Interrupted = 130,
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An end of its own: nothing more to say than the sentence, if there is one.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) sentence: String,
}

impl Ended {
    pub(crate) fn error(exit: Exit, sentence: impl Into<String>) -> anyhow::Error {
        Self { exit, sentence: sentence.into() }.into()
    }

    /// Wrong flags or arguments that only became clear later than parsing them.
    pub(crate) fn usage(sentence: impl Into<String>) -> anyhow::Error {
        Self::error(Exit::BadInput, sentence)
    }
}

/// What the causes of `error` say about the exit code.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(ended) = cause.downcast_ref::<Ended>() {
            return ended.exit;
        }
        if let Some(call) = cause.downcast_ref::<CallError>() {
            return call.exit();
        }
        if let Some(worker) = cause.downcast_ref::<WorkerError>() {
            return exit_of_worker(worker);
        }
        let is_input = cause.is::<RunFileError>()
            || cause.is::<FirstModelError>()
            || cause.is::<ProfileError>()
            || cause.is::<TokenError>()
            || cause.is::<polder_train::DataError>()
            || cause.is::<polder_worker::ConfigError>();
        if is_input {
            return Exit::BadInput;
        }
    }
    Exit::Failed
}

fn exit_of_worker(error: &WorkerError) -> Exit {
    match error {
        WorkerError::CannotConnect { .. } | WorkerError::Refused { .. } | WorkerError::Unknown { .. } => Exit::Refused,
        WorkerError::Data(_)
        | WorkerError::NotEnrolled { .. }
        | WorkerError::NoEndpoint { .. }
        | WorkerError::Name { .. }
        | WorkerError::NotAWorker { .. }
        | WorkerError::AnotherWorker { .. } => Exit::BadInput,
        _ => Exit::Failed,
    }
}

/// Whether nobody reads what we write any more, as with `polder run list | head -1`; that is no failure.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().take(1).any(closed)
}

/// Headline and causes. A cause whose words the line before already has is left out.
pub(crate) fn describe(error: &anyhow::Error, red: &Style) -> String {
    let mut text = String::new();
    let mut before = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let words = cause.to_string();
        if words.is_empty() || before.contains(&words) {
            continue;
        }
        // Writing to a string does not fail.
        let _ = if depth == 0 {
            writeln!(text, "{} {words}", red.apply_to("error:"))
        } else {
            writeln!(text, "  because {}", words.replace('\n', "\n  "))
        };
        before = words;
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_follow_the_headline_and_none_twice() {
        let cause = io::Error::other("disk on fire");
        let error = anyhow::Error::from(cause).context("cannot write `x`: disk on fire").context("no report");
        assert_eq!(describe(&error, &Style::new()), "error: no report\n  because cannot write `x`: disk on fire\n");
    }

    #[test]
    fn the_exit_code_is_found_behind_context() {
        let usage = Err::<(), _>(Ended::usage("both")).context("flags").unwrap_err();
        assert_eq!(exit_of(&usage), Exit::BadInput);
        let file = RunFileError::NotText { path: "run.toml".into() };
        assert_eq!(exit_of(&anyhow::Error::from(file)), Exit::BadInput);
        assert_eq!(exit_of(&anyhow::anyhow!("anything else")), Exit::Failed);
        let no_token = "polder1.x".parse::<polder_security::JoinToken>().unwrap_err();
        assert_eq!(exit_of(&anyhow::Error::from(no_token).context("join")), Exit::BadInput);
        let unreachable = WorkerError::CannotConnect { sentence: "nothing listens".into() };
        assert_eq!(exit_of(&anyhow::Error::from(unreachable).context("the worker stopped")), Exit::Refused);
        let missing = CallError::Refused { sentence: "no".into(), code: tonic::Code::NotFound, word: None };
        assert_eq!(exit_of(&missing.into()), Exit::NotFound);
    }

    #[test]
    fn every_code_is_in_the_help() {
        let signalled = [Exit::HungUp, Exit::Interrupted, Exit::Terminated];
        for exit in [Exit::Failed, Exit::BadInput, Exit::Refused, Exit::NotFound].into_iter().chain(signalled) {
            assert!(EXIT_CODES.contains(&(exit as u8).to_string()), "{exit:?}");
        }
    }
}
