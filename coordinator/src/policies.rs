//! Which component answers which question: the run's own by digest, or the built-in of its kind.

pub(crate) mod trial;

use std::sync::Arc;

use polder_core::policy::{
    AggregationTraits, PlacementAnswer, PlacementQuestion, PolicyChoice, PolicyKind, PolicyRef, PolicySignature,
};
use polder_core::{Digest, PolicyName};
use polder_policy::{Policy, PolicyError, PolicyHost, builtins};
use polder_security::PublicKey;

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
    #[error("its parameters have {bytes} bytes, and at most {PARAMETERS_BYTES_MAX} are kept for every round")]
    Parameters { bytes: usize },
}

/// Longest parameters that a run may give a policy.
const PARAMETERS_BYTES_MAX: usize = 64 * 1024;

/// Why a policy that was pushed is not to be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error("policy `{name}` is not signed, and this coordinator takes only what {trusted} signed")]
    Unsigned { name: PolicyName, trusted: String },
    #[error("policy `{name}` is signed by {signer}, and this coordinator takes only what {trusted} signed")]
    Signer { name: PolicyName, signer: String, trusted: String },
}

#[derive(Clone)]
pub(crate) struct Policies {
    host: Arc<PolicyHost>,
    store: Arc<Store>,
    /// Whose signatures count; none, and nobody's is needed.
    signers: Arc<[PublicKey]>,
}

impl Policies {
    pub(crate) fn new(host: Arc<PolicyHost>, store: Arc<Store>, signers: Arc<[PublicKey]>) -> Self {
        Self { host, store, signers }
    }

    pub(crate) fn host(&self) -> &Arc<PolicyHost> {
        &self.host
    }

    /// Whether a policy that was pushed with `signature`, which was verified, may be used here.
    pub(crate) fn check_signer(&self, name: &PolicyName, signature: Option<&PolicySignature>) -> Result<(), Untrusted> {
        if self.signers.is_empty() {
            return Ok(());
        }
        let trusted: Vec<String> = self.signers.iter().map(ToString::to_string).collect();
        let (name, trusted) = (name.clone(), trusted.join(" or "));
        let Some(PolicySignature { signer, .. }) = signature else { return Err(Untrusted::Unsigned { name, trusted }) };
        match signer.parse::<PublicKey>() {
            Ok(key) if self.signers.contains(&key) => Ok(()),
            _ => Err(Untrusted::Signer { name, signer: signer.clone(), trusted }),
        }
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
        let policy = self.load(pinned).await?;
        if policy.kind() == kind {
            Ok((policy, parameters))
        } else {
            Err(UnusablePolicy::Kind { digest: pinned, found: policy.kind(), wanted: kind })
        }
    }

    /// The component with this digest, compiled.
    pub(crate) async fn load(&self, digest: Digest) -> Result<Policy, UnusablePolicy> {
        // Before its bytes are read: hashing a component for every question would cost more than the answer.
        if let Some(policy) = self.host.remembered(digest) {
            return Ok(policy);
        }
        let host = self.host.clone();
        let policy = match builtins().iter().find(|builtin| builtin.digest() == digest) {
            Some(builtin) => blocking(move || host.load(builtin.bytes)).await?,
            None => {
                let bytes = self.store.blobs().get(&digest).await?;
                blocking(move || host.load(&bytes)).await?
            }
        };
        Ok(policy)
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
    pub(crate) async fn check(&self, policy: &PolicyRef, kind: PolicyKind) -> Result<(), UnusablePolicy> {
        check_size(policy)?;
        let (policy, parameters) = self.resolve(&PolicyChoice::Pinned(policy.clone()), kind).await?;
        let host = self.host.clone();
        Ok(blocking(move || host.check_parameters(&policy, &parameters)).await?)
    }

    /// The same for an aggregation policy, with what it says of itself.
    pub(crate) async fn describe(&self, policy: &PolicyRef) -> Result<AggregationTraits, UnusablePolicy> {
        check_size(policy)?;
        let choice = PolicyChoice::Pinned(policy.clone());
        let (policy, parameters) = self.resolve(&choice, PolicyKind::Aggregation).await?;
        let host = self.host.clone();
        Ok(blocking(move || host.describe(&policy, &parameters)).await?)
    }
}

fn check_size(policy: &PolicyRef) -> Result<(), UnusablePolicy> {
    let bytes = policy.parameters.len();
    if bytes > PARAMETERS_BYTES_MAX { Err(UnusablePolicy::Parameters { bytes }) } else { Ok(()) }
}
