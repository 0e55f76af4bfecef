//! Whether a placement keeps to what there is, as the scheduler checks it.

use std::collections::{BTreeMap, BTreeSet};

use polder_core::WorkerName;
use polder_core::policy::{PlacementAnswer, PlacementQuestion};

/// A sentence that says what is overcommitted, repeated or not to be chosen.
pub(super) fn check(question: &PlacementQuestion, answer: &PlacementAnswer) -> Result<(), String> {
    let mut taken: BTreeMap<&WorkerName, u32> = BTreeMap::new();
    for demand in &question.demands {
        let mut chosen = BTreeSet::new();
        for seat in answer.assignments.iter().filter(|seat| seat.run == demand.run) {
            let worker = &seat.worker;
            if !demand.candidates.contains(worker) {
                return Err(format!("it chose {worker} for {}, which is not among its candidates", demand.run));
            }
            if !chosen.insert(worker) {
                return Err(format!("it chose {worker} twice for {}", demand.run));
            }
            *taken.entry(worker).or_default() += 1;
        }
        if chosen.len() as u64 > u64::from(demand.seats) {
            return Err(format!("it gave {} seats to {}, which wants {}", chosen.len(), demand.run, demand.seats));
        }
    }
    for worker in &question.workers {
        let (seats, free) = (taken.get(&worker.name).copied().unwrap_or(0), worker.slots_free);
        if seats > free {
            return Err(format!("it gave {} {seats} seats, and {free} slots are free", worker.name));
        }
    }
    Ok(())
}
