use super::*;

#[test]
fn metrics_are_means_weighted_by_examples() {
    let play = evaluation_of(2).placed(&["a", "b"]).evaluated("a", metrics(30, 0.9)).phase_is("configuration");
    let play = play.evaluated("b", metrics(10, 0.5)).phase_is("evaluated");
    let found = play.round.evaluation().unwrap();
    assert_eq!(found.examples, 40);
    assert!((found.accuracy - 0.8).abs() < 1e-12, "{found:?}");
    assert!((found.loss - 0.2).abs() < 1e-12, "{found:?}");
}

#[test]
fn one_evaluation_is_enough_at_the_deadline() {
    evaluation_of(3).placed(&["a", "b", "c"]).evaluated("b", metrics(5, 1.0)).at_the_deadline().phase_is("evaluated");
}

#[test]
fn no_evaluation_at_the_deadline_abandons_the_round() {
    evaluation_of(2).placed(&["a", "b"]).accepted("a").at_the_deadline().phase_is("abandoned");
}

#[test]
fn an_evaluation_round_takes_no_update() {
    let mut play = evaluation_of(1).placed(&["a"]);
    assert_eq!(play.refused(report("a")), RoundRefusal::WrongTask { round: 7, wanted: "evaluations" });
}

#[test]
fn impossible_metrics_are_named() {
    let problem = |examples, loss, accuracy| Evaluation { examples, loss, accuracy }.check().unwrap_err();
    assert!(problem(0, 0.5, 0.5).contains("examples"));
    assert!(problem(1, f64::NAN, 0.5).contains("NaN"));
    assert!(problem(1, 1e300, 0.5).contains("loss"), "a mean over such losses overflows");
    assert!(problem(1, 0.5, 1.01).contains("1.01"));
    let receipt = UpdateReceipt { examples: 0, ..receipt_of("a") };
    assert!(receipt.check().unwrap_err().contains("examples is 0"));
    let receipt = UpdateReceipt { loss: Some(f64::INFINITY), ..receipt_of("a") };
    assert!(receipt.check().unwrap_err().contains("loss is"));
}

#[test]
fn claims_of_very_many_examples_keep_the_mean_a_mean() {
    let most = Evaluation { examples: u64::MAX, loss: f64::from(f32::MAX), accuracy: 1.0 };
    let mean = Evaluation::combine([&most, &most]).unwrap();
    assert_eq!(mean.accuracy, 1.0);
    assert!(mean.loss.is_finite());
    assert_eq!(Evaluation::combine([]), None);
}
