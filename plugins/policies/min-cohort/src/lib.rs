//! An update leaves only into a round that mixes it with enough others: of at least `cohort_min` chosen workers.
//!
//! The smallest group in which a single member may hide, as in k-anonymity (L. Sweeney: *k-anonymity: a model for protecting privacy*,
//! IJUFKS 10(5), 2002). Chosen workers may fail to report; a region that counts on those that do sets `quorum_min` as well.
//!
//! | parameter | default | is |
//! | --- | --- | --- |
//! | `cohort_min` | must be given | fewest workers chosen for the round, at least 1 |
//! | `quorum_min` | 1 | fewest updates from which on the round counts, at least 1 |
//!
//! It keeps no state.

use polder_policy_sdk::release::{Answer, Question, Release, Treatment};
use polder_policy_sdk::{Error, export_release, require};
use serde::Deserialize;

/// The policy; see the crate.
pub struct MinCohort;

/// What a region sets; see the crate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Fewest workers chosen for a round.
    cohort_min: u32,
    /// Fewest updates that make a round count.
    #[serde(default = "one")]
    quorum_min: u32,
}

fn one() -> u32 {
    1
}

impl Release for MinCohort {
    type Parameters = Parameters;

    fn check(Parameters { cohort_min, quorum_min }: Parameters) -> Result<(), Error> {
        require(cohort_min >= 1, "cohort_min", f64::from(cohort_min), "at least 1")?;
        require(quorum_min >= 1, "quorum_min", f64::from(quorum_min), "at least 1")
    }

    fn review(question: Question, Parameters { cohort_min, quorum_min }: Parameters) -> Result<Answer, Error> {
        let (cohort, quorum) = (question.context.cohort, question.context.quorum);
        if cohort < cohort_min {
            let reason = format!("the round has {cohort} workers; this region wants at least {cohort_min}");
            return Ok(Answer::withhold(reason));
        }
        if quorum < quorum_min {
            let reason = format!("the round counts from {quorum} updates on; this region wants at least {quorum_min}");
            return Ok(Answer::withhold(reason));
        }
        let reason =
            format!("the round has {cohort} workers of at least {cohort_min}, and counts from {quorum} updates on");
        Ok(Answer::release(Treatment::none(), reason))
    }
}

export_release!(MinCohort);

#[cfg(test)]
mod tests;
