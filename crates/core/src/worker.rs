//! A worker as the coordinator knows it: who, where, what it offers, whether it is here.

mod workers;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::workers::Workers;
use crate::id::{Region, WorkerName};
use crate::time::Timestamp;

/// Most data sets a worker may offer.
pub const DATASETS_MAX: usize = 256;
/// Most assignments a worker may take at once.
pub const SLOTS_MAX: u32 = 1024;

/// What a worker offers when it connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Assignments it takes at once.
    pub slots: u32,
    /// Names of the data sets it can train on; what is in them stays with the region.
    pub datasets: BTreeSet<String>,
    /// Trainers it has.
    pub trainers: BTreeSet<String>,
}

impl Capacity {
    /// Holds a peer's claim to the bounds.
    pub fn check(&self) -> Result<(), String> {
        if self.slots == 0 || self.slots > SLOTS_MAX {
            return Err(format!("slots is {}; use 1 to {SLOTS_MAX}", self.slots));
        }
        if self.datasets.len() > DATASETS_MAX || self.trainers.len() > DATASETS_MAX {
            return Err(format!("more than {DATASETS_MAX} data sets or trainers"));
        }
        Ok(())
    }
}

/// Whether a worker is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Presence {
    /// Enrolled, never connected since.
    Enrolled,
    /// Its stream is open.
    Connected { session: u64, since: Timestamp },
    /// Its stream broke; what it was assigned is kept for it until `return_by`.
    Away { since: Timestamp, return_by: Timestamp, reason: String },
    /// Gone for longer than that; its seats are given up until it returns.
    Lost { since: Timestamp, reason: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    pub name: WorkerName,
    pub region: Region,
    pub presence: Presence,
    /// What it offered when it last connected.
    pub capacity: Option<Capacity>,
    /// Finishes what it has, gets nothing new.
    pub is_draining: bool,
    /// Rounds it was chosen for so far.
    pub rounds_assigned: u64,
    /// How long its updates take from assignment to arrival, in milliseconds: a mean in which the newest counts a quarter.
    pub latency_ms: Option<f64>,
}

impl Worker {
    #[must_use]
    pub fn new(name: WorkerName, region: Region) -> Self {
        Self {
            name,
            region,
            presence: Presence::Enrolled,
            capacity: None,
            is_draining: false,
            rounds_assigned: 0,
            latency_ms: None,
        }
    }

    /// It was away for too long; says why it is lost.
    pub(crate) fn give_up(&mut self, now: Timestamp) -> Option<String> {
        let Presence::Away { since, return_by, reason } = &self.presence else { return None };
        let reason = format!("{reason}, and it did not return within {} ms", return_by.ms_since(*since));
        self.presence = Presence::Lost { since: now, reason: reason.clone() };
        Some(reason)
    }

    pub(crate) fn measure(&mut self, latency_ms: u64) {
        let newest = latency_ms as f64;
        self.latency_ms = Some(self.latency_ms.map_or(newest, |mean| mean + (newest - mean) / 4.0));
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.presence, Presence::Connected { .. })
    }

    /// Connected or expected back: its seats are kept.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        matches!(self.presence, Presence::Connected { .. } | Presence::Away { .. })
    }

    #[must_use]
    pub fn offers(&self, dataset: &str, trainer: &str) -> bool {
        self.capacity.as_ref().is_some_and(|c| c.datasets.contains(dataset) && c.trainers.contains(trainer))
    }

    #[must_use]
    pub fn slots(&self) -> u32 {
        self.capacity.as_ref().map_or(0, |c| c.slots)
    }
}
