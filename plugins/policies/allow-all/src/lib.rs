//! Every update leaves as it is. What a region has that set no release policy of its own; it takes no parameters.

use polder_policy_sdk::release::{Answer, Question, Release, Treatment};
use polder_policy_sdk::{Error, export_release, figure};
use serde::Deserialize;

/// The policy; see the crate.
pub struct AllowAll;

/// What a region may set: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Release for AllowAll {
    type Parameters = Parameters;

    fn review(question: Question, _: Parameters) -> Result<Answer, Error> {
        let norm = figure(question.update.norm);
        Ok(Answer::release(Treatment::none(), format!("every update leaves; this one has norm {norm}")))
    }
}

export_release!(AllowAll);

#[cfg(test)]
mod tests;
