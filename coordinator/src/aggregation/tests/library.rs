//! Policies of ours through the whole pipeline, two rounds each, against their definitions in plain float64.

use polder_core::policy::{AggregationQuestion, UpdateSummary};
use polder_core::round::Kept;
use polder_policy::builtin_named;

use super::*;

const TENSORS: [usize; 4] = [7, 2500, 1, 492];
const LENGTH: usize = 3000;
const UPDATES: usize = 7;
/// Local steps and learning rate that every update reports.
const STEPS: u64 = 5;
const LEARNING_RATE: f64 = 0.1;
const POPULATION: u32 = 14;

/// A run under one policy.
struct Run {
    world: World,
    policy: Policy,
    parameters: String,
    base: Digest,
    model: Vec<f64>,
    kept: Kept,
    round: u32,
}

impl Run {
    fn under(name: &str, parameters: &str) -> Self {
        let base: Vec<f32> = (0..LENGTH).map(|at| some_value(1, 100, at)).collect();
        let world = World::of(&TENSORS, &base);
        Self {
            policy: HOST.load(builtin_named(name, None).unwrap().bytes).unwrap(),
            parameters: parameters.into(),
            base: world.base.digest(),
            model: base.into_iter().map(f64::from).collect(),
            kept: Kept::default(),
            round: 0,
            world,
        }
    }

    /// Does a round with these updates and holds its outcome against `expected`, which makes the next model and the state
    /// tensors out of the model; the updates have 1, 2, … examples.
    fn round(&mut self, rows: &[Vec<f32>], expected: impl FnOnce(&[f64]) -> (Vec<f64>, Vec<Vec<f64>>)) {
        self.round += 1;
        let (world, traits) = (&self.world, HOST.describe(&self.policy, &self.parameters).unwrap());
        let updates = world.all_spooled(rows);
        let summary = |at: usize| UpdateSummary {
            examples: at as u64 + 1,
            steps: Some(STEPS),
            learning_rate: Some(LEARNING_RATE),
            ..UpdateSummary::default()
        };
        let question = AggregationQuestion {
            round: self.round,
            parameters: world.layout.parameter_count(),
            population: POPULATION,
            updates: (0..rows.len()).map(summary).collect(),
            statistics: super::super::statistics(&world.layout, &updates, traits.statistics).unwrap(),
            state: self.kept.state.clone(),
            ..AggregationQuestion::default()
        };
        let plan = HOST.weigh(&self.policy, &self.parameters, &question).unwrap();
        let state = plan.state.clone();
        let asked = Asked {
            base: self.base,
            updates,
            traits,
            plan,
            kept: self.kept.tensors.clone(),
            policy: self.policy.clone(),
            parameters: self.parameters.clone(),
            round: self.round,
        };
        let aggregated = asked.aggregate(world).unwrap();
        let sizes = Sizes { stretch_bytes: 4096, sum_stretch_bytes: 2048, tile_bytes: 2048, chunk_bytes: 1024 };
        assert_eq!(pool(3).install(|| asked.aggregate_by(world, &sizes)).unwrap(), aggregated);

        let (model, tensors) = expected(&self.model);
        assert_close(&world.model(&aggregated), &model);
        assert_eq!(aggregated.state.len(), tensors.len());
        world.state(&aggregated).iter().zip(&tensors).for_each(|(found, expected)| assert_close(found, expected));
        // The next round starts from what was stored, not from what should have been.
        self.model = world.model(&aggregated).into_iter().map(f64::from).collect();
        self.base = aggregated.digest;
        self.kept = Kept { tensors: aggregated.state, state };
    }
}

fn rows(round: u32) -> Vec<Vec<f32>> {
    some_rows(round * 97, UPDATES, LENGTH)
}

fn column(rows: &[Vec<f32>], at: usize) -> Vec<f64> {
    let mut column: Vec<f64> = rows.iter().map(|row| f64::from(row[at])).collect();
    column.sort_by(f64::total_cmp);
    column
}

/// The mean, each update weighted by its examples.
fn mean(rows: &[Vec<f32>]) -> Vec<f64> {
    let all = (rows.len() * (rows.len() + 1) / 2) as f64;
    let at =
        |at: usize| rows.iter().zip(1..).map(|(row, examples)| f64::from(row[at]) * f64::from(examples) / all).sum();
    (0..rows[0].len()).map(at).collect()
}

