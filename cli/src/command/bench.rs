//! `polder bench …`: measures the real thing: real processes, real files.

pub(crate) mod aggregation;
mod crowd;
pub(crate) mod fanin;
pub(crate) mod large;
pub(crate) mod round;
pub(crate) mod soak;
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
    /// Rounds for as long as one likes, and whether memory, descriptors, threads and disk stay flat.
    Soak(soak::Soak),
    /// Updates becoming a model, natively and through policies, beside reading and native arithmetic.
    Aggregation(aggregation::Aggregation),
}
