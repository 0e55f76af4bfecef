//! Server optimizers: FedAvgM, FedAdam, FedYogi, FedAdagrad, DiLoCo, over several rounds.

use proptest::prelude::*;

use crate::close::assert_close;
use crate::federation::{Federation, Sent};
use crate::inputs::{Noise, Plot, tame_updates};
use crate::vector::{Vector, sum, wide};

const ROUNDS: u64 = 4;

/// One round's mean update, by examples or plain.
fn mean(updates: &[Sent], weighted: bool) -> Vector {
    let vectors: Vec<Vector> = updates.iter().map(|update| wide(&update.values)).collect();
    let counts: Vec<f64> =
        updates.iter().map(|update| if weighted { update.summary.examples as f64 } else { 1.0 }).collect();
    let total: f64 = counts.iter().sum();
    sum(&counts.iter().map(|count| count / total).collect::<Vec<_>>(), &vectors)
}

/// Runs the policy and the reference side by side; `step` gets the mean update, one value's model and two state values.
fn check(name: &str, parameters: &str, plot: &Plot, weighted: bool, step: impl Fn(f64, &mut f64, &mut f64, &mut f64)) {
    let model = Noise(plot.seed ^ 1).list(plot.length);
    let (mut x, mut m, mut v) = (wide(&model), vec![0.0; plot.length], vec![0.0; plot.length]);
    let mut run = Federation::new(name, parameters, model);
    for round in 0..ROUNDS {
        let updates = Plot { seed: plot.seed.wrapping_add(round / 2), ..plot.clone() }.updates();
        for (i, delta) in mean(&updates, weighted).into_iter().enumerate() {
            step(delta, &mut x[i], &mut m[i], &mut v[i]);
        }
        run.round(&updates).unwrap();
        assert_close(&run.model, &x, 2e-5, 10.0, name);
        for (found, expected) in run.state.iter().zip([&m, &v]) {
            assert_close(found, expected, 2e-6, 20.0, &format!("{name}, state"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn fedavgm_keeps_its_momentum(plot in tame_updates(1..7), rate in 0.1..1.5f64, momentum in 0.0..0.99f64) {
        let parameters = format!(r#"{{"server_learning_rate": {rate}, "server_momentum": {momentum}}}"#);
        check("fedavgm", &parameters, &plot, true, |delta, x, m, _| {
            *m = momentum * *m + delta;
            *x += rate * *m;
        });
    }

    #[test]
    fn diloco_looks_ahead(plot in tame_updates(1..7)) {
        check("diloco", "{}", &plot, false, |delta, x, m, _| {
            // PyTorch's SGD with nesterov=True on the outer gradient
            let gradient = -delta;
            let buffer = 0.9 * -*m + gradient;
            *m = -buffer;
            *x -= 0.7 * (gradient + 0.9 * buffer);
        });
    }

    #[test]
    fn fedadam_follows_algorithm_2(plot in tame_updates(1..7), eta in 0.001..0.5f64, beta_1 in 0.0..0.99f64) {
        check("fedadam", &format!(r#"{{"eta": {eta}, "beta_1": {beta_1}}}"#), &plot, true, |delta, x, m, v| {
            *m = beta_1 * *m + (1.0 - beta_1) * delta;
            *v = 0.99 * *v + 0.01 * delta * delta;
            *x += eta * *m / (v.sqrt() + 1e-3);
        });
    }

    #[test]
    fn fedyogi_follows_algorithm_2(plot in tame_updates(1..7), eta in 0.001..0.1f64) {
        check("fedyogi", &format!(r#"{{"eta": {eta}}}"#), &plot, true, |delta, x, m, v| {
            *m = 0.9 * *m + 0.1 * delta;
            let square = delta * delta;
            let sign = if *v > square { 1.0 } else if *v < square { -1.0 } else { 0.0 };
            *v -= 0.01 * square * sign;
            *x += eta * *m / (v.sqrt() + 1e-3);
        });
    }

    #[test]
    fn fedadagrad_follows_algorithm_2(plot in tame_updates(1..7), eta in 0.001..0.5f64, tau in 1e-4..0.1f64) {
        let parameters = format!(r#"{{"eta": {eta}, "tau": {tau}, "weighted": false}}"#);
        check("fedadagrad", &parameters, &plot, false, |delta, x, m, v| {
            *m = delta;
            *v += delta * delta;
            *x += eta * *m / (v.sqrt() + tau);
        });
    }
}
