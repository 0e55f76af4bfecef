//! The least loaded worker first: the one with the largest share of its slots free, then with the least busy CPU, then the one
//! chosen for the fewest rounds, then by name. On a worker with GPUs, the one least given in this answer, then least in use.
//!
//! Rounds are served in the order of their runs. A round that cannot have its smallest cohort is declined, and takes nobody's
//! slots. It keeps no state and takes no parameters.

use std::cmp::Ordering;

use polder_policy_sdk::placement::{Answer, Placement, Question, Seating, percent, place_in_order};
use polder_policy_sdk::{Error, export_placement};
use serde::Deserialize;

/// The policy; see the crate.
pub struct LeastLoaded;

/// What a run may set: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Placement for LeastLoaded {
    type Parameters = Parameters;

    fn place(question: Question, _: Parameters) -> Result<Answer, Error> {
        place_in_order(&question, |seating, demand, mut open| {
            open.sort_by(|&a, &b| order(seating, a, b));
            let candidates = open.len();
            let seats = demand.seats as usize;
            let places = open.into_iter().take(seats).zip(1..);
            Ok(places.map(|(worker, place)| (worker, reason(seating, worker, place, candidates))).collect())
        })
    }
}

export_placement!(LeastLoaded);

/// Less means less loaded.
fn order(seating: &Seating<'_>, a: u32, b: u32) -> Ordering {
    let (left, right) = (seating.worker(a), seating.worker(b));
    // free_b / slots_b against free_a / slots_a, without dividing
    let share_a = u64::from(seating.slots_free(a)) * u64::from(right.slots);
    let share_b = u64::from(seating.slots_free(b)) * u64::from(left.slots);
    share_b
        .cmp(&share_a)
        .then(left.load.cpu_utilization.total_cmp(&right.load.cpu_utilization))
        .then(left.rounds_assigned.cmp(&right.rounds_assigned))
        .then_with(|| left.name.cmp(&right.name))
}

fn reason(seating: &Seating<'_>, worker: u32, place: usize, candidates: usize) -> String {
    let chosen = seating.worker(worker);
    format!(
        "least loaded, {place} of {candidates}: {} of {} slots free, CPU {} busy, {} rounds so far",
        seating.slots_free(worker),
        chosen.slots,
        percent(chosen.load.cpu_utilization),
        chosen.rounds_assigned
    )
}

#[cfg(test)]
mod tests;
