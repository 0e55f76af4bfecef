use proptest::prelude::*;

use super::*;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The definition, one parameter at a time.
fn by_definition(rows: &[Vec<f32>], weights: &[f32], base: &[f32]) -> Vec<f32> {
    let sum = |at: usize| rows.iter().zip(weights).fold(0.0, |sum: f32, (row, weight)| sum + weight * row[at]);
    base.iter().enumerate().map(|(at, base)| sum(at) + base).collect()
}

#[derive(Debug)]
struct Case {
    rows: Vec<Vec<f32>>,
    weights: Vec<f32>,
    base: Vec<f32>,
}

fn case() -> impl Strategy<Value = Case> {
    (0..12_usize, 0..150_usize).prop_flat_map(|(updates, parameters)| {
        let vector = |length| prop::collection::vec(-1e3_f32..1e3, length);
        let rows = prop::collection::vec(vector(parameters), updates);
        (rows, vector(updates), vector(parameters)).prop_map(|(rows, weights, base)| Case { rows, weights, base })
    })
}

fn slices(rows: &[Vec<f32>]) -> Vec<&[f32]> {
    rows.iter().map(Vec::as_slice).collect()
}

proptest! {
    #[test]
    fn agrees_with_the_definition_bit_for_bit(case in case()) {
        let mut out = vec![f32::NAN; case.base.len()];
        weighted_sum_into(&slices(&case.rows), &case.weights, &case.base, &mut out);
        prop_assert_eq!(bits(&out), bits(&by_definition(&case.rows, &case.weights, &case.base)));
    }

    /// What this machine chose and the portable kernel, called as such, give the same bits.
    #[test]
    fn every_kernel_gives_the_same_bits(case in case()) {
        let rows = slices(&case.rows);
        let (mut chosen, mut portable) = (case.base.clone(), case.base.clone());
        accumulate(&rows, &case.weights, &mut chosen);
        accumulate_portable(&rows, &case.weights, &mut portable);
        prop_assert_eq!(bits(&chosen), bits(&portable));
    }

    #[test]
    fn neither_chunks_nor_groups_change_a_bit(case in case(), chunk in 1..80_usize, group in 1..5_usize) {
        let mut out = vec![0.0; case.base.len()];
        for (at, sum) in out.chunks_mut(chunk).enumerate() {
            let span = at * chunk..at * chunk + sum.len();
            let rows: Vec<&[f32]> = case.rows.iter().map(|row| &row[span.clone()]).collect();
            for (rows, weights) in rows.chunks(group).zip(case.weights.chunks(group)) {
                accumulate(rows, weights, sum);
            }
            add_into(&case.base[span], sum);
        }
        prop_assert_eq!(bits(&out), bits(&by_definition(&case.rows, &case.weights, &case.base)));
    }
}

#[test]
#[should_panic(expected = "rows and sum differ in length")]
fn short_rows_are_refused() {
    accumulate(&[&[1.0]], &[1.0], &mut [0.0; 2]);
}
