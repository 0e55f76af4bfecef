//! The deterministic world that drives the core: coordinators over one database, workers, a network, and everything that
//! goes wrong between them, in virtual time.
//!
//! No threads, no clock, no I/O: one queue of happenings ordered by time and one generator made from the seed. The same
//! seed and plan give the same world, line for line, so a failure is a number: `polder sim --seed N --log` lives it again
//! and prints its log.
//!
//! After every event all of [`polder_core::invariants`] are checked, and what only the whole history can show: the
//! journal is one line of history, whoever writes it, and gives every leader the same federation, from its first entry
//! or from a snapshot · nothing is done that the journal does not hold · a leader that is gone is followed in time ·
//! nobody speaks for a federation that has moved on · every update that counts was asked for and counts once · nothing
//! acknowledged is lost · a closed round never changes, and is filed before it is forgotten · a committed model is made
//! of exactly the updates that were taken · a policy finds what it kept, and a worker the model it starts from · a
//! buffered round counts what was taken, once, in time · a token lets in one · every round ends by its deadline · no
//! policy is asked in a tight loop · time alone never keeps the coordinator busy · and once faults have stopped, every
//! round commits and every run ends.
//!
//! # To add a fault
//!
//! 1. Give it a share and a name in [`Faults`], with a sentence; worlds vary it by themselves.
//! 2. Throw for it where it strikes: a message in `world/network.rs`, a policy in `world/policies.rs`, a worker's doing in
//!    `world/worker.rs`, a coordinator's process in `world/coordinator.rs` and `world/term.rs`, anything from outside in
//!    `world/faults.rs`. Use `self.dice.chance(self.faults.…)` and nothing else that is random.
//! 3. Say `self.strike("its-name")` when it strikes; `tests/seeds.rs` asks that every fault struck in every phase.
//! 4. Let it mend: after `FaultsStop` every share is 0, and what the fault broke must come right within `SETTLE_MS`.
//!
//! # To add an invariant
//!
//! What can be seen in the present belongs into `polder_core::invariants`, where production counts it too; what needs the
//! past belongs into `history.rs`.

mod dice;
mod digests;
mod explore;
mod history;
mod message;
mod plan;
mod queue;
mod report;
mod world;

pub use digests::{model_digest, update_digest};
pub use explore::{Shrunk, explore, shrink};
pub use plan::{CrashAt, CrashPoint, Faults, Plan};
pub use report::{Counted, Counts, Failure, Report, RunReport};

/// Lives through the world of `seed` until every run has ended, or until something does not hold that should.
///
/// # Errors
/// The first broken invariant, with everything that happened before it.
pub fn run(seed: u64, plan: &Plan) -> Result<Report, Failure> {
    world::World::of(seed, plan).live()
}

/// The log of the world of `seed`, whether it ended well or not: the same every time.
#[must_use]
pub fn replay(seed: u64, plan: &Plan) -> Vec<String> {
    run(seed, plan).map_or_else(|failure| failure.log, |report| report.log)
}
