//! `polder`, as the tests start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    polder_cli::main()
}
