//! What may leave a region under our release policies.

use polder_core::policy::{
    Precision, ReleaseAnswer, ReleaseContext, ReleaseQuestion, ReleaseVerdict, Treatment, UpdateNumbers,
};
use proptest::prelude::*;

use crate::federation::{HOST, ours};

fn question(norm: f64, cohort: u32, quorum: u32) -> ReleaseQuestion {
    ReleaseQuestion {
        update: UpdateNumbers { parameters: 1000, examples: 10, norm, max_norm: norm, ..UpdateNumbers::default() },
        context: ReleaseContext {
            run: "digits".into(),
            round: 3,
            region: "eu-west".into(),
            aggregation: "fedavg@0.2.0".into(),
            cohort,
            quorum,
        },
        ..ReleaseQuestion::default()
    }
}

fn review(policy: &str, parameters: &str, question: &ReleaseQuestion) -> ReleaseAnswer {
    let policy = ours(policy);
    HOST.check_parameters(&policy, parameters).unwrap();
    HOST.review(&policy, parameters, question).unwrap()
}

/// Released, with this clip and nothing else.
fn released(clip: Option<f64>) -> ReleaseVerdict {
    ReleaseVerdict::Release(Treatment { clip, noise: None, precision: Precision::Float32 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn each_does_what_its_name_says(norm in 0.0..1e6f64, quarters in 1..4000u32, cohort: u32, quorum: u32, fewest in 1..u32::MAX) {
        let question = question(norm, cohort, quorum);
        // a number that any reader of decimals gets to the bit
        let limit = f64::from(quarters) / 4.0;
        prop_assert_eq!(review("allow-all", "{}", &question).verdict, released(None));
        let answer = review("clip", &format!(r#"{{"norm": {limit}}}"#), &question);
        prop_assert_eq!(answer.verdict, released(Some(limit)));
        prop_assert_eq!(answer.reason.contains("scaled down"), norm > limit);
        let answer = review("min-cohort", &format!(r#"{{"cohort_min": {fewest}}}"#), &question);
        prop_assert_eq!(answer.verdict == ReleaseVerdict::Withhold, cohort < fewest);
        let answer = review("min-cohort", &format!(r#"{{"cohort_min": 1, "quorum_min": {fewest}}}"#), &question);
        prop_assert_eq!(answer.verdict == ReleaseVerdict::Withhold, cohort < 1 || quorum < fewest);
    }
}

#[test]
fn reasons_say_what_is_missing() {
    let question = question(2.0, 3, 2);
    let reason = |policy, parameters| review(policy, parameters, &question).reason;
    assert_eq!(reason("allow-all", "{}"), "every update leaves; this one has norm 2");
    assert_eq!(reason("clip", r#"{"norm": 0.5}"#), "norm 2 is scaled down to 0.5");
    let small = reason("min-cohort", r#"{"cohort_min": 5}"#);
    assert_eq!(small, "the round has 3 workers; this region wants at least 5");
}
