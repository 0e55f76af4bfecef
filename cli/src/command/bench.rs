//! `polder bench …`: measures the real thing: real processes, real files.

pub(crate) mod aggregation;
mod crowd;
pub(crate) mod fanin;
pub(crate) mod large;
pub(crate) mod round;
mod spent;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Rounds with real worker processes over mutual TLS that return changed arrays without training.
    Round(round::Round),
    /// Many light workers held by one coordinator, with rounds going on: memory, latency, and how they all come back.
    Fanin(fanin::Fanin),
    /// A model that one process should not hold in memory goes through a round.
    Large(large::Large),
    /// Updates becoming a model, natively and through policies, beside reading and native arithmetic.
    Aggregation(aggregation::Aggregation),
}
