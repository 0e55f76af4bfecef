//! Giving seats away: what every placement policy does once it knows whom it prefers.

use std::cmp::Ordering;

use super::{Answer, Assignment, Declined, Demand, Gpu, Question, Worker};
use crate::Error;

/// The workers with what this answer has given away so far, and the answer itself.
///
/// ```
/// use polder_policy_sdk::placement::{Answer, Question, Seating};
///
/// /// Workers in name order.
/// fn place(question: &Question) -> Answer {
///     let mut seating = Seating::new(&question.workers);
///     for (index, demand) in (0..).zip(&question.demands) {
///         let Some(open) = seating.open(index, demand) else { continue };
///         for worker in open.into_iter().take(demand.seats as usize) {
///             let reason = format!("{} of its slots are free", seating.slots_free(worker));
///             seating.seat(index, worker, reason);
///         }
///     }
///     seating.answer(Vec::new())
/// }
/// ```
pub struct Seating<'a> {
    workers: &'a [Worker],
    slots_free: Vec<u32>,
    /// How often each GPU of each worker was given.
    given: Vec<Vec<u32>>,
    answer: Answer,
}

impl<'a> Seating<'a> {
    /// Nothing given away yet.
    pub fn new(workers: &'a [Worker]) -> Self {
        Self {
            workers,
            slots_free: workers.iter().map(|worker| worker.slots_free).collect(),
            given: workers.iter().map(|worker| vec![0; worker.load.gpus.len()]).collect(),
            answer: Answer { assignments: Vec::new(), declined: Vec::new(), state: Vec::new() },
        }
    }

    /// The demand's candidates that still have a free slot, in the order of the workers. Where they are too few for its smallest
    /// cohort, the demand is declined instead and takes nobody's slots.
    pub fn open(&mut self, index: u32, demand: &Demand) -> Option<Vec<u32>> {
        let mut open = demand.candidates.clone();
        open.retain(|&worker| self.slots_free.get(worker as usize).is_some_and(|&free| free > 0));
        if open.len() < demand.seats_min as usize || open.is_empty() {
            let reason = format!(
                "the round needs {} workers, and {} of its {} candidates have a free slot",
                demand.seats_min.max(1),
                open.len(),
                demand.candidates.len()
            );
            self.decline(index, reason);
            return None;
        }
        Some(open)
    }

    /// The demand waits.
    pub fn decline(&mut self, demand: u32, reason: impl Into<String>) {
        self.answer.declined.push(Declined { demand, reason: reason.into() });
    }

    /// What is known of a worker, one of those that [`open`](Self::open) gave.
    pub fn worker(&self, worker: u32) -> &'a Worker {
        &self.workers[worker as usize]
    }

    /// A worker's free slots without those that this answer gave away.
    pub fn slots_free(&self, worker: u32) -> u32 {
        self.slots_free.get(worker as usize).copied().unwrap_or(0)
    }

    /// A worker's slots that are taken, with those that this answer gave away.
    pub fn slots_busy(&self, worker: u32) -> u32 {
        self.worker(worker).slots.saturating_sub(self.slots_free(worker))
    }

    /// Gives a seat, on the GPU least given in this answer, then least in use, then with the most free memory. The reason gets
    /// that GPU's figures.
    pub fn seat(&mut self, demand: u32, worker: u32, reason: impl Into<String>) {
        let at = worker as usize;
        let mut reason = reason.into();
        self.slots_free[at] = self.slots_free[at].saturating_sub(1);
        let gpu = self.take_gpu(at).map(|gpu| {
            reason += &format!("; GPU {} ", gpu.index);
            reason +=
                &gpu.utilization.map_or_else(|| "does not tell its use".into(), |u| format!("{} busy", percent(u)));
            gpu.index
        });
        self.answer.assignments.push(Assignment { demand, worker, gpu, reason });
    }

    fn take_gpu(&mut self, worker: usize) -> Option<&'a Gpu> {
        let gpus = &self.workers[worker].load.gpus;
        let given = &mut self.given[worker];
        let best = (0..gpus.len()).min_by(|&a, &b| given[a].cmp(&given[b]).then_with(|| freer(&gpus[a], &gpus[b])))?;
        given[best] += 1;
        Some(&gpus[best])
    }

    /// The answer, with what the next question hands back.
    pub fn answer(mut self, state: Vec<u8>) -> Answer {
        self.answer.state = state;
        self.answer
    }
}

/// Answers a question by one preference: `order` puts a demand's open candidates in the order in which they are seated, each
/// with its reason.
///
/// # Errors
/// Those of `order`.
pub fn place_in_order<F>(question: &Question, mut order: F) -> Result<Answer, Error>
where
    F: FnMut(&Seating<'_>, &Demand, Vec<u32>) -> Result<Vec<(u32, String)>, Error>,
{
    let mut seating = Seating::new(&question.workers);
    for (index, demand) in (0..).zip(&question.demands) {
        let Some(open) = seating.open(index, demand) else { continue };
        for (worker, reason) in order(&seating, demand, open)?.into_iter().take(demand.seats as usize) {
            seating.seat(index, worker, reason);
        }
    }
    Ok(seating.answer(Vec::new()))
}

/// Less means freer. A card that does not tell its use counts as busy, one that does not tell its memory as full.
fn freer(a: &Gpu, b: &Gpu) -> Ordering {
    let busy = |gpu: &Gpu| gpu.utilization.unwrap_or(1.0);
    let free = |gpu: &Gpu| gpu.memory_free_bytes.unwrap_or(0);
    busy(a).total_cmp(&busy(b)).then(free(b).cmp(&free(a))).then(a.index.cmp(&b.index))
}

/// A share from 0 to 1 as whole percent, such as `25%`.
pub fn percent(share: f64) -> String {
    format!("{}%", (share * 100.0).round() as u64)
}

#[cfg(test)]
mod tests;
