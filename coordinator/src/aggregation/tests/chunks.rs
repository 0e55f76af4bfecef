//! What policies are asked about chunks, by the honest guest of the hostile suite: `combine` is the mean, `step` adds.

use super::*;

fn mean(rows: &[Vec<f32>], of: &[usize]) -> Vec<f64> {
    let sum = |at: usize| of.iter().map(|row| f64::from(rows[*row][at])).sum::<f64>();
    (0..rows[0].len()).map(|at| sum(at) / of.len() as f64).collect()
}

fn added(base: &[f32], aggregate: &[f64]) -> Vec<f64> {
    base.iter().zip(aggregate).map(|(base, aggregate)| f64::from(*base) + aggregate).collect()
}

/// Tensors that are shorter than a tile, longer, and of one value; nothing is aligned with anything.
const TENSORS: [usize; 7] = [3, 5000, 1, 1, 700, 40_000, 9];

fn world(seed: u32) -> (World, Vec<f32>) {
    let base: Vec<f32> = (0..TENSORS.iter().sum()).map(|at| some_value(seed, 100, at)).collect();
    (World::of(&TENSORS, &base), base)
}

#[test]
fn combine_sees_the_updates_that_have_a_weight() {
    let (world, base) = world(1);
    let rows = some_rows(2, 5, base.len());
    let asked = Asked::sums(&world, &rows, &[1.0, 0.0, 0.3, 7.0, 1.0]).by(&guest("honest-aggregation"), columns());
    let aggregated = asked.aggregate(&world).unwrap();
    assert_close(&world.model(&aggregated), &added(&base, &mean(&rows, &[0, 2, 3, 4])));
    assert_eq!(aggregated.state, []);
}

#[test]
fn a_step_follows_sums_and_columns_alike() {
    let (world, base) = world(3);
    let rows = some_rows(4, 3, base.len());
    let honest = guest("honest-aggregation");
    let sums = Asked::sums(&world, &rows, &[0.5, 0.25, 0.25]);
    let plain = sums.aggregate(&world).unwrap();
    let stepped = sums.by(&honest, stepping(0)).aggregate(&world).unwrap();
    assert_eq!(plain, stepped, "adding in the sandbox or out of it");
    let traits = AggregationTraits { shape: AggregationShape::Columns, ..stepping(2) };
    let both = Asked::sums(&world, &rows, &[1.0, 0.0, 1.0]).by(&honest, traits).aggregate(&world).unwrap();
    assert_close(&world.model(&both), &added(&base, &mean(&rows, &[0, 2])));
    assert_eq!(world.state(&both), vec![vec![0.0; base.len()]; 2]);
}

#[test]
fn state_tensors_come_back_as_they_were_left() {
    let (world, base) = world(5);
    let rows = some_rows(6, 2, base.len());
    let kept = some_rows(7, 2, base.len()).into_iter().map(|values| {
        let state = Parameters::new(Arc::clone(&world.layout), values).unwrap();
        world.store(&state);
        state
    });
    let kept: Vec<Parameters> = kept.collect();
    let asked = Asked {
        kept: kept.iter().map(|state| StateTensor { digest: state.digest(), bytes: 0 }).collect(),
        ..Asked::sums(&world, &rows, &[1.0, 1.0]).by(&guest("honest-aggregation"), stepping(2))
    };
    let aggregated = asked.aggregate(&world).unwrap();
    let digests: Vec<Digest> = kept.iter().map(Parameters::digest).collect();
    assert_eq!(aggregated.state.iter().map(|state| state.digest).collect::<Vec<_>>(), digests);
    assert_eq!(aggregated.state[0].bytes, world.layout.file_bytes());
    assert_close(&world.model(&aggregated), &added(&base, &mean(&rows, &[0, 1]).map_by(2.0)));
}

trait Scaled {
    fn map_by(self, factor: f64) -> Self;
}

impl Scaled for Vec<f64> {
    fn map_by(self, factor: f64) -> Self {
        self.into_iter().map(|value| value * factor).collect()
    }
}

#[test]
fn neither_threads_nor_cuts_change_a_bit() {
    let (world, base) = world(8);
    let rows = some_rows(9, 6, base.len());
    let honest = guest("honest-aggregation");
    for traits in [columns(), stepping(1), AggregationTraits { has_step: true, state_tensors: 1, ..columns() }] {
        let asked = Asked::sums(&world, &rows, &[1.0, 0.5, 0.0, 0.25, 2.0, 1.0]).by(&honest, traits);
        let whole = asked.aggregate(&world).unwrap();
        for (threads, stretch_bytes, chunk_bytes) in [(1, 1024, 1024), (3, 8192, 2048), (2, 65536, 65536)] {
            let sizes = Sizes { stretch_bytes, tile_bytes: stretch_bytes, chunk_bytes, ..FINEST };
            assert_eq!(pool(threads).install(|| asked.aggregate_by(&world, &sizes)).unwrap(), whole);
        }
    }
}

#[test]
fn the_order_of_arrival_is_not_the_order_of_the_sum() {
    let (world, base) = world(10);
    let rows = some_rows(11, 4, base.len());
    let asked = Asked::sums(&world, &rows, &[0.1, 0.2, 0.3, 0.4]);
    let first = asked.aggregate(&world).unwrap();
    // The same files, written again in another order.
    for at in [2, 0, 3, 1] {
        assert_eq!(world.spooled(at, &rows[at]).path, asked.updates[at].path);
    }
    assert_eq!(asked.aggregate(&world).unwrap(), first);
}
