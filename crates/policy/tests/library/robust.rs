//! Policies that follow from distances and angles between updates: Krum, Multi-Krum, Bulyan, RFA, FLTrust.

use polder_core::policy::AggregationPlan;
use polder_policy::PolicyError;
use proptest::prelude::*;

use crate::close::assert_close;
use crate::columns::{assert_mean, sorted};
use crate::federation::{Federation, Sent, describe};
use crate::inputs::{Kind, Plot, any_updates, permuted};
use crate::vector::{Vector, add, distance, dot, norm, sum, wide, zero};

fn round(name: &str, parameters: &str, updates: &[Sent]) -> (AggregationPlan, Vec<f32>) {
    let mut run = Federation::new(name, parameters, vec![0.0; updates[0].values.len()]);
    run.round(updates).unwrap()
}

fn vectors(updates: &[Sent]) -> Vec<Vector> {
    updates.iter().map(|update| wide(&update.values)).collect()
}

/// Krum's score of one member among others, and how far inner products may put it off: differences of large products are less
/// exact than differences of vectors.
fn score(vectors: &[Vector], members: &[usize], member: usize, malicious: usize) -> (f64, f64) {
    let others = members.iter().filter(|&&other| other != member);
    let slack =
        |other: usize| 1e-13 * (dot(&vectors[member], &vectors[member]) + dot(&vectors[other], &vectors[other]));
    let mut distances: Vec<(f64, f64)> =
        others.map(|&other| (distance(&vectors[member], &vectors[other]).powi(2), slack(other))).collect();
    distances.sort_by(|left, right| left.0.total_cmp(&right.0));
    let nearest = members.len().saturating_sub(malicious + 2).max(1);
    distances.iter().take(nearest).fold((0.0, 0.0), |sum, next| (sum.0 + next.0, sum.1 + next.1))
}

/// Whether no member of `members` has clearly a lower score than `chosen`, nor the same exactly and comes first.
fn assert_lowest(vectors: &[Vector], members: &[usize], chosen: usize, malicious: usize) {
    let (own, own_slack) = score(vectors, members, chosen, malicious);
    for &member in members {
        let (other, slack) = score(vectors, members, member, malicious);
        assert!(own <= other + own_slack + slack, "{chosen} has score {own}, {member} has {other}");
        let is_copy = vectors[member] == vectors[chosen];
        assert!(!is_copy || chosen <= member, "of two equal updates, {chosen} was chosen before {member}");
    }
}

fn malicious_and_updates(least: usize, per_malicious: usize) -> impl Strategy<Value = (usize, Plot)> {
    (0..3usize).prop_flat_map(move |malicious| {
        let counts = per_malicious * malicious + least;
        (Just(malicious), any_updates(counts..counts + 5))
    })
}

