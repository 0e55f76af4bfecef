//! The least loaded worker first: the one with the largest share of its slots free, then with the least busy CPU, then the one
//! chosen for the fewest rounds, then by name. On a worker with GPUs, the one least given in this answer, then least in use.
//!
//! Rounds are served in the order of their runs. A round that cannot have its smallest cohort is declined, and takes nobody's
//! slots. It keeps no state and takes no parameters.

mod gpus;

use std::cmp::Ordering;

use polder_policy_sdk::placement::{Answer, Assignment, Declined, Demand, Placement, Question, Worker};
use polder_policy_sdk::{Error, export_placement};
use serde::Deserialize;

use crate::gpus::GpuChoices;

/// The policy; see the crate.
pub struct LeastLoaded;

/// What a run may set: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Placement for LeastLoaded {
    type Parameters = Parameters;

    fn place(question: Question, _: Parameters) -> Result<Answer, Error> {
        let mut floor = Floor::new(&question.workers);
        let mut answer = Answer { assignments: Vec::new(), declined: Vec::new(), state: Vec::new() };
        for (index, demand) in question.demands.iter().enumerate() {
            floor.seat(index as u32, demand, &mut answer);
        }
        Ok(answer)
    }
}

export_placement!(LeastLoaded);

/// The workers with what this answer has given away so far.
struct Floor<'a> {
    workers: &'a [Worker],
    slots_free: Vec<u32>,
    gpus: Vec<GpuChoices<'a>>,
}

impl<'a> Floor<'a> {
    fn new(workers: &'a [Worker]) -> Self {
        Self {
            workers,
            slots_free: workers.iter().map(|worker| worker.slots_free).collect(),
            gpus: workers.iter().map(|worker| GpuChoices::new(&worker.load.gpus)).collect(),
        }
    }

    /// Fills the seats of one demand, or declines it.
    fn seat(&mut self, index: u32, demand: &Demand, answer: &mut Answer) {
        let mut open: Vec<u32> = demand.candidates.clone();
        open.retain(|&worker| self.slots_free.get(worker as usize).is_some_and(|&free| free > 0));
        if open.len() < demand.seats_min as usize || open.is_empty() {
            let reason = format!(
                "the round needs {} workers, and {} of its {} candidates have a free slot",
                demand.seats_min.max(1),
                open.len(),
                demand.candidates.len()
            );
            answer.declined.push(Declined { demand: index, reason });
            return;
        }
        open.sort_by(|&a, &b| self.order(a, b));
        let candidates = open.len();
        for (place, worker) in open.into_iter().take(demand.seats as usize).enumerate() {
            answer.assignments.push(self.assign(index, worker, place + 1, candidates));
        }
    }

    /// Less means less loaded.
    fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (a as usize, b as usize);
        let (left, right) = (&self.workers[a], &self.workers[b]);
        // free_b / slots_b against free_a / slots_a, without dividing
        let share_a = u64::from(self.slots_free[a]) * u64::from(right.slots);
        let share_b = u64::from(self.slots_free[b]) * u64::from(left.slots);
        share_b
            .cmp(&share_a)
            .then(left.load.cpu_utilization.total_cmp(&right.load.cpu_utilization))
            .then(left.rounds_assigned.cmp(&right.rounds_assigned))
            .then_with(|| left.name.cmp(&right.name))
    }

    fn assign(&mut self, demand: u32, worker: u32, place: usize, candidates: usize) -> Assignment {
        let at = worker as usize;
        let chosen = &self.workers[at];
        let mut reason = format!(
            "least loaded, {place} of {candidates}: {} of {} slots free, CPU {} busy, {} rounds so far",
            self.slots_free[at],
            chosen.slots,
            percent(chosen.load.cpu_utilization),
            chosen.rounds_assigned
        );
        self.slots_free[at] -= 1;
        let gpu = self.gpus[at].take_best().map(|gpu| {
            reason += &format!("; GPU {} ", gpu.index);
            reason +=
                &gpu.utilization.map_or_else(|| "does not tell its use".into(), |u| format!("{} busy", percent(u)));
            gpu.index
        });
        Assignment { demand, worker, gpu, reason }
    }
}

/// A share as whole percent, without the code for printing floats.
fn percent(share: f64) -> String {
    format!("{}%", (share * 100.0).round() as u64)
}

#[cfg(test)]
mod tests;
