//! {{name}}: a release policy. Updates leave no longer than an L2 norm, and not at all if too few examples are behind them.

use polder_policy_sdk::release::{Answer, Question, Release, Treatment};
use polder_policy_sdk::{Error, export_release, figure};
use serde::Deserialize;

const NORM_MAX: f64 = 10.0;
const EXAMPLES_MIN: u64 = 10;

pub struct Policy;

/// What a region may set. A field here is a parameter of the policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Release for Policy {
    type Parameters = Parameters;

    /// Called after local training, before anything of the update leaves.
    fn review(question: Question, _: Parameters) -> Result<Answer, Error> {
        let update = question.update;
        if update.examples < EXAMPLES_MIN {
            let examples = update.examples;
            let reason = format!("{examples} examples are too few to hide one; this region wants {EXAMPLES_MIN}");
            return Ok(Answer::withhold(reason));
        }
        let reason = format!("norm {}, of which at most {} leaves", figure(update.norm), figure(NORM_MAX));
        Ok(Answer::release(Treatment::none().with_clip(NORM_MAX), reason))
    }
}

export_release!(Policy);

#[cfg(test)]
mod tests {
    use polder_policy_sdk::release::Verdict;

    use super::*;

    fn review(examples: u64) -> Verdict {
        let mut question = Question::new(12.5);
        question.update.examples = examples;
        Policy::review(question, Parameters {}).unwrap().verdict
    }

    #[test]
    fn updates_are_clipped() {
        assert_eq!(review(100), Verdict::Release(Treatment::none().with_clip(NORM_MAX)));
    }

    #[test]
    fn few_examples_stay() {
        assert_eq!(review(9), Verdict::Withhold);
    }
}
