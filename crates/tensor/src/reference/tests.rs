use proptest::prelude::*;

use super::*;

fn close(found: f32, expected: f64) -> bool {
    (f64::from(found) - expected).abs() <= 1e-5 * expected.abs().max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn networks_agree_with_sorting(
        (rows, cut) in (1..25_usize, 0..70_usize).prop_flat_map(|(rows, length)| {
            (prop::collection::vec(prop::collection::vec(-1_f32..1.0, length), rows), 0..rows.div_ceil(2))
        }),
    ) {
        let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let length = rows[0].len();
        for network in [Network::median(rows.len()), Network::trimmed_mean(rows.len(), cut)] {
            let (mut baseline, mut widest) = (vec![0.0; length], vec![0.0; length]);
            network.average(&slices, &mut baseline, Width::Baseline);
            network.average(&slices, &mut widest, Width::Widest);
            prop_assert_eq!(&baseline, &widest);
            for (at, found) in baseline.into_iter().enumerate() {
                let mut column: Vec<f32> = rows.iter().map(|row| row[at]).collect();
                column.sort_unstable_by(f32::total_cmp);
                let kept = &column[network.ranks.clone()];
                let expected = kept.iter().copied().map(f64::from).sum::<f64>() / kept.len() as f64;
                prop_assert!(close(found, expected), "{found} should be {expected}");
            }
        }
    }
}

#[test]
fn adam_follows_its_definition() {
    let adam = Adam { eta: 0.1, beta_1: 0.9, beta_2: 0.99, tau: 1e-3 };
    let aggregate: Vec<f32> = (0..100_u8).map(|at| f32::from(at) / 50.0 - 1.0).collect();
    for width in [Width::Baseline, Width::Widest] {
        let (mut model, mut m, mut v) = (vec![1.0; 100], vec![0.5; 100], vec![0.25; 100]);
        adam.step(&mut model, &aggregate, &mut m, &mut v, width);
        for (at, delta) in aggregate.iter().enumerate() {
            let delta = f64::from(*delta);
            let (first, second) = (0.9 * 0.5 + 0.1 * delta, 0.99 * 0.25 + 0.01 * delta * delta);
            assert!(close(m[at], first) && close(v[at], second));
            assert!(close(model[at], 1.0 + 0.1 * first / (second.sqrt() + 1e-3)));
        }
    }
}

#[test]
fn krum_takes_the_one_in_the_middle() {
    let points = [[0.0, 0.0], [9.0, 9.0], [1.0, 0.0], [0.5, 0.1], [-9.0, 4.0]];
    let dot = |left: &[f64; 2], right: &[f64; 2]| left[0] * right[0] + left[1] * right[1];
    let products: Vec<f64> = points.iter().flat_map(|left| points.iter().map(move |right| dot(left, right))).collect();
    assert_eq!(krum(&products, 5, 1), 3);
}
