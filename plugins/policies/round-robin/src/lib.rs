//! Round robin: every worker in turn. Workers stand in a circle in name order; each seat goes to the next candidate with a free
//! slot after the worker that got the seat before.
//!
//! L. Kleinrock: *Analysis of a time-shared processor*, Naval Research Logistics Quarterly 11, 1964. Over any number of seats that
//! all workers could take, no worker gets more than one seat more than another. A worker that is busy at its turn misses it.
//!
//! State: the name of the worker that got the last seat. A name and not a number, so that workers that come or go do not
//! move anybody's turn. It takes no parameters.

use polder_policy_sdk::placement::{Answer, Placement, Question, Seating};
use polder_policy_sdk::{Error, export_placement};
use serde::Deserialize;

/// The policy; see the crate.
pub struct RoundRobin;

/// What a run may set: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Placement for RoundRobin {
    type Parameters = Parameters;

    fn place(question: Question, _: Parameters) -> Result<Answer, Error> {
        let mut seating = Seating::new(&question.workers);
        let mut last = String::from_utf8_lossy(&question.state).into_owned();
        for (index, demand) in (0..).zip(&question.demands) {
            let Some(mut open) = seating.open(index, demand) else { continue };
            // first those whose turn is after the last one's, then from the start of the circle
            open.sort_by_key(|&worker| {
                let name = &seating.worker(worker).name;
                (*name <= last, name)
            });
            let candidates = open.len();
            for (worker, place) in open.into_iter().take(demand.seats as usize).zip(1..) {
                seating.seat(index, worker, reason(&last, place, candidates));
                last.clone_from(&seating.worker(worker).name);
            }
        }
        Ok(seating.answer(last.into_bytes()))
    }
}

export_placement!(RoundRobin);

fn reason(last: &str, place: usize, candidates: usize) -> String {
    if last.is_empty() {
        return format!("its turn, {place} of {candidates}: the first seat of all");
    }
    format!("its turn, {place} of {candidates}: the seat before went to {last}")
}

#[cfg(test)]
mod tests;
