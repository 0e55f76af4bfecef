//! What a region keeps between its rounds of a run for SCAFFOLD (Karimireddy et al. 2020, algorithm 1) and FedDyn (Acar et al.
//! 2021, algorithm 1): a vector as long as the model, which never leaves.
//!
//! | | every gradient gets | once an update Δ = y − x counts, the vector becomes |
//! | --- | --- | --- |
//! | SCAFFOLD, option II | c − c_i | c_i − c − Δ / (steps · learning rate) |
//! | FedDyn | −h_i | h_i − α Δ |
//!
//! Δ is the update as it left, treated by the region's release policy: that is what the coordinator computes its own half of c
//! or h from, and the two must stay in step. So nothing changes before the coordinator has said that it has the update.
//!
//! One file a run in the worker's directory (`store`), written beside and renamed. It belongs to a run, a policy's name, a kind
//! and a layout; to anything else it is worth nothing and counts as all zero, as does a damaged one. No coordinator says that a
//! run is over, so the eight runs whose updates counted last keep theirs. Where SCAFFOLD's c is all zero (none comes with the
//! assignment), the coordinator has counted nothing of what the region kept, and the region starts at zero too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use polder_core::RunId;
use polder_core::effect::Assignment;
use polder_core::policy;
use polder_tensor::{Layout, Parameters};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

mod store;

use store::{Key, Kind, Store};

/// The runs at which something is kept, and whose turn it is to read or change it.
pub(crate) struct Corrections {
    store: Arc<Store>,
    turns: Mutex<BTreeMap<RunId, Arc<tokio::sync::Mutex<()>>>>,
}

/// The only one to read or change what is kept of a run, until it is dropped.
pub(crate) struct Turn {
    run: RunId,
    store: Arc<Store>,
    _guard: OwnedMutexGuard<()>,
}

/// What an assignment's policy wants kept.
#[derive(Clone, Debug)]
pub(crate) struct Correction {
    key: Key,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    /// With SCAFFOLD's c; none while it is all zero.
    ControlVariates {
        global: Option<Arc<Parameters>>,
    },
    DynamicRegularizer {
        alpha: f64,
    },
}

/// A trainer that left out what the vector follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trainer does not say its steps and its learning rate, which SCAFFOLD's control variates follow from")]
pub(crate) struct NoSteps;

/// How what is kept moves when an update counts: by `−c − Δ · scale`.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    key: Key,
    /// c; none for FedDyn, and while it is all zero.
    global: Option<Arc<Parameters>>,
    scale: f64,
    /// What was kept before counts no more.
    is_fresh: bool,
}

impl Corrections {
    /// Those that are kept in the directory `dir`.
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { store: Arc::new(Store::at(dir)), turns: Mutex::default() }
    }

    /// Waits until nobody else reads or changes what is kept of `run`: an update on its way may be about to.
    pub(crate) async fn turn(&self, run: &RunId) -> Turn {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Of those that nobody holds or waits for, ours is the only handle.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(run.clone()).or_default().clone()
        };
        Turn { run: run.clone(), store: self.store.clone(), _guard: turn.lock_owned().await }
    }
}

impl Correction {
    /// What `assignment` wants, with SCAFFOLD's c if there is one.
    pub(crate) fn of(assignment: &Assignment, global: Option<Arc<Parameters>>) -> Option<Self> {
        let (kind, rule) = match assignment.training.correction? {
            policy::Correction::ControlVariates { .. } => (Kind::ControlVariate, Rule::ControlVariates { global }),
            policy::Correction::DynamicRegularizer { alpha } => {
                (Kind::DynamicRegularizer, Rule::DynamicRegularizer { alpha })
            }
        };
        Some(Self { key: Key { policy: assignment.aggregation.name.clone(), kind }, rule })
    }

    /// What every gradient gets; none while it is all zero.
    pub(crate) fn linear(&self, turn: &Turn, model: &Parameters) -> Option<Vec<f32>> {
        let kept = || turn.store.get(&turn.run, &self.key, model.layout()).map(Parameters::into_values);
        match &self.rule {
            Rule::ControlVariates { global } => {
                let global = global.as_ref()?;
                let Some(mut values) = kept() else { return Some(global.values().to_vec()) };
                values.iter_mut().zip(global.values()).for_each(|(own, global)| *own = global - *own);
                Some(values)
            }
            Rule::DynamicRegularizer { .. } => {
                let mut values = kept()?;
                values.iter_mut().for_each(|value| *value = -*value);
                Some(values)
            }
        }
    }

    /// What an update of so many steps changes.
    pub(crate) fn change(&self, steps: Option<u64>, learning_rate: Option<f64>) -> Result<Change, NoSteps> {
        let (global, scale, is_fresh) = match &self.rule {
            Rule::ControlVariates { global } => match (steps, learning_rate) {
                (Some(steps), Some(rate)) if steps > 0 && rate > 0.0 => {
                    (global.clone(), 1.0 / (steps as f64 * rate), global.is_none())
                }
                _ => return Err(NoSteps),
            },
            Rule::DynamicRegularizer { alpha } => (None, *alpha, false),
        };
        Ok(Change { key: self.key.clone(), global, scale, is_fresh })
    }
}

/// A change as it is written down, without c.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChangeHead {
    key: Key,
    scale: f64,
    is_fresh: bool,
    has_global: bool,
}

impl ChangeHead {
    /// Whether c was written, too.
    pub(crate) fn has_global(&self) -> bool {
        self.has_global
    }
}

impl Change {
    pub(crate) fn head(&self) -> ChangeHead {
        let Self { key, global, scale, is_fresh } = self;
        ChangeHead { key: key.clone(), scale: *scale, is_fresh: *is_fresh, has_global: global.is_some() }
    }

    pub(crate) fn from_head(head: ChangeHead, global: Option<Parameters>) -> Self {
        let ChangeHead { key, scale, is_fresh, .. } = head;
        Self { key, global: global.map(Arc::new), scale, is_fresh }
    }

    /// c, if it is not all zero.
    pub(crate) fn global(&self) -> Option<&Parameters> {
        self.global.as_deref()
    }

    /// Makes the change that the update `delta`, in the layout `layout`, stands for.
    pub(crate) fn make(&self, turn: &Turn, layout: &Arc<Layout>, delta: &[f32]) -> std::io::Result<()> {
        let kept = if self.is_fresh { None } else { turn.store.get(&turn.run, &self.key, layout) };
        let mut kept = kept.unwrap_or_else(|| Parameters::zeros(layout.clone()));
        let global = self.global.as_ref().map_or(&[][..], |global| global.values());
        for (place, (value, delta)) in kept.values_mut().iter_mut().zip(delta).enumerate() {
            let global = global.get(place).copied().unwrap_or(0.0);
            *value = (f64::from(*value) - f64::from(global) - f64::from(*delta) * self.scale) as f32;
        }
        if kept.check_finite().is_err() {
            tracing::warn!("what is kept for the next round is no finite number any more and starts anew at zero");
            return turn.store.forget(&turn.run);
        }
        turn.store.put(&turn.run, &self.key, &kept)
    }
}

#[cfg(test)]
mod tests;
