//! `polder bench …`: measures the real thing, with real processes.

pub(crate) mod round;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Rounds with real worker processes over mutual TLS that return changed arrays without training.
    Round(round::Round),
}
