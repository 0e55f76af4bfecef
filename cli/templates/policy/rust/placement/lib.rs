//! {{name}}: a placement policy. The workers with the most free slots first; among equals, in name order.

use polder_policy_sdk::placement::{Answer, Placement, Question, place_in_order};
use polder_policy_sdk::{Error, export_placement};
use serde::Deserialize;

pub struct Policy;

/// What a run may set. A field here is a parameter of the policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Placement for Policy {
    type Parameters = Parameters;

    /// Called whenever rounds wait for workers. `open` are the candidates with a free slot; the first `seats` of those returned
    /// are seated.
    fn place(question: Question, _: Parameters) -> Result<Answer, Error> {
        place_in_order(&question, |seating, _demand, mut open| {
            open.sort_by_key(|&worker| (std::cmp::Reverse(seating.slots_free(worker)), worker));
            let reason = |worker| format!("{} of {} slots free", seating.slots_free(worker), seating.worker(worker).slots);
            Ok(open.into_iter().map(|worker| (worker, reason(worker))).collect())
        })
    }
}

export_placement!(Policy);

#[cfg(test)]
mod tests {
    use polder_policy_sdk::placement::{Demand, Worker};

    use super::*;

    fn place(demands: Vec<Demand>) -> Answer {
        let mut workers = vec![Worker::idle("a", 2), Worker::idle("b", 4), Worker::idle("c", 2)];
        workers[0].slots_free = 1;
        Policy::place(Question::new(demands, workers), Parameters {}).unwrap()
    }

    #[test]
    fn the_freest_workers_come_first() {
        let answer = place(vec![Demand::new(2, 1, &[0, 1, 2])]);
        assert_eq!(answer.assignments.iter().map(|seat| seat.worker).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn slots_given_away_are_gone() {
        let answer = place(vec![Demand::new(1, 1, &[0]), Demand::new(1, 1, &[0])]);
        assert_eq!((answer.assignments.len(), answer.declined[0].demand), (1, 1));
    }
}
