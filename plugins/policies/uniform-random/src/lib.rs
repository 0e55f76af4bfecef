//! Workers drawn at random: every set of as many candidates as there are seats is equally likely. The sampling of federated
//! averaging (McMahan et al. 2017, Algorithm 1: "random set of m clients").
//!
//! Drawn without replacement by a partial shuffle (R. Durstenfeld: *Algorithm 235: Random permutation*, CACM 7(7), 1964) with numbers
//! that are uniform without bias (D. Lemire: *Fast random integer generation in an interval*, ACM TOMACS 29(1), 2019) from
//! SplitMix64, seeded with the question's seed: a replay draws the same. It keeps no state and takes no parameters.

mod draw;

use polder_policy_sdk::placement::{Answer, Placement, Question, place_in_order};
use polder_policy_sdk::{Error, export_placement};
use serde::Deserialize;

use crate::draw::Draw;

/// The policy; see the crate.
pub struct UniformRandom;

/// What a run may set: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Placement for UniformRandom {
    type Parameters = Parameters;

    fn place(question: Question, _: Parameters) -> Result<Answer, Error> {
        let mut draw = Draw::new(question.seed);
        place_in_order(&question, |_, demand, mut open| {
            let candidates = open.len();
            let seats = candidates.min(demand.seats as usize);
            for seat in 0..seats {
                let chosen = seat + draw.below((candidates - seat) as u64) as usize;
                open.swap(seat, chosen);
            }
            open.truncate(seats);
            let places = open.into_iter().zip(1..);
            Ok(places.map(|(worker, place)| (worker, format!("drawn at random, {place} of {candidates}"))).collect())
        })
    }
}

export_placement!(UniformRandom);

#[cfg(test)]
mod tests;
