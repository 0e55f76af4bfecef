use polder_core::policy::StatisticsWanted;

use super::*;
use crate::aggregation::statistics::statistics_by;

const ALL: StatisticsWanted = StatisticsWanted { norms: true, products: true };

/// Close to what plain float64 gives, whatever the order.
#[track_caller]
fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} should be {expected}");
    }
}

#[test]
fn norms_and_products_are_those_of_float64() {
    let length = 70_000;
    let rows = some_rows(1, 6, length);
    let world = World::of(&[length - 9, 9], &vec![0.0; length]);
    let spooled = world.all_spooled(&rows);
    let dot = |left: &[f32], right: &[f32]| {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum::<f64>()
    };
    let norms: Vec<f64> = rows.iter().map(|row| dot(row, row).sqrt()).collect();
    let products: Vec<f64> = rows.iter().flat_map(|left| rows.iter().map(move |right| dot(left, right))).collect();

    let all = super::super::statistics(&world.layout, &spooled, ALL).unwrap();
    assert_near(&all.norms, &norms);
    assert_near(&all.products, &products);
    let only = |norms, products| {
        super::super::statistics(&world.layout, &spooled, StatisticsWanted { norms, products }).unwrap()
    };
    assert_eq!(only(true, false).norms, all.norms, "the same bits either way");
    assert!(only(true, false).products.is_empty());
    assert_eq!(only(false, true).products, all.products);
    assert!(only(false, true).norms.is_empty());
    assert_eq!(only(false, false), polder_core::policy::Statistics::default());
}

#[test]
fn neither_threads_nor_tiles_change_a_bit() {
    let length = 200_003;
    let rows = some_rows(2, 5, length);
    let world = World::new(&vec![0.0; length]);
    let spooled = world.all_spooled(&rows);
    let whole = super::super::statistics(&world.layout, &spooled, ALL).unwrap();
    for (threads, tile) in [(1, 1024), (3, 5000), (2, 1 << 20)] {
        let again = pool(threads).install(|| statistics_by(&world.layout, &spooled, ALL, tile)).unwrap();
        assert_eq!(again, whole, "{threads} threads, tiles of {tile}");
    }
}

#[test]
fn a_lost_update_is_an_error() {
    let world = World::new(&[1.0]);
    let mut spooled = world.all_spooled(&[vec![1.0]]);
    spooled[0].path = world.dir.path().join("nowhere");
    let error = super::super::statistics(&world.layout, &spooled, ALL).unwrap_err();
    assert!(matches!(error, AggregationError::Read { .. }) && !error.is_policys_fault());
}
