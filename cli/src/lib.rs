//! The `polder` program: every command, noun then verb, one file each.
//!
//! | module | holds |
//! | --- | --- |
//! | [`args`] | the command line |
//! | [`command`] | one file a command |
//! | [`client`] | the operator's side of the coordinator's API |
//! | [`called`], [`component`] | how people call a policy; a policy from a file on this machine |
//! | [`run_file`] | `run.toml`, read and checked |
//! | [`home`] | where things lie on this machine; profiles |
//! | [`output`], [`progress`] | tables, JSON, live views |
//! | [`failure`] | headlines, causes, exit codes |
//! | [`local`], [`demo`] | a federation of child processes; what the demo makes of it |
//! | [`log`], [`shutdown`] | `POLDER_LOG`; Ctrl-C and SIGTERM |

mod args;
pub mod called;
pub mod client;
mod command;
mod component;
mod demo;
mod failure;
pub mod home;
mod local;
mod log;
mod output;
mod progress;
pub mod run_file;
mod shutdown;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use console::Style;

use crate::args::Cli;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are no failures; clap knows where each goes.
        Err(error) => {
            let is_closed = error.print().is_err();
            return if is_closed { ExitCode::SUCCESS } else { ExitCode::from(error.exit_code() as u8) };
        }
    };
    if matches!(cli.command, args::Command::PolicyCompiler) {
        // First thing, while this process has one thread: it limits itself before it reads anything.
        return polder_policy::compiler_main();
    }
    log::start(cli.command.log_level());
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if failure::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let red = Style::new().for_stderr().red().bold();
            // If stderr is gone too, the exit code has to do.
            let _ = std::io::stderr().lock().write_all(failure::describe(&error, &red).as_bytes());
            failure::exit_of(&error).into()
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(command::perform(cli));
    // What still blocks (a thread reading a file) is not waited for: everything that matters is on disk by now.
    runtime.shutdown_background();
    ended
}
