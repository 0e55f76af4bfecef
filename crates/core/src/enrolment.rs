//! Who may join: one-time tokens. The core keeps a token's hash, never its secret.

use serde::{Deserialize, Serialize};

use crate::id::{Region, TokenId, WorkerName};
use crate::time::Timestamp;

/// What a token lets its bearer become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Grant {
    /// One worker of this region.
    Worker { region: Region },
    /// A person or program that may do everything the CLI does.
    Operator { name: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    /// SHA-256 of the secret, hex.
    pub secret_hash: String,
    pub grant: Grant,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub redeemed: Option<Redemption>,
}

/// When a token was used, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    pub at: Timestamp,
    pub by: String,
    /// SHA-256 of the public key that was certified: the same key may ask again if the answer got lost.
    pub key_hash: String,
}

/// Why a token lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentRefusal {
    #[error("this coordinator knows no such token; ask its operator for a new one (`polder token create`)")]
    UnknownToken,
    #[error("the token expired at {expires_at}; ask for a new one (`polder token create`)")]
    Expired { expires_at: Timestamp },
    #[error("the token was already used by `{by}`; a token enrols once, ask for a new one (`polder token create`)")]
    AlreadyUsed { by: String },
    #[error("the token is for region `{granted}`, not `{claimed}`")]
    WrongRegion { granted: Region, claimed: Region },
    #[error("the token is for an operator, not for a worker")]
    NotForWorkers,
    #[error("the token is for a worker of region `{region}`, not for an operator")]
    NotForOperators { region: Region },
    #[error("a worker `{worker}` is at work; stop it first, or choose another name with --name")]
    NameInUse { worker: WorkerName },
    #[error("worker `{worker}` already belongs to region `{region}`; choose another name with --name")]
    NameTaken { worker: WorkerName, region: Region },
}

/// Who stands at the door, secret already hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applicant {
    pub secret_hash: String,
    pub key_hash: String,
    /// None for an operator.
    pub worker: Option<(WorkerName, Option<Region>)>,
}

impl Token {
    /// Whether `applicant` may come in now. The same key may come again under the same name: its first answer may have
    /// been lost.
    pub fn admit(&self, now: Timestamp, applicant: &Applicant) -> Result<(), EnrolmentRefusal> {
        if !constant_time_eq(self.secret_hash.as_bytes(), applicant.secret_hash.as_bytes()) {
            return Err(EnrolmentRefusal::UnknownToken);
        }
        if let Some(used) = &self.redeemed
            && (used.key_hash != applicant.key_hash
                || applicant.worker.as_ref().is_some_and(|(name, _)| name.as_str() != used.by))
        {
            return Err(EnrolmentRefusal::AlreadyUsed { by: used.by.clone() });
        }
        if now >= self.expires_at {
            return Err(EnrolmentRefusal::Expired { expires_at: self.expires_at });
        }
        match (&self.grant, &applicant.worker) {
            (Grant::Worker { region }, Some((_, Some(claimed)))) if region != claimed => {
                Err(EnrolmentRefusal::WrongRegion { granted: region.clone(), claimed: claimed.clone() })
            }
            (Grant::Worker { region }, None) => Err(EnrolmentRefusal::NotForOperators { region: region.clone() }),
            (Grant::Operator { .. }, Some(_)) => Err(EnrolmentRefusal::NotForWorkers),
            _ => Ok(()),
        }
    }
}

/// Compares two hashes without telling by its duration where they differ.
fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}
