//! Names and ids, one type a noun, checked when made: nothing unchecked from outside becomes one of these.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name accepted from outside, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a {kind}; use 1 to {NAME_BYTES_MAX} of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit"
)]
pub struct NameError {
    kind: &'static str,
    text: String,
}

fn check(kind: &'static str, text: &str) -> Result<(), NameError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if starts_well && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err(NameError { kind, text: text.chars().take(80).collect() })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks `text` and makes a name of it.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check($kind, &text)?;
                Ok(Self(text))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

name!(
    /// A training job, e.g. `digits-3f9a1c`.
    RunId, "run"
);
name!(
    /// A site that owns data, e.g. `eu-west`.
    Region, "region name"
);
name!(
    /// Our process in a region, e.g. `eu-west-1`.
    WorkerName, "worker name"
);
name!(
    /// What a policy is called, e.g. `fedavg`; its digest says which bytes.
    PolicyName, "policy name"
);
name!(
    /// One of the components a policy's name has stood for, e.g. `3` or `1.2.0`; name and version are never given twice.
    PolicyVersion, "policy version"
);
name!(
    /// The public half of a join token; the secret half is never stored.
    TokenId, "token id"
);

/// A policy's name and version, `name@version` in text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyId {
    pub name: PolicyName,
    pub version: PolicyVersion,
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl FromStr for PolicyId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, version) = text.split_once('@').unwrap_or((text, ""));
        Ok(Self { name: name.parse()?, version: version.parse()? })
    }
}

impl TryFrom<String> for PolicyId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PolicyId> for String {
    fn from(id: PolicyId) -> Self {
        id.to_string()
    }
}

/// A round's place in its run, from 1. Abandoned rounds have numbers too; only committed ones raise the model version.
pub type RoundNumber = u32;

/// One question to a policy; rises by one per question over the coordinator's life.
pub type QuestionId = u64;

/// What one worker is asked to do in one round. A worker is asked at most once a round, so this names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AssignmentId {
    pub run: RunId,
    pub round: RoundNumber,
    pub worker: WorkerName,
}

impl fmt::Display for AssignmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.round, self.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(Region::new("eu-west").is_ok());
        for bad in ["", "-eu", "EU", "eu west", "../x", &"a".repeat(64)] {
            assert!(Region::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Region::new("EU").unwrap_err().to_string(),
            "`EU` is not a region name; use 1 to 63 of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit"
        );
    }
}
