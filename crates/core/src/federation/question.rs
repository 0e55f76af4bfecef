//! The placement question under way: what was asked, and whether an answer keeps to it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{QuestionId, WorkerName};
use crate::policy::{Demand, Placed, PlacementAnswer, PolicyChoice};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenQuestion {
    pub(super) id: QuestionId,
    pub(super) policy: PolicyChoice,
    pub(super) demands: Vec<Demand>,
    /// Free slots that the policy was told of, by worker.
    pub(super) slots_free: BTreeMap<WorkerName, u32>,
}

impl OpenQuestion {
    /// Whether the policy kept to what it was asked; what changed since the question is not its fault.
    pub(super) fn check(&self, answer: &PlacementAnswer) -> Result<(), String> {
        for demand in &self.demands {
            let chosen = answer.assignments.iter().filter(|placed| placed.run == demand.run);
            check_chosen(demand, chosen)?;
        }
        let mut new_by_worker: BTreeMap<&WorkerName, u32> = BTreeMap::new();
        for Placed { run, worker, .. } in &answer.assignments {
            if !self.demands.iter().any(|demand| demand.run == *run) {
                return Err(format!("it placed run `{run}`, which it was not asked about"));
            }
            *new_by_worker.entry(worker).or_insert(0) += 1;
        }
        for (worker, new) in new_by_worker {
            let free = self.slots_free.get(worker).copied().unwrap_or(0);
            if new > free {
                return Err(format!("it gave worker `{worker}` {new} assignments; {free} slots are free"));
            }
        }
        Ok(())
    }
}

fn check_chosen<'a>(demand: &Demand, chosen: impl Iterator<Item = &'a Placed>) -> Result<(), String> {
    let Demand { run, seats, .. } = demand;
    let candidates: BTreeSet<&WorkerName> = demand.candidates.iter().collect();
    let mut seen = BTreeSet::new();
    for Placed { worker, .. } in chosen {
        if !candidates.contains(worker) {
            return Err(format!("it chose worker `{worker}` for run `{run}`, which is not among its candidates"));
        }
        if !seen.insert(worker) {
            return Err(format!("it chose worker `{worker}` twice for run `{run}`"));
        }
    }
    if seen.len() as u64 > u64::from(*seats) {
        return Err(format!("it chose {} workers for run `{run}`, which wants {seats}", seen.len()));
    }
    Ok(())
}
