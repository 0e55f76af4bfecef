//! Policies that work on local training: SCAFFOLD and FedDyn, with all that the papers' workers keep, over several rounds.

use polder_core::policy::Correction;
use proptest::prelude::*;

use crate::close::assert_close;
use crate::federation::{Federation, describe};
use crate::inputs::{Kind, Noise, Plot};
use crate::vector::{Vector, add, wide, zero};

const WORKERS: usize = 5;

/// Who takes part in a round, and what they send.
fn cohort(round: u64, seed: u64, length: usize) -> (Vec<usize>, Vec<crate::federation::Sent>) {
    let mut noise = Noise(seed ^ round.wrapping_mul(0x9e37_79b9));
    let mut members: Vec<usize> = (0..WORKERS).filter(|_| noise.next() > -0.3).collect();
    if members.is_empty() {
        members.push(0);
    }
    let plot = Plot { seed: seed.wrapping_add(round), length, kinds: vec![Kind::Honest; members.len()] };
    (members, plot.updates())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Algorithm 1 with option II, each worker's `c_i` included.
    #[test]
    fn scaffold_follows_algorithm_1(seed in any::<u64>(), length in 1..90usize, rate in 0.2..1.5f64) {
        let model = Noise(seed ^ 3).list(length);
        let (mut x, mut c, mut of_worker) = (wide(&model), zero(length), vec![zero(length); WORKERS]);
        let mut run = Federation::new("scaffold", &format!(r#"{{"server_learning_rate": {rate}}}"#), model);
        run.population = WORKERS as u32;
        for round in 0..4 {
            let (members, updates) = cohort(round, seed, length);
            let mut change = zero(length);
            let mut moved = zero(length);
            for (&member, update) in members.iter().zip(&updates) {
                let drift = wide(&update.values);
                let local = update.summary.steps.unwrap() as f64 * update.summary.learning_rate.unwrap();
                let mut renewed: Vector = of_worker[member].clone();
                add(&mut renewed, -1.0, &c);
                add(&mut renewed, -1.0 / local, &drift);
                add(&mut change, 1.0, &renewed);
                add(&mut change, -1.0, &of_worker[member]);
                of_worker[member] = renewed;
                add(&mut moved, 1.0 / members.len() as f64, &drift);
            }
            add(&mut x, rate, &moved);
            add(&mut c, 1.0 / WORKERS as f64, &change);
            run.round(&updates).unwrap();
            assert_close(&run.model, &x, 1e-5, 5.0, "scaffold, model");
            // one step at a rate of 0.01 makes c a hundred times the update
            assert_close(&run.state[0], &c, 1e-5, 200.0, "scaffold, c");
        }
        // what the server keeps is the mean of what the workers keep
        let mut mean = zero(length);
        of_worker.iter().for_each(|own| add(&mut mean, 1.0 / WORKERS as f64, own));
        assert_close(&run.state[0], &mean, 1e-5, 200.0, "scaffold, the workers' mean");
    }

    /// Algorithm 1, on models as the paper writes it.
    #[test]
    fn feddyn_follows_algorithm_1(seed in any::<u64>(), length in 1..90usize, alpha in 0.01..1.0f64) {
        let model = Noise(seed ^ 5).list(length);
        let (mut x, mut h) = (wide(&model), zero(length));
        let mut run = Federation::new("feddyn", &format!(r#"{{"alpha": {alpha}}}"#), model);
        run.population = WORKERS as u32;
        for round in 0..4 {
            let (members, updates) = cohort(round, seed, length);
            let locals: Vec<Vector> = updates
                .iter()
                .map(|update| x.iter().zip(&update.values).map(|(x, value)| x + f64::from(*value)).collect())
                .collect();
            let mut next = zero(length);
            for local in &locals {
                add(&mut h, -alpha / WORKERS as f64, local);
                add(&mut h, alpha / WORKERS as f64, &x);
                add(&mut next, 1.0 / members.len() as f64, local);
            }
            add(&mut next, -1.0 / alpha, &h);
            x = next;
            run.round(&updates).unwrap();
            assert_close(&run.model, &x, 1e-5, 20.0, "feddyn, model");
            assert_close(&run.state[0], &h, 1e-5, 10.0, "feddyn, h");
        }
    }
}

#[test]
fn corrections_are_declared() {
    let scaffold = describe("scaffold", "{}").unwrap();
    assert_eq!(scaffold.training.correction, Some(Correction::ControlVariates { state_tensor: 0 }));
    let feddyn = describe("feddyn", r#"{"alpha": 0.1}"#).unwrap();
    assert_eq!(feddyn.training.correction, Some(Correction::DynamicRegularizer { alpha: 0.1 }));
}
