//! `polder bench …`: measures the real thing: real processes, real files.

pub(crate) mod aggregation;
pub(crate) mod round;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Rounds with real worker processes over mutual TLS that return changed arrays without training.
    Round(round::Round),
    /// Updates becoming a model, natively and through policies, beside reading and native arithmetic.
    Aggregation(aggregation::Aggregation),
}
