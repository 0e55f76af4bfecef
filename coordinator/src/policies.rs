//! Which component answers which question: the run's own by digest, or the built-in of its kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::Digest;
use polder_core::policy::{PlacementAnswer, PlacementQuestion, PolicyChoice, PolicyKind};
use polder_policy::{Policy, PolicyError, PolicyHost, builtins};

use crate::driver::blocking;
use crate::store::{Store, StoreError};

/// Why a policy cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusablePolicy {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("policy {digest} decides {found}, not {wanted}")]
    Kind { digest: Digest, found: PolicyKind, wanted: PolicyKind },
}

/// Policies at hand; what a round needs is there from the round before.
const AT_HAND_MAX: usize = 64;

#[derive(Clone)]
pub(crate) struct Policies {
    host: Arc<PolicyHost>,
    store: Arc<Store>,
    /// Loaded before, by digest: hashing a component for every question would cost more than the answer.
    at_hand: Arc<Mutex<BTreeMap<Digest, Policy>>>,
}

impl Policies {
    pub(crate) fn new(host: Arc<PolicyHost>, store: Arc<Store>) -> Self {
        Self { host, store, at_hand: Arc::default() }
    }

    pub(crate) fn host(&self) -> &PolicyHost {
        &self.host
    }

    /// The component behind `choice`, compiled, with the parameters it is to be given.
    pub(crate) async fn resolve(
        &self,
        choice: &PolicyChoice,
        kind: PolicyKind,
    ) -> Result<(Policy, String), UnusablePolicy> {
        let (pinned, parameters) = match choice {
            PolicyChoice::Builtin => {
                let host = self.host.clone();
                let policy = blocking(move || host.builtin(kind)).await?;
                return Ok((policy, "{}".into()));
            }
            PolicyChoice::Pinned(pinned) => (pinned.digest, pinned.parameters.clone()),
        };
        let at_hand = self.at_hand().get(&pinned).cloned();
        let policy = match at_hand {
            Some(policy) => policy,
            None => self.load(pinned).await?,
        };
        if policy.kind() == kind {
            Ok((policy, parameters))
        } else {
            Err(UnusablePolicy::Kind { digest: pinned, found: policy.kind(), wanted: kind })
        }
    }

    async fn load(&self, digest: Digest) -> Result<Policy, UnusablePolicy> {
        let host = self.host.clone();
        let policy = match builtins().iter().find(|builtin| builtin.digest() == digest) {
            Some(builtin) => blocking(move || host.load(builtin.bytes)).await?,
            None => {
                let bytes = self.store.blobs().get(&digest).await?;
                blocking(move || host.load(&bytes)).await?
            }
        };
        let mut at_hand = self.at_hand();
        if at_hand.len() >= AT_HAND_MAX {
            at_hand.pop_first();
        }
        at_hand.insert(digest, policy.clone());
        Ok(policy)
    }

    fn at_hand(&self) -> MutexGuard<'_, BTreeMap<Digest, Policy>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a placement question; says which component answered.
    pub(crate) async fn place(
        &self,
        choice: PolicyChoice,
        question: PlacementQuestion,
    ) -> Result<(Digest, PlacementAnswer), UnusablePolicy> {
        let (policy, parameters) = self.resolve(&choice, PolicyKind::Placement).await?;
        let host = self.host.clone();
        let digest = policy.digest();
        let answer = blocking(move || host.place(&policy, &parameters, &question)).await?;
        Ok((digest, answer))
    }

    /// Whether a policy can be loaded, is of `kind`, and takes these parameters; asked before a run is accepted.
    pub(crate) async fn check(
        &self,
        policy: &polder_core::policy::PolicyRef,
        kind: PolicyKind,
    ) -> Result<(), UnusablePolicy> {
        let (policy, parameters) = self.resolve(&PolicyChoice::Pinned(policy.clone()), kind).await?;
        let host = self.host.clone();
        Ok(blocking(move || host.check_parameters(&policy, &parameters)).await?)
    }
}
