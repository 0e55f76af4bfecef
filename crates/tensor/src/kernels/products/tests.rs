use proptest::prelude::*;

use super::*;

fn rows() -> impl Strategy<Value = Vec<Vec<f32>>> {
    (0..10_usize, 0..2600_usize)
        .prop_flat_map(|(updates, length)| prop::collection::vec(prop::collection::vec(-1e3_f32..1e3, length), updates))
}

fn slices(rows: &[Vec<f32>]) -> Vec<&[f32]> {
    rows.iter().map(Vec::as_slice).collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The pattern that the module promises, one value at a time.
fn by_definition(left: &[f32], right: &[f32]) -> f64 {
    let panel = |(left, right): (&[f32], &[f32])| {
        let mut lanes = [0.0; 8];
        for (at, (left, right)) in left.iter().zip(right).enumerate() {
            lanes[at % 8] += f64::from(*left) * f64::from(*right);
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    };
    left.chunks(PANEL).zip(right.chunks(PANEL)).map(panel).fold(0.0, |sum, panel| sum + panel)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_the_definition_bit_for_bit(rows in rows()) {
        let count = rows.len();
        let mut products = vec![0.0; count * count];
        add_products(&slices(&rows), &mut products);
        for (i, left) in rows.iter().enumerate() {
            for (j, right) in rows.iter().enumerate() {
                let expected = if i <= j { by_definition(left, right) } else { 0.0 };
                prop_assert_eq!(products[i * count + j].to_bits(), expected.to_bits());
            }
        }
        let mut squares = vec![0.0; count];
        add_norms(&slices(&rows), &mut squares);
        let diagonal: Vec<f64> = (0..count).map(|i| products[i * count + i]).collect();
        prop_assert_eq!(bits(&squares), bits(&diagonal));
    }

    /// What this machine chose and the portable kernel, called as such, give the same bits.
    #[test]
    fn every_kernel_gives_the_same_bits(rows in rows()) {
        let (mut chosen, mut portable) = (vec![0.5; rows.len().pow(2)], vec![0.5; rows.len().pow(2)]);
        add_products(&slices(&rows), &mut chosen);
        add_products_by::<Portable>(&slices(&rows), &mut portable);
        prop_assert_eq!(bits(&chosen), bits(&portable));
    }

    #[test]
    fn pieces_of_whole_panels_change_no_bit(rows in rows(), panels in 1..3_usize) {
        let (mut whole, mut pieces) = (vec![0.0; rows.len().pow(2)], vec![0.0; rows.len().pow(2)]);
        add_products(&slices(&rows), &mut whole);
        let length = rows.first().map_or(0, Vec::len);
        for start in (0..length).step_by(panels * PANEL) {
            let end = (start + panels * PANEL).min(length);
            let rows: Vec<&[f32]> = rows.iter().map(|row| &row[start..end]).collect();
            add_products(&rows, &mut pieces);
        }
        prop_assert_eq!(bits(&whole), bits(&pieces));
    }
}

#[test]
fn extremes_of_float32_neither_overflow_nor_vanish() {
    let rows = [[f32::MAX; 9], [f32::from_bits(1); 9]];
    let mut products = [0.0; 4];
    add_products(&[&rows[0], &rows[1]], &mut products);
    let (max, min) = (f64::from(f32::MAX), f64::from(f32::from_bits(1)));
    assert_eq!(products, [9.0 * (max * max), 9.0 * (max * min), 0.0, 9.0 * (min * min)]);
}

#[test]
#[should_panic(expected = "rows differ in length")]
fn rows_of_different_lengths_are_refused() {
    add_products(&[&[1.0], &[]], &mut [0.0; 4]);
}
