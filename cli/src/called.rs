//! How people call a policy: `NAME`, or `NAME@VERSION`.

use std::fmt;
use std::str::FromStr;

use polder_core::id::NameError;
use polder_core::{PolicyName, PolicyVersion};

/// A policy's name, and which version of it if that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    pub name: PolicyName,
    pub version: Option<PolicyVersion>,
}

impl FromStr for Called {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('@') {
            None => Ok(Self { name: text.parse()?, version: None }),
            Some((name, version)) => Ok(Self { name: name.parse()?, version: Some(version.parse()?) }),
        }
    }
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => self.name.fmt(f),
            Some(version) => write!(f, "{}@{version}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_be_left_out_but_not_empty() {
        for good in ["krum", "krum@2", "krum@1.0.0-rc.1"] {
            assert_eq!(good.parse::<Called>().unwrap().to_string(), good);
        }
        for bad in ["", "@1", "krum@", "krum@1@2", "Krum", "krum @1"] {
            assert!(bad.parse::<Called>().is_err(), "{bad}");
        }
    }
}
