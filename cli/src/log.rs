//! The log: to stderr, filtered by `POLDER_LOG`.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts the log. `level` holds where `POLDER_LOG` says nothing, or nothing that can be read.
pub(crate) fn start(level: LevelFilter) {
    let builder = EnvFilter::builder().with_default_directive(level.into()).with_env_var("POLDER_LOG");
    let (filter, problem) = match builder.try_from_env() {
        Ok(filter) => (filter, None),
        // Not set is the usual case; anything else was a slip.
        Err(error) => {
            let is_set = std::env::var_os("POLDER_LOG").is_some();
            (EnvFilter::default().add_directive(level.into()), is_set.then_some(error))
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && console::colors_enabled_stderr())
        .init();
    if let Some(error) = problem {
        tracing::warn!(%error, "POLDER_LOG cannot be read and is ignored; write for instance `polder_worker=debug`");
    }
}
