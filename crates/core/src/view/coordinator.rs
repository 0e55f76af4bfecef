//! `coordinator show`.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The coordinators of a federation, and how the one that leads is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CoordinatorView {
    /// What workers and operators dial to reach the one that leads.
    pub endpoint: String,
    pub version: String,
    /// Versions of the wire protocol that it speaks.
    pub protocol_oldest: u32,
    pub protocol_newest: u32,
    pub leads_since: Timestamp,
    /// Counts the terms of leaders; each has a greater one than those before it.
    pub epoch: u64,
    /// Where the journal lies: `sqlite` or `postgres`.
    pub database: String,
    /// Where blobs and updates lie: `local`, or the object store's address.
    pub blobs: String,
    pub intake: IntakeView,
    /// Bytes left where the coordinator keeps its files, if that can be told.
    pub disk_free_bytes: Option<u64>,
    /// The newest entry of the journal.
    pub journal_seq: u64,
    /// The newest entry that the newest snapshot covers; 0 while there is none.
    pub snapshot_seq: u64,
    /// Named invariants found violated since it leads; anything but 0 is a bug to report.
    pub invariant_violations: u64,
    /// Every coordinator that shares the database, by endpoint.
    pub coordinators: Vec<MemberView>,
    /// What the one that leads spent its time on, since it was started.
    #[serde(default)]
    pub steps: Vec<StepView>,
}

/// One thing that rounds need of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    pub step: String,
    /// How often.
    pub times: u64,
    /// Wall-clock time of all of them together; several may have gone on at once.
    pub micros: u64,
}

/// Whether updates are taken and rounds begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntakeView {
    pub is_open: bool,
    /// Why not, since when, and what ends it.
    pub reason: Option<String>,
    pub since: Option<Timestamp>,
}

impl Default for IntakeView {
    fn default() -> Self {
        Self { is_open: true, reason: None, since: None }
    }
}

/// One coordinator of a federation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    pub endpoint: String,
    pub version: String,
    pub leads: bool,
    /// How long ago it last said that it is there, in milliseconds.
    pub seen_ms_ago: u64,
}