/// The geometric median over whole vectors, smoothed, from the mean.
fn geometric_median(vectors: &[Vector], shares: &[f64]) -> (Vector, f64) {
    let mut point = sum(shares, vectors);
    for _ in 0..100 {
        let distances: Vec<f64> = vectors.iter().map(|vector| distance(&point, vector).max(1e-5)).collect();
        let whole: f64 = shares.iter().zip(&distances).map(|(share, distance)| share / distance).sum();
        let weights: Vec<f64> =
            shares.iter().zip(&distances).map(|(share, distance)| share / distance / whole).collect();
        let next = sum(&weights, vectors);
        let moved = distance(&next, &point);
        point = next;
        if moved <= 1e-6 * middle(distances) {
            break;
        }
    }
    let spread = middle(vectors.iter().map(|vector| distance(&point, vector)).collect());
    (point, spread)
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Most are honest: a third may be anything.
fn mostly_honest() -> impl Strategy<Value = Plot> {
    (any::<u64>(), 2..120usize, 1..5usize, prop::collection::vec(0..4u8, 0..2)).prop_map(
        |(seed, length, thirds, rest)| {
            let odd =
                rest.into_iter().map(|kind| [Kind::Zero, Kind::Copy, Kind::Outlier, Kind::Coarse][usize::from(kind)]);
            let kinds = vec![Kind::Honest; 2 * thirds + 1].into_iter().chain(odd.take(thirds)).collect();
            Plot { seed, length, kinds }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn krum_takes_the_lowest_score((malicious, plot) in malicious_and_updates(3, 2)) {
        let updates = plot.updates();
        let parameters = format!(r#"{{"num_malicious_clients": {malicious}}}"#);
        let (plan, aggregate) = round("krum", &parameters, &updates);
        let chosen: Vec<usize> = (0..updates.len()).filter(|&index| plan.weights[index] > 0.0).collect();
        assert_eq!(chosen.len(), 1);
        assert_eq!(plan.weights[chosen[0]], 1.0);
        assert_eq!(aggregate, updates[chosen[0]].values);
        assert_lowest(&vectors(&updates), &(0..updates.len()).collect::<Vec<_>>(), chosen[0], malicious);
        assert!(plan.notes[chosen[0]].ends_with("taken"));
    }

    #[test]
    fn multi_krum_averages_the_lowest_scores((malicious, plot) in malicious_and_updates(3, 2), keep in 0..4usize) {
        let updates = plot.updates();
        let parameters = format!(r#"{{"num_malicious_clients": {malicious}, "num_clients_to_keep": {keep}}}"#);
        let (plan, _) = round("multi-krum", &parameters, &updates);
        let (vectors, all): (_, Vec<usize>) = (vectors(&updates), (0..updates.len()).collect());
        let (kept, left): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&index| plan.weights[index] > 0.0);
        assert_eq!(kept.len(), if keep == 0 { updates.len() - malicious } else { keep });
        for &index in &kept {
            assert_eq!(plan.weights[index], 1.0 / kept.len() as f32);
            for &other in &left {
                let ((own, own_slack), (theirs, slack)) =
                    (score(&vectors, &all, index, malicious), score(&vectors, &all, other, malicious));
                assert!(own <= theirs + own_slack + slack, "{index} was kept with {own}, {other} not with {theirs}");
            }
        }
    }

    #[test]
    fn bulyan_chooses_by_krum_and_averages_around_the_median((malicious, plot) in malicious_and_updates(3, 4)) {
        let updates = plot.updates();
        let vectors = vectors(&updates);
        let parameters = format!(r#"{{"num_malicious_clients": {malicious}}}"#);
        let (plan, aggregate) = round("bulyan", &parameters, &updates);
        let mut choices: Vec<(usize, usize)> = (0..updates.len())
            .filter(|&index| plan.weights[index] > 0.0)
            .map(|index| (turn(&plan.notes[index]), index))
            .collect();
        choices.sort_unstable();
        assert_eq!(choices.len(), updates.len() - 2 * malicious);
        let mut left: Vec<usize> = (0..updates.len()).collect();
        for (_, chosen) in &choices {
            assert_lowest(&vectors, &left, *chosen, malicious);
            left.retain(|index| index != chosen);
        }
        let selected: Vec<&Sent> = choices.iter().map(|(_, index)| &updates[*index]).collect();
        for (parameter, &found) in aggregate.iter().enumerate() {
            let values = sorted(&selected, parameter);
            let median = 0.5 * (values[(values.len() - 1) / 2] + values[values.len() / 2]);
            let mut nearest = values.clone();
            nearest.sort_by(|a, b| (a - median).abs().total_cmp(&(b - median).abs()).then(a.total_cmp(b)));
            nearest.truncate(values.len() - 2 * malicious);
            assert_mean(found, &nearest, &format!("around the median at {parameter} of {values:?}"));
        }
    }

    #[test]
    fn rfa_finds_the_geometric_median(plot in mostly_honest(), weighted in any::<bool>()) {
        let updates = plot.updates();
        let vectors = vectors(&updates);
        let count = |update: &Sent| if weighted { update.summary.examples as f64 } else { 1.0 };
        let total: f64 = updates.iter().map(count).sum();
        let shares: Vec<f64> = updates.iter().map(|update| count(update) / total).collect();
        let (expected, spread) = geometric_median(&vectors, &shares);
        let (_, found) = round("rfa", &format!(r#"{{"weighted": {weighted}}}"#), &updates);
        assert_close(&found, &expected, 1e-3, spread + 1e-3 * norm(&expected), "rfa");
        // and nothing near is better, as the sum of distances has no other valley
        let honest = |point: &Vector| -> f64 {
            (0..updates.len()).filter(|&k| norm(&vectors[k]) < 1e10).map(|k| shares[k] * distance(point, &vectors[k])).sum()
        };
        if vectors.iter().all(|vector| norm(vector) < 1e10) {
            let found = wide(&found);
            for (k, vector) in vectors.iter().enumerate() {
                let mut nearby = found.clone();
                add(&mut nearby, 0.01, vector);
                add(&mut nearby, -0.01, &found);
                assert!(honest(&found) <= honest(&nearby) + 1e-4 * spread.max(1e-2), "a step towards {k} is better");
            }
        }
    }

    #[test]
    fn fltrust_weighs_by_the_cosine_to_the_median(plot in mostly_honest()) {
        let updates = plot.updates();
        let vectors = vectors(&updates);
        let (direction, _) = geometric_median(&vectors, &vec![1.0 / vectors.len() as f64; vectors.len()]);
        let length = norm(&direction);
        let mut expected = zero(plot.length);
        let mut trusted = 0.0;
        for vector in vectors.iter().filter(|vector| norm(vector) > 0.0) {
            let trust = (dot(vector, &direction) / norm(vector) / length).max(0.0);
            add(&mut expected, trust * length / norm(vector), vector);
            trusted += trust;
        }
        expected.iter_mut().for_each(|value| *value /= trusted);
        let (_, found) = round("fltrust", "{}", &updates);
        assert_close(&found, &expected, 2e-3, length, "fltrust");
    }

    #[test]
    fn the_order_of_updates_does_not_matter_to_geometry(plot in mostly_honest(), seed in any::<u64>()) {
        let updates = plot.updates();
        let other = permuted(&updates, seed);
        for name in ["rfa", "fltrust"] {
            let (_, found) = round(name, "{}", &other);
            let expected = wide(&round(name, "{}", &updates).1);
            assert_close(&found, &expected, 1e-3, norm(&expected) + 1e-9, name);
        }
    }
}

/// Which choice Bulyan's note speaks of.
fn turn(note: &str) -> usize {
    note.strip_prefix("choice ").and_then(|rest| rest.split(',').next()).unwrap().parse().unwrap()
}

#[test]
fn a_minority_of_outliers_does_not_reach_the_model() {
    let kinds = [vec![Kind::Outlier; 2], vec![Kind::Honest; 9]].concat();
    let updates = Plot { seed: 9, length: 70, kinds }.updates();
    let malicious = r#"{"num_malicious_clients": 2}"#;
    let cases = [
        ("krum", malicious),
        ("multi-krum", malicious),
        ("bulyan", malicious),
        ("rfa", r#"{"weighted": false}"#),
        ("fltrust", "{}"),
    ];
    for (name, parameters) in cases {
        let (plan, aggregate) = round(name, parameters, &updates);
        let largest = aggregate.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        assert!(largest < 3.0, "{name} lets {largest} through: {}", plan.reason);
    }
}

#[test]
fn one_update_is_its_own_geometric_median() {
    let updates = Plot { seed: 2, length: 9, kinds: vec![Kind::Honest] }.updates();
    for name in ["rfa", "fltrust"] {
        let (_, aggregate) = round(name, "{}", &updates);
        assert_close(&aggregate, &wide(&updates[0].values), 1e-6, 2.0, name);
    }
}

#[test]
fn updates_of_zeros_leave_the_model_alone() {
    let updates = Plot { seed: 2, length: 9, kinds: vec![Kind::Zero; 7] }.updates();
    for name in ["krum", "multi-krum", "bulyan", "rfa", "fltrust", "fedmedian", "trimmed-mean", "norm-clipping"] {
        assert_eq!(round(name, "{}", &updates).1, [0.0; 9], "{name}");
    }
}

#[test]
fn opposite_updates_have_no_direction_in_common() {
    let mut updates = Plot { seed: 2, length: 9, kinds: vec![Kind::Honest; 2] }.updates();
    updates[1].values = updates[0].values.iter().map(|value| -value).collect();
    let refused = Federation::new("fltrust", "{}", vec![0.0; 9]).round(&updates);
    assert!(matches!(refused, Err(PolicyError::Refused { .. })), "{refused:?}");
}

#[test]
fn rules_say_how_few_updates_they_work_with() {
    let f = |malicious: u32| format!(r#"{{"num_malicious_clients": {malicious}}}"#);
    assert_eq!(describe("krum", &f(2)).unwrap().updates_min, 7);
    assert_eq!(describe("multi-krum", r#"{"num_clients_to_keep": 9}"#).unwrap().updates_min, 9);
    assert_eq!(describe("bulyan", &f(2)).unwrap().updates_min, 11);
    assert_eq!(describe("rfa", "{}").unwrap().updates_min, 1);
}
