use proptest::prelude::*;

use super::*;

/// The definition, in the order of the updates.
fn by_definition(base: &[f32], updates: &[Vec<f32>], weights: &[f32]) -> Vec<f32> {
    let sum = |at: usize| updates.iter().zip(weights).fold(0.0, |sum: f32, (row, weight)| sum + weight * row[at]);
    base.iter().enumerate().map(|(at, base)| sum(at) + base).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn neither_threads_nor_cuts_change_a_bit(
        tensors in prop::collection::vec(1..900_usize, 1..6),
        updates in 1..20_usize,
        seed: u32,
        cuts in prop::collection::vec((1..5_usize, 0..4_u32, 0..4_u32), 1..4),
    ) {
        let parameters = tensors.iter().sum();
        let base: Vec<f32> = (0..parameters).map(|at| some_value(seed, 100, at)).collect();
        let rows = some_rows(seed, updates, parameters);
        // Some are left out.
        let weights: Vec<f32> = (0..updates).map(|row| if row % 5 == 3 { 0.0 } else { 1.0 / (row + 2) as f32 }).collect();
        let world = World::of(&tensors, &base);
        let asked = Asked::sums(&world, &rows, &weights);
        let whole = asked.aggregate(&world).unwrap();
        prop_assert_eq!(bits(&world.model(&whole)), bits(&by_definition(&base, &rows, &weights)));
        for (threads, stretch, tile) in cuts {
            let sum_stretch_bytes = 1024 << stretch;
            let sizes = Sizes { sum_stretch_bytes, tile_bytes: sum_stretch_bytes >> tile.min(stretch), ..FINEST };
            let again = pool(threads).install(|| asked.aggregate_by(&world, &sizes));
            prop_assert_eq!(again.unwrap(), whole.clone());
        }
    }
}

#[test]
fn a_model_of_many_stretches_is_walked_to_its_end() {
    // More than two stretches of full-sized tiles, and not a multiple of anything.
    let parameters = 2 * SUM_STRETCH_BYTES as usize / 4 + 1234;
    let base: Vec<f32> = (0..parameters).map(|at| at as f32 / 1024.0).collect();
    let rows: Vec<Vec<f32>> = (1..=3_u8).map(|row| base.iter().map(|value| value * f32::from(row)).collect()).collect();
    let weights = [0.5, 0.25, 0.125];
    let world = World::new(&base);
    let aggregated = pool(2).install(|| Asked::sums(&world, &rows, &weights).aggregate(&world)).unwrap();
    assert!(bits(&world.model(&aggregated)) == bits(&by_definition(&base, &rows, &weights)));
}

#[test]
fn ten_thousand_tensors_are_no_trouble() {
    let tensors: Vec<usize> = (0..10_000).map(|at| 1 + at % 3).collect();
    let parameters = tensors.iter().sum();
    let base: Vec<f32> = (0..parameters).map(|at| some_value(1, 0, at)).collect();
    let rows = some_rows(2, 3, parameters);
    let world = World::of(&tensors, &base);
    assert!(world.layout.header().len() as u64 > 2 * TILE_BYTES, "the header alone takes tiles");
    let asked = Asked::sums(&world, &rows, &[0.5, 0.25, 0.25]);
    let expected = bits(&by_definition(&base, &rows, &[0.5, 0.25, 0.25]));
    assert!(bits(&world.model(&asked.aggregate(&world).unwrap())) == expected);
    let stepped = asked.by(&guest("honest-aggregation"), stepping(1)).aggregate(&world).unwrap();
    assert!(bits(&world.model(&stepped)) == expected);
    assert_eq!(world.state(&stepped), [vec![0.0; parameters]]);
}

#[test]
fn thousands_of_updates_are_summed_and_combined() {
    let world = World::new(&[0.0; 300]);
    let one = world.spooled(0, &[1.0; 300]);
    let count = 3000;
    let asked = Asked { updates: vec![one; count], plan: plan(&vec![1.0; count]), ..Asked::sums(&world, &[], &[]) };
    assert_eq!(world.model(&asked.aggregate(&world).unwrap()), [count as f32; 300]);
    let combined = asked.by(&guest("honest-aggregation"), columns()).aggregate(&world).unwrap();
    assert_eq!(world.model(&combined), [1.0; 300], "the mean of ones");
    assert_eq!([1, 32, 33, 3000, 1 << 40].map(bounded_tile), [1 << 18, 1 << 18, 1 << 17, 2048, 1024]);
}

#[test]
fn an_update_without_weight_is_not_read() {
    let world = World::new(&[1.0, 2.0]);
    let mut asked = Asked::sums(&world, &[vec![10.0, 20.0], vec![1.0, 1.0]], &[0.5, 0.0]);
    asked.updates[1].path = world.dir.path().join("nowhere");
    assert_eq!(world.model(&asked.aggregate(&world).unwrap()), [6.0, 12.0]);
    asked.plan.weights[1] = 0.5;
    let error = asked.aggregate(&world).unwrap_err();
    assert_eq!(error.to_string(), format!("could not read `{}`", asked.updates[1].path.display()));
    assert!(!error.is_policys_fault());
}

#[test]
fn an_overflow_names_the_tensor_and_leaves_nothing() {
    let world = World::of(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0]);
    let asked = Asked::sums(&world, &[vec![0.0, 0.0, 0.0, 0.0, f32::MAX]], &[2.0]);
    let error = asked.aggregate(&world).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sum is too large for a float32: tensor `w1` has a value that is not finite, at index 2; lower the \
         learning rate or the weights"
    );
    assert!(error.is_policys_fault());
    world.assert_holds(1);
}

#[test]
fn weights_are_checked() {
    let world = World::new(&[1.0]);
    let updates = [vec![1.0], vec![2.0]];
    let fail = |plan: AggregationPlan| {
        let error = Asked { plan, ..Asked::sums(&world, &updates, &[]) }.aggregate(&world).unwrap_err();
        assert!(error.is_policys_fault());
        error.to_string()
    };
    assert_eq!(fail(plan(&[1.0])), "there are 2 updates, but 1 weights");
    assert_eq!(fail(plan(&[0.0, 0.0])), "no update has a weight above zero");
    for bad in [f32::NAN, f32::INFINITY, -0.5] {
        let expected =
            format!("the weight of the update from digits-1/1/worker-1 is {bad}; weights are finite and not negative");
        assert_eq!(fail(plan(&[1.0, bad])), expected);
    }
    let extra = |weights: &[f32]| AggregationPlan { extra_weights: vec![weights.to_vec()], ..plan(&[1.0, 1.0]) };
    assert_eq!(fail(extra(&[1.0])), "there are 2 updates, but 1 weights");
    let expected = "an extra weight of the update from digits-1/1/worker-0 is inf; extra weights are finite";
    assert_eq!(fail(extra(&[f32::INFINITY, -1.0])), expected);
}
