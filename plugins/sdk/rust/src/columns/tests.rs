use super::*;

/// A sequence that looks random, from 0 to 1.
fn noise(seed: &mut u64) -> f32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 40) as f32 / (1u64 << 24) as f32
}

fn rows(count: usize, length: usize) -> Vec<Vec<f32>> {
    let mut seed = (count * 1000 + length) as u64;
    (0..count).map(|_| (0..length).map(|_| noise(&mut seed) - 0.5).collect()).collect()
}

fn sorted_column(rows: &[Vec<f32>], column: usize) -> Vec<f32> {
    let mut values: Vec<f32> = rows.iter().map(|row| row[column]).collect();
    values.sort_by(f32::total_cmp);
    values
}

#[test]
fn networks_sort_every_sequence_of_zeros_and_ones() {
    // which is enough for all sequences (Knuth 5.3.4, the zero-one principle)
    for rows in 1..=14_usize {
        let network = network(rows, &(0..rows)).unwrap();
        for bits in 0..1_u32 << rows {
            let mut values: Vec<u32> = (0..rows).map(|row| bits >> row & 1).collect();
            for &(low, high) in &network {
                if values[usize::from(high)] < values[usize::from(low)] {
                    values.swap(usize::from(low), usize::from(high));
                }
            }
            assert!(values.is_sorted(), "{rows} rows, {bits:b}");
        }
    }
}

#[test]
fn every_rank_comes_out_of_its_own_network() {
    for count in [1, 2, 3, 7, 20, 33] {
        let rows = rows(count, 45);
        for rank in 0..count {
            let found = mean_of_ranks(&rows, rank..rank + 1).unwrap();
            for (column, value) in found.iter().enumerate() {
                assert_eq!(*value, sorted_column(&rows, column)[rank], "{count} rows, rank {rank}, column {column}");
            }
        }
    }
}

#[test]
fn more_rows_than_networks_are_made_for_are_sorted_all_the_same() {
    let rows = rows(NETWORK_ROWS_MAX + 1, 3);
    let found = median(&rows).unwrap();
    for (column, value) in found.iter().enumerate() {
        assert_eq!(*value, sorted_column(&rows, column)[NETWORK_ROWS_MAX / 2]);
    }
}

#[test]
fn networks_leave_out_what_a_median_does_not_need() {
    let whole = network(20, &(0..20)).unwrap().len();
    let middle = network(20, &(9..11)).unwrap().len();
    assert!(middle < whole, "{middle} of {whole}");
}

#[test]
fn the_nearest_to_the_median_are_kept_and_ties_go_to_the_smaller() {
    let columns = [[0.0, 1.0, 2.0, 9.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0]];
    let rows: Vec<Vec<f32>> = (0..5).map(|row| columns.iter().map(|column| column[row]).collect()).collect();
    assert_eq!(mean_around_median(&rows, 3).unwrap(), [1.0, 3.0]);
    assert_eq!(mean_around_median(&rows, 2).unwrap(), [1.5, 2.5]);
    assert_eq!(mean_around_median(&rows, 1).unwrap(), [2.0, 3.0]);
}

#[test]
fn zeros_of_both_signs_are_the_same_whatever_the_order() {
    for rows in [[-0.0, 0.0, -0.0], [0.0, -0.0, -0.0], [-0.0; 3]] {
        let rows: Vec<Vec<f32>> = rows.iter().map(|&value| vec![value]).collect();
        assert_eq!(median(&rows).unwrap()[0].to_bits(), 0);
    }
}

#[test]
fn rows_that_cannot_be_combined_are_refused() {
    assert!(matches!(median(&[]), Err(Error::Question(_))));
    assert!(matches!(median(&[vec![1.0], vec![]]), Err(Error::Question(_))));
    assert!(matches!(trimmed_mean(&[vec![1.0], vec![1.0]], 1), Err(Error::Question(_))));
    assert!(matches!(mean_around_median(&[vec![1.0]], 2), Err(Error::Question(_))));
    assert_eq!(median(&[vec![], vec![]]), Ok(vec![]));
}
