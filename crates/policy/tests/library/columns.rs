//! Policies that look at every update's value of a parameter: median, trimmed mean, Bulyan's second half (its first is in `robust`).

use proptest::prelude::*;

use crate::federation::{Federation, Sent};
use crate::inputs::{any_updates, permuted};

fn aggregate(name: &str, parameters: &str, updates: &[Sent]) -> Vec<f32> {
    let mut run = Federation::new(name, parameters, vec![0.0; updates[0].values.len()]);
    run.round(updates).unwrap().1
}

/// A parameter's values, smallest first.
pub(crate) fn sorted(updates: &[&Sent], parameter: usize) -> Vec<f64> {
    let mut values: Vec<f64> = updates.iter().map(|update| f64::from(update.values[parameter])).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Whether a mean of `kept` is right: off by no more than rounding its largest value and adding them up may make it.
pub(crate) fn assert_mean(found: f32, kept: &[f64], what: &str) {
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let largest = kept.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let allowed = largest * 1.2e-7 * (kept.len() as f64 + 2.0);
    assert!((f64::from(found) - mean).abs() <= allowed, "{what}: {found} where {mean} is right, of {kept:?}");
}

fn check_median(updates: &[Sent]) {
    let all: Vec<&Sent> = updates.iter().collect();
    for (parameter, &found) in aggregate("fedmedian", "{}", updates).iter().enumerate() {
        let values = sorted(&all, parameter);
        let middle = &values[(values.len() - 1) / 2..=values.len() / 2];
        assert_mean(found, middle, &format!("median of {} at {parameter}", values.len()));
    }
}

fn check_trimmed(updates: &[Sent], beta: f64) {
    let all: Vec<&Sent> = updates.iter().collect();
    let cut = (beta * updates.len() as f64).floor() as usize;
    for (parameter, &found) in aggregate("trimmed-mean", &format!(r#"{{"beta": {beta}}}"#), updates).iter().enumerate()
    {
        let values = sorted(&all, parameter);
        assert_mean(found, &values[cut..values.len() - cut], &format!("{cut} cut of {} at {parameter}", values.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_median_is_the_middle(plot in any_updates(1..25)) {
        check_median(&plot.updates());
    }

    #[test]
    fn the_trimmed_mean_leaves_out_both_ends(plot in any_updates(1..25), beta in 0.0..0.5f64) {
        check_trimmed(&plot.updates(), beta);
    }

    #[test]
    fn the_order_of_updates_changes_no_bit(plot in any_updates(1..25), seed in any::<u64>()) {
        let updates = plot.updates();
        let other = permuted(&updates, seed);
        for name in ["fedmedian", "trimmed-mean"] {
            let bits = |updates: &[Sent]| aggregate(name, "{}", updates).iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&updates), bits(&other), "{name}");
        }
    }
}

#[test]
fn many_updates_are_sorted_too() {
    for count in [100, 512, 515] {
        let plot =
            crate::inputs::Plot { seed: count as u64, length: 40, kinds: vec![crate::inputs::Kind::Honest; count] };
        check_median(&plot.updates());
        check_trimmed(&plot.updates(), 0.1);
    }
}

#[test]
fn outliers_beyond_the_trim_do_not_reach_the_model() {
    use crate::inputs::Kind::{Honest, Outlier};
    let kinds = [vec![Honest; 8], vec![Outlier; 2]].concat();
    let updates = crate::inputs::Plot { seed: 4, length: 64, kinds }.updates();
    for name in ["fedmedian", "trimmed-mean"] {
        for value in aggregate(name, "{}", &updates) {
            assert!(value.abs() < 2.0, "{name} lets {value} through");
        }
    }
}
