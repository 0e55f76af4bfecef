//! `policy list|show`.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::federation::StoredPolicy;
use crate::id::{PolicyId, PolicyName, PolicyVersion, RunId};
use crate::policy::{AggregationTraits, PolicyKind};
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    pub name: PolicyName,
    pub version: PolicyVersion,
    pub kind: PolicyKind,
    pub digest: Digest,
    pub bytes: u64,
    pub is_builtin: bool,
    /// One line on what it does; those that were pushed have none.
    #[serde(default)]
    pub summary: Option<String>,
    /// Who vouches for it, as `ed25519:<hex>`.
    #[serde(default)]
    pub signer: Option<String>,
    #[serde(default)]
    pub pushed_at: Option<Timestamp>,
}

impl PolicyView {
    #[must_use]
    pub fn of(id: &PolicyId, stored: &StoredPolicy) -> Self {
        Self {
            name: id.name.clone(),
            version: id.version.clone(),
            kind: stored.kind,
            digest: stored.digest,
            bytes: stored.bytes,
            is_builtin: false,
            summary: None,
            signer: stored.signature.as_ref().map(|signature| signature.signer.clone()),
            pushed_at: Some(stored.pushed_at),
        }
    }

    #[must_use]
    pub fn id(&self) -> PolicyId {
        PolicyId { name: self.name.clone(), version: self.version.clone() }
    }
}

/// All there is to know of one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyDetails {
    #[serde(flatten)]
    pub policy: PolicyView,
    /// The version of the contract that it is made for.
    pub contract: String,
    /// What it was asked about.
    pub parameters: String,
    /// What an aggregation policy says of itself under these parameters.
    pub traits: Option<AggregationTraits>,
    /// Why it does not take these parameters, if it does not.
    pub refuses: Option<String>,
    /// The runs that are pinned to it, ended ones too.
    pub runs: Vec<RunId>,
    /// What it is held to.
    pub limits: Vec<LimitView>,
}

/// One limit of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitView {
    /// With its unit last, e.g. `question_ms_max`.
    pub key: String,
    pub value: u64,
    pub about: String,
}
