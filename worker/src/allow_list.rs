//! Which aggregation policies a region lets its updates be used by.
//!
//! An entry is a digest, a signer, or a policy that ships with this very program. The worker checks signatures itself. The list
//! binds what a run asks for: an assignment under any other policy is declined. What a coordinator then does with updates that it
//! has is beyond a worker's sight: where its policy fails and the run's `on_failure` says so, the round is decided by the built-in `fedavg`
//! or by the policy that decided before. A digest does not bind the parameters that a run gives the policy.

use std::fmt;

use polder_core::Digest;
use polder_core::policy::{PolicyKind, PolicyRef};
use polder_policy::{Builtin, builtin_named, builtins};
use polder_security::{PublicKey, SignatureError, signature};

/// Most entries; a reason that names them all must be short enough to be read.
pub const ALLOWED_MAX: usize = 64;
/// Entries that a reason names.
const NAMED_MAX: usize = 3;

/// The aggregation policies that a region accepts; an empty list accepts all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Allowed>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Digest(Digest),
    Signer(PublicKey),
    /// One that ships with the program, as it was written, and its digest.
    Builtin(String, Digest),
}

/// Why something can be no entry of the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    #[error(
        "`--allow-aggregation {text}`: no aggregation policy of that name ships with this program; write one of {builtins}, \
         or a digest `sha256:<hex>` as `polder policy list` shows it, or a signer `ed25519:<hex>`"
    )]
    Unknown { text: String, builtins: String },
    #[error("`--allow-aggregation {text}`: {problem}")]
    Malformed { text: String, problem: String },
    #[error("`--allow-aggregation` was given {count} times; use it {ALLOWED_MAX} times at most")]
    TooMany { count: usize },
}

impl AllowList {
    /// Reads entries as people write them.
    pub fn parse(texts: &[String]) -> Result<Self, AllowListError> {
        if texts.len() > ALLOWED_MAX {
            return Err(AllowListError::TooMany { count: texts.len() });
        }
        texts.iter().map(|text| Allowed::parse(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the region accepts `policy`; the error is the reason to decline.
    pub(crate) fn admit(&self, policy: &PolicyRef) -> Result<(), String> {
        if self.0.is_empty() || self.0.iter().any(|allowed| allowed.is_digest(policy.digest)) {
            return Ok(());
        }
        let refuse = |why: String| {
            let version = policy.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
            let (name, digest) = (&policy.name, policy.digest);
            Err(format!("this region does not accept the aggregation policy {name}{version} ({digest}): {why}"))
        };
        let Some(made) = &policy.signature else { return refuse(format!("it accepts only {self}")) };
        let key = made.signer.parse::<PublicKey>();
        if !key.is_ok_and(|key| self.0.contains(&Allowed::Signer(key))) {
            return refuse(format!("it is signed by {}, and the region accepts only {self}", made.signer));
        }
        match signature::verify(&policy.digest.to_string(), made) {
            Ok(()) => Ok(()),
            Err(SignatureError::Wrong { signer, .. }) => refuse(format!("its signature is not one by {signer}")),
            Err(error) => refuse(error.to_string()),
        }
    }
}

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, allowed) in self.0.iter().take(NAMED_MAX).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            match allowed {
                Allowed::Digest(digest) => write!(f, "{comma}{digest}"),
                Allowed::Signer(key) => write!(f, "{comma}what {key} signed"),
                Allowed::Builtin(name, digest) => write!(f, "{comma}{name} ({})", digest.short()),
            }?;
        }
        match self.0.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Allowed {
    fn parse(text: &str) -> Result<Self, AllowListError> {
        let malformed = |problem: String| AllowListError::Malformed { text: text.chars().take(200).collect(), problem };
        if text.starts_with("sha256:") {
            return text
                .parse()
                .map(Self::Digest)
                .map_err(|error: polder_core::digest::ParseDigestError| malformed(error.to_string()));
        }
        if text.starts_with("ed25519:") {
            return text.parse().map(Self::Signer).map_err(|error: SignatureError| malformed(error.to_string()));
        }
        match named(PolicyKind::Aggregation, text) {
            Some(builtin) => Ok(Self::Builtin(format!("{}@{}", builtin.name, builtin.version), builtin.digest())),
            None => {
                let names: Vec<_> = of_kind(PolicyKind::Aggregation).map(|builtin| builtin.name).collect();
                let text = text.chars().take(200).collect();
                Err(AllowListError::Unknown { text, builtins: names.join(", ") })
            }
        }
    }

    fn is_digest(&self, digest: Digest) -> bool {
        match self {
            Self::Digest(allowed) | Self::Builtin(_, allowed) => *allowed == digest,
            Self::Signer(_) => false,
        }
    }
}

/// The policies of a kind that ship with the program.
pub(crate) fn of_kind(kind: PolicyKind) -> impl Iterator<Item = &'static Builtin> {
    builtins().iter().filter(move |builtin| builtin.kind == kind)
}

/// The policy of a kind that ships with the program under `name` or `name@version`.
pub(crate) fn named(kind: PolicyKind, text: &str) -> Option<&'static Builtin> {
    let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
    builtin_named(name, version).filter(|builtin| builtin.kind == kind)
}

#[cfg(test)]
mod tests;
