//! Least connections: the worker with the fewest assignments under way first, whatever its size; then the one chosen for the fewest
//! rounds, then by name.
//!
//! The rule that load balancers call by this name: join the shortest queue (W. Winston: *Optimality of the shortest line discipline*,
//! Journal of Applied Probability 14, 1977). Best where workers are alike and rounds take different times; where workers differ in
//! size, `least-loaded` goes by the share of slots.
//!
//! Rounds are served in the order of their runs; seats given in the same answer count. It keeps no state and takes no parameters.

use polder_policy_sdk::placement::{Answer, Placement, Question, Seating, place_in_order};
use polder_policy_sdk::{Error, export_placement};
use serde::Deserialize;

/// The policy; see the crate.
pub struct LeastConnections;

/// What a run may set: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Placement for LeastConnections {
    type Parameters = Parameters;

    fn place(question: Question, _: Parameters) -> Result<Answer, Error> {
        place_in_order(&question, |seating, demand, mut open| {
            open.sort_by_key(|&worker| {
                let known = seating.worker(worker);
                (seating.slots_busy(worker), known.rounds_assigned, &known.name)
            });
            let candidates = open.len();
            let places = open.into_iter().take(demand.seats as usize).zip(1..);
            Ok(places.map(|(worker, place)| (worker, reason(seating, worker, place, candidates))).collect())
        })
    }
}

export_placement!(LeastConnections);

fn reason(seating: &Seating<'_>, worker: u32, place: usize, candidates: usize) -> String {
    let known = seating.worker(worker);
    format!(
        "fewest assignments, {place} of {candidates}: {} of {} slots busy, {} rounds so far",
        seating.slots_busy(worker),
        known.slots,
        known.rounds_assigned
    )
}

#[cfg(test)]
mod tests;
