//! Policies that are means with weights of their own: FedAvg, FedProx, FedNova, q-FedAvg, norm clipping, FedBuff.

use polder_policy::PolicyError;
use proptest::prelude::*;

use crate::close::{assert_close, scale};
use crate::federation::{Federation, Sent, describe};
use crate::inputs::{any_updates, tame_updates};
use crate::vector::{Vector, add, norm, sum, wide, zero};

fn vectors(updates: &[Sent]) -> Vec<Vector> {
    updates.iter().map(|update| wide(&update.values)).collect()
}

fn examples(updates: &[Sent]) -> Vec<f64> {
    let total: f64 = updates.iter().map(|update| update.summary.examples as f64).sum();
    updates.iter().map(|update| update.summary.examples as f64 / total).collect()
}

/// The aggregate of one round from a model of zeros.
fn aggregate(name: &str, parameters: &str, updates: &[Sent]) -> Vec<f32> {
    let mut run = Federation::new(name, parameters, vec![0.0; updates[0].values.len()]);
    run.round(updates).unwrap().1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn fedavg_and_fedprox_are_the_mean_by_examples(plot in any_updates(1..12)) {
        let updates = plot.updates();
        let vectors = vectors(&updates);
        let expected = sum(&examples(&updates), &vectors);
        for (name, parameters) in [("fedavg", "{}"), ("fedprox", r#"{"proximal_mu": 0.5}"#)] {
            assert_close(&aggregate(name, parameters, &updates), &expected, 1e-6, scale(&vectors), name);
        }
        let plain = sum(&vec![1.0 / updates.len() as f64; updates.len()], &vectors);
        let found = aggregate("fedavg", r#"{"weighted": false}"#, &updates);
        assert_close(&found, &plain, 1e-6, scale(&vectors), "the plain mean");
    }

    /// Equations 6 and 8: the mean of normalized gradients, times the effective steps.
    #[test]
    fn fednova_normalizes_by_steps(plot in tame_updates(1..12)) {
        let updates = plot.updates();
        let steps: Vec<f64> = updates.iter().map(|update| update.summary.normalizer.unwrap()).collect();
        let shares = examples(&updates);
        let mut direction = zero(plot.length);
        let mut effective = 0.0;
        for (index, vector) in vectors(&updates).iter().enumerate() {
            add(&mut direction, shares[index] / steps[index], vector);
            effective += shares[index] * steps[index];
        }
        let expected: Vector = direction.iter().map(|value| value * effective).collect();
        // a single step may count forty times
        assert_close(&aggregate("fednova", "{}", &updates), &expected, 1e-5, 40.0, "fednova");
    }

    /// Algorithm 2, word for word.
    #[test]
    fn qfedavg_follows_its_algorithm(plot in tame_updates(1..12), q in 0.0..6.0f64, rate in 0.01..1.0f64) {
        let updates = plot.updates();
        let lipschitz = 1.0 / rate;
        let mut gradients = zero(plot.length);
        let mut steps = 0.0;
        for update in &updates {
            let loss = update.summary.base_loss.unwrap() + 1e-10;
            let drift: Vector = wide(&update.values).iter().map(|value| -lipschitz * value).collect();
            add(&mut gradients, loss.powf(q), &drift);
            steps += q * loss.powf(q - 1.0) * norm(&drift).powi(2) + lipschitz * loss.powf(q);
        }
        let expected: Vector = gradients.iter().map(|value| -value / steps).collect();
        let parameters = format!(r#"{{"q_param": {q}, "qffl_learning_rate": {rate}}}"#);
        assert_close(&aggregate("qfedavg", &parameters, &updates), &expected, 1e-5, 2.0, "qfedavg");
    }

    #[test]
    fn norm_clipping_clips_to_its_threshold(plot in any_updates(1..12), threshold in 0.1..10.0f64) {
        let updates = plot.updates();
        let vectors = vectors(&updates);
        let mut expected = zero(plot.length);
        for (vector, share) in vectors.iter().zip(examples(&updates)) {
            add(&mut expected, share / (norm(vector) / threshold).max(1.0), vector);
        }
        let found = aggregate("norm-clipping", &format!(r#"{{"threshold": {threshold}}}"#), &updates);
        assert_close(&found, &expected, 1e-5, threshold, "norm-clipping");
    }

    #[test]
    fn norm_clipping_follows_the_median_norm(first in any_updates(1..9), second in tame_updates(1..9)) {
        let second = crate::inputs::Plot { length: first.length, ..second };
        let mut run = Federation::new("norm-clipping", r#"{"smoothing": 0.5}"#, vec![0.0; first.length]);
        let mut last = None;
        for updates in [first.updates(), second.updates()] {
            let vectors = vectors(&updates);
            let mut norms: Vec<f64> = vectors.iter().map(norm).collect();
            norms.sort_by(f64::total_cmp);
            let median = norms[norms.len() / 2];
            let threshold = last.map_or(median, |last: f64| 0.5 * last + 0.5 * median);
            last = Some(threshold);
            let mut expected = zero(first.length);
            for (vector, share) in vectors.iter().zip(examples(&updates)) {
                let length = norm(vector);
                add(&mut expected, if length > threshold { share * threshold / length } else { share }, vector);
            }
            let (_, found) = run.round(&updates).unwrap();
            assert_close(&found, &expected, 1e-5, threshold.max(1e-30), "norm-clipping");
        }
    }

    /// Algorithm 1: the sum over the buffer divided by its size, not by the weights.
    #[test]
    fn fedbuff_weighs_by_staleness(plot in tame_updates(1..12), rate in 0.1..2.0f64) {
        let updates = plot.updates();
        let mut expected = zero(plot.length);
        for (update, vector) in updates.iter().zip(vectors(&updates)) {
            let staleness = f64::from(update.summary.staleness);
            add(&mut expected, rate / (updates.len() as f64 * (1.0 + staleness).sqrt()), &vector);
        }
        let found = aggregate("fedbuff", &format!(r#"{{"server_learning_rate": {rate}}}"#), &updates);
        assert_close(&found, &expected, 1e-5, 4.0, "fedbuff");
    }
}

#[test]
fn what_workers_must_do_is_declared() {
    assert_eq!(describe("fedprox", r#"{"proximal_mu": 0.25}"#).unwrap().training.proximal_mu, Some(0.25));
    assert!(describe("qfedavg", "{}").unwrap().training.base_loss);
    assert!(describe("qfedavg", "{}").unwrap().statistics.norms);
}

/// A policy, what to take from an update, and what the policy says then.
type Lacking = (&'static str, fn(&mut Sent), &'static str);

#[test]
fn updates_that_lack_what_a_policy_needs_are_named() {
    let plot = crate::inputs::Plot { seed: 1, length: 4, kinds: vec![crate::inputs::Kind::Honest; 3] };
    let cases: [Lacking; 5] = [
        ("fednova", |sent| sent.summary.normalizer = None, "update 1 reports no normalizer"),
        ("qfedavg", |sent| sent.summary.base_loss = None, "update 1 reports no loss"),
        ("qfedavg", |sent| sent.summary.base_loss = Some(-1.0), "update 1 reports a negative loss, -1"),
        ("scaffold", |sent| sent.summary.steps = Some(0), "update 1 reports no local steps"),
        ("scaffold", |sent| sent.summary.learning_rate = None, "update 1 reports no local learning rate"),
    ];
    for (name, lame, words) in cases {
        let mut updates = plot.updates();
        lame(&mut updates[1]);
        let refused = Federation::new(name, "{}", vec![0.0; 4]).round(&updates);
        let Err(PolicyError::Refused { message }) = refused else { panic!("{name} took it: {refused:?}") };
        assert!(message.contains(words), "{name}: {message}");
    }
}
