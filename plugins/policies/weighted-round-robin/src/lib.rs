//! Weighted round robin: every worker in turn, as often as its weight says, and never in bursts.
//!
//! M. Katevenis, S. Sidiropoulos, C. Courcoubetis: *Weighted round-robin cell multiplexing in a general-purpose ATM switch chip*,
//! IEEE JSAC 9(8), 1991, for the sharing; the order is nginx's smooth weighted round robin (2012). For each seat every candidate's credit
//! grows by its weight, the largest credit wins, and the winner pays the sum of the candidates' weights:
//!
//! ```text
//! credit[i] += weight[i]        for every candidate i
//! winner     = argmax credit    (ties: by name)
//! credit[winner] -= sum of weight[i]
//! ```
//!
//! Weights 5, 1, 1 give a a b a c a a. A round gives a worker at most one of its seats, so who has at least one of the round's `seats` by
//! weight, `weight * seats >= sum`, is always in it; the others share what is left in the same way.
//!
//! Parameters: `{"weights": {"worker": n}}` with n from 1 to 1000; workers that are not named count with their slots.
//!
//! State: the credits of up to 4096 workers, 16 bytes each.

mod credits;

use std::collections::BTreeMap;

use polder_policy_sdk::placement::{Answer, Placement, Question, Seating};
use polder_policy_sdk::{Error, export_placement, require};
use serde::Deserialize;

use crate::credits::Credits;

/// Largest weight.
const WEIGHT_MAX: u32 = 1000;

/// The policy; see the crate.
pub struct WeightedRoundRobin;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Workers by name; the others count with their slots.
    #[serde(default)]
    weights: BTreeMap<String, u32>,
}

impl Placement for WeightedRoundRobin {
    type Parameters = Parameters;

    fn check(parameters: Parameters) -> Result<(), Error> {
        parameters.weights.iter().try_for_each(|(worker, &weight)| {
            let is_allowed = (1..=WEIGHT_MAX).contains(&weight);
            require(is_allowed, &format!("the weight of {worker}"), f64::from(weight), "from 1 to 1000")
        })
    }

    fn place(question: Question, parameters: Parameters) -> Result<Answer, Error> {
        let weights: Vec<i64> = question
            .workers
            .iter()
            .map(|worker| {
                i64::from(*parameters.weights.get(&worker.name).unwrap_or(&worker.slots.clamp(1, WEIGHT_MAX)))
            })
            .collect();
        let mut credits = Credits::read(&question.state, &question.workers, &weights);
        let mut seating = Seating::new(&question.workers);
        for (index, demand) in (0..).zip(&question.demands) {
            let Some(open) = seating.open(index, demand) else { continue };
            let (always, mut open) = always(open, demand.seats, &weights);
            let seats_left = demand.seats - always.len() as u32;
            for worker in always {
                let reason =
                    format!("always in a round of {} seats: weight {}", demand.seats, weights[worker as usize]);
                seating.seat(index, worker, reason);
            }
            let share = open.clone();
            for _ in 0..seats_left {
                let Some(worker) = credits.next_turn(&share, &open, &weights) else { break };
                let (weight, credit) = (weights[worker as usize], credits.of(worker));
                seating.seat(index, worker, format!("its turn: weight {weight}, credit {credit} after it"));
                open.retain(|&other| other != worker);
            }
        }
        Ok(seating.answer(credits.write(&question.workers)))
    }
}

export_placement!(WeightedRoundRobin);

/// Splits off those that have at least one of the seats by weight.
fn always(mut open: Vec<u32>, seats: u32, weights: &[i64]) -> (Vec<u32>, Vec<u32>) {
    let weight = |worker: u32| weights[worker as usize];
    let mut always = Vec::new();
    open.sort_by_key(|&worker| -weight(worker));
    let mut sum: i64 = open.iter().copied().map(weight).sum();
    while always.len() < seats.min(open.len() as u32) as usize {
        let (next, seats_left) = (open[always.len()], i64::from(seats) - always.len() as i64);
        if weight(next) * seats_left < sum {
            break;
        }
        sum -= weight(next);
        always.push(next);
    }
    let mut rest = open.split_off(always.len());
    rest.sort_unstable();
    (always, rest)
}

#[cfg(test)]
mod tests;