fn plain_mean(rows: &[Vec<f32>]) -> Vec<f64> {
    (0..LENGTH).map(|at| column(rows, at).iter().sum::<f64>() / rows.len() as f64).collect()
}

fn plus(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(left, right)| left + right).collect()
}

#[test]
fn fedavg_is_the_weighted_mean() {
    let mut run = Run::under("fedavg", "{}");
    for round in 1..=2 {
        let rows = rows(round);
        run.round(&rows, |model| (plus(model, &mean(&rows)), Vec::new()));
    }
}

#[test]
fn columns_are_sorted_parameter_by_parameter() {
    let mut median = Run::under("fedmedian", "{}");
    let mut trimmed = Run::under("trimmed-mean", r#"{"beta": 0.3}"#);
    for round in 1..=2 {
        let rows = rows(round);
        let of = |reduce: fn(&[f64]) -> f64| (0..LENGTH).map(|at| reduce(&column(&rows, at))).collect::<Vec<_>>();
        median.round(&rows, |model| (plus(model, &of(|sorted| sorted[UPDATES / 2])), Vec::new()));
        trimmed.round(&rows, |model| (plus(model, &of(|sorted| sorted[2..5].iter().sum::<f64>() / 3.0)), Vec::new()));
    }
}

#[test]
fn krum_takes_the_update_among_its_neighbours() {
    let mut run = Run::under("krum", r#"{"num_malicious_clients": 2}"#);
    let mut rows = rows(1);
    // Four are near the third one, each in another direction, and so farther from each other; two are anywhere.
    for near in [0, 1, 3, 4] {
        rows[near] = rows[2].iter().zip(&rows[near]).map(|(middle, value)| middle + 0.1 * value).collect();
    }
    let expected: Vec<f64> = rows[2].iter().copied().map(f64::from).collect();
    run.round(&rows, |model| (plus(model, &expected), Vec::new()));
}

#[test]
fn clipping_scales_what_is_longer() {
    let mut run = Run::under("norm-clipping", r#"{"threshold": 1.0, "weighted": false}"#);
    let rows: Vec<Vec<f32>> = rows(1).iter().zip([1e-3_f32, 1.0, 1e-3, 2.0, 1e-3, 1.0, 3.0]).map(scaled).collect();
    let factor =
        |row: &Vec<f32>| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt().max(1.0).recip();
    let factors: Vec<f64> = rows.iter().map(factor).collect();
    assert!(factors.iter().filter(|factor| **factor < 1.0).count() == 4);
    let at = |at: usize| rows.iter().zip(&factors).map(|(row, factor)| f64::from(row[at]) * factor).sum::<f64>();
    let clipped: Vec<f64> = (0..LENGTH).map(|index| at(index) / UPDATES as f64).collect();
    run.round(&rows, |model| (plus(model, &clipped), Vec::new()));
}

fn scaled((row, factor): (&Vec<f32>, f32)) -> Vec<f32> {
    row.iter().map(|value| value * factor).collect()
}

#[test]
fn fedadam_keeps_both_moments() {
    let mut run = Run::under("fedadam", r#"{"eta": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 0.001}"#);
    let (mut m, mut v) = (vec![0.0; LENGTH], vec![0.0; LENGTH]);
    for round in 1..=3 {
        let rows = rows(round);
        let delta = mean(&rows);
        for at in 0..LENGTH {
            m[at] = 0.9 * m[at] + 0.1 * delta[at];
            v[at] = 0.99 * v[at] + 0.01 * delta[at] * delta[at];
        }
        let step: Vec<f64> = m.iter().zip(&v).map(|(m, v)| 0.1 * m / (v.sqrt() + 0.001)).collect();
        run.round(&rows, |model| (plus(model, &step), vec![m.clone(), v.clone()]));
    }
}

#[test]
fn scaffold_renews_its_control_variate_by_a_sum_of_its_own() {
    let mut run = Run::under("scaffold", "{}");
    let mut c = vec![0.0; LENGTH];
    for round in 1..=2 {
        let rows = rows(round);
        let taking_part = UPDATES as f64 / f64::from(POPULATION);
        let delta = plain_mean(&rows);
        for at in 0..LENGTH {
            c[at] += taking_part * (-c[at] - delta[at] / (STEPS as f64 * LEARNING_RATE));
        }
        run.round(&rows, |model| (plus(model, &delta), vec![c.clone()]));
    }
}
