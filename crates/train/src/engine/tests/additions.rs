//! What a round adds to training, against gradients by hand.

use polder_core::policy::{Correction, TrainingNeeds};

use super::*;

/// One step of full-batch gradient descent on logistic regression, written out: with z = W x + b and p = softmax(z), the
/// gradient by W is the mean of (p − y) xᵀ and by b the mean of p − y. Returns it in the layout's order: W by rows, then b.
fn gradient(values: &[f64], data: &DataSet) -> Vec<f64> {
    let (inputs, classes) = (data.feature_count(), 3);
    let mut gradient = vec![0.0; classes * inputs + classes];
    for (row, label) in data.features().chunks_exact(inputs).zip(data.labels()) {
        let z: Vec<f64> = (0..classes)
            .map(|class| {
                let weights = &values[class * inputs..(class + 1) * inputs];
                let dot: f64 = weights.iter().zip(row).map(|(weight, x)| weight * f64::from(*x)).sum();
                dot + values[classes * inputs + class]
            })
            .collect();
        let total: f64 = z.iter().map(|z| z.exp()).sum();
        for (class, z) in z.iter().enumerate() {
            let miss = z.exp() / total - f64::from(u8::from(class == *label as usize));
            for (place, x) in row.iter().enumerate() {
                gradient[class * inputs + place] += miss * f64::from(*x) / data.examples() as f64;
            }
            gradient[classes * inputs + class] += miss / data.examples() as f64;
        }
    }
    gradient
}

/// `steps` steps by hand with the gradient ∇F + μ (w − w₀) + b and momentum.
fn descend(start: &[f32], data: &DataSet, [rate, mu, momentum]: [f64; 3], linear: &[f32], steps: u32) -> Vec<f64> {
    let start: Vec<f64> = start.iter().map(|value| f64::from(*value)).collect();
    let (mut w, mut velocity) = (start.clone(), vec![0.0; start.len()]);
    for _ in 0..steps {
        let slopes = gradient(&w, data);
        for place in 0..w.len() {
            let slope = slopes[place] + mu * (w[place] - start[place]) + f64::from(linear[place]);
            velocity[place] = momentum * velocity[place] + slope;
            w[place] -= rate * velocity[place];
        }
    }
    w
}

fn linear() -> Vec<f32> {
    (0..21).map(|place| (place as f32 - 9.0) / 40.0).collect()
}

fn train_with(config: &TrainConfig, additions: Additions<'_>) -> Result<Trained, TrainError> {
    let (architecture, data) = (regression(), data_set(40, 6, 3));
    let start = architecture.initial(3).unwrap();
    let job = Job { architecture: &architecture, start: &start, data: &data, config, additions, seed: 5 };
    train_on(Device::Cpu, &job, &mut go_on)
}

fn assert_close(trained: &Trained, expected: &[f64]) {
    for (place, (ours, theirs)) in trained.parameters.values().iter().zip(expected).enumerate() {
        assert!((f64::from(*ours) - theirs).abs() < 1e-5, "{place}: {ours} {theirs}");
    }
}

const SCAFFOLD: TrainingNeeds = TrainingNeeds {
    proximal_mu: None,
    correction: Some(Correction::ControlVariates { state_tensor: 0 }),
    base_loss: false,
};

#[test]
fn a_linear_term_is_added_to_every_gradient() {
    let (data, start, b) = (data_set(40, 6, 3), regression().initial(3).unwrap(), linear());
    let trained = train_with(&full_batch(5), Additions { needs: SCAFFOLD, linear: Some(&b) }).unwrap();
    assert_close(&trained, &descend(start.values(), &data, [0.1, 0.0, 0.0], &b, 5));
    assert_eq!((trained.steps, trained.normalizer, trained.learning_rate), (5, Some(5.0), Some(0.1)));
}

/// SCAFFOLD's option II rests on this: with plain SGD, how far the model came says what the mean gradient was.
#[test]
fn how_far_plain_sgd_came_says_the_mean_gradient() {
    let (data, start, b) = (data_set(40, 6, 3), regression().initial(3).unwrap(), linear());
    let trained = train_with(&full_batch(4), Additions { needs: SCAFFOLD, linear: Some(&b) }).unwrap();
    let mut mean = [0.0; 21];
    for steps in 0..4 {
        let w = descend(start.values(), &data, [0.1, 0.0, 0.0], &b, steps);
        mean.iter_mut().zip(gradient(&w, &data)).for_each(|(mean, slope)| *mean += slope / 4.0);
    }
    let came = start.values().iter().zip(trained.parameters.values()).map(|(x, y)| f64::from(x - y) / (4.0 * 0.1));
    for ((came, mean), b) in came.zip(mean).zip(&b) {
        assert!((came - f64::from(*b) - mean).abs() < 1e-5, "{came} {b} {mean}");
    }
}

#[test]
fn the_dynamic_regularizer_is_a_linear_and_a_proximal_term_whatever_the_optimizer() {
    let (data, start, b) = (data_set(40, 6, 3), regression().initial(3).unwrap(), linear());
    let needs =
        TrainingNeeds { correction: Some(Correction::DynamicRegularizer { alpha: 0.5 }), ..TrainingNeeds::default() };
    let optimizer = Optimizer::Sgd { momentum: 0.5, weight_decay: 0.0 };
    let config = TrainConfig { optimizer, ..full_batch(5) };
    let trained = train_with(&config, Additions { needs, linear: Some(&b) }).unwrap();
    assert_close(&trained, &descend(start.values(), &data, [0.1, 0.5, 0.5], &b, 5));
    assert_eq!(trained.normalizer, None);
}

#[test]
fn what_the_policy_says_of_the_proximal_term_replaces_the_runs_own() {
    let (data, start) = (data_set(40, 6, 3), regression().initial(3).unwrap());
    let config = TrainConfig { proximal_mu: 3.0, ..full_batch(5) };
    let needs = TrainingNeeds { proximal_mu: Some(1.0), ..TrainingNeeds::default() };
    let trained = train_with(&config, Additions { needs, linear: None }).unwrap();
    assert_close(&trained, &descend(start.values(), &data, [0.1, 1.0, 0.0], &[0.0; 21], 5));
    let normalizer = trained.normalizer.unwrap();
    assert!((normalizer - (1.0 - 0.9_f64.powi(5)) / 0.1).abs() < 1e-12, "{normalizer}");
}

#[test]
fn the_base_loss_is_that_of_the_start_over_every_row() {
    let (data, start) = (data_set(40, 6, 3), regression().initial(3).unwrap());
    let expected = Reference::new(&regression(), &start, &full_batch(1)).loss(&data);
    let needs = TrainingNeeds { base_loss: true, ..TrainingNeeds::default() };
    let config = TrainConfig { batch_size: 7, ..full_batch(2) };
    let base_loss = train_with(&config, Additions { needs, linear: None }).unwrap().base_loss.unwrap();
    assert!((base_loss - expected).abs() < 1e-6, "{base_loss} {expected}");
    assert_eq!(train_with(&config, Additions::default()).unwrap().base_loss, None);
}

#[test]
fn adam_has_neither_normalizer_nor_one_learning_rate() {
    let config = TrainConfig { optimizer: Optimizer::Adam { betas: [0.9, 0.99], eps: 1e-3 }, ..full_batch(2) };
    let trained = train_with(&config, Additions::default()).unwrap();
    assert_eq!((trained.steps, trained.normalizer, trained.learning_rate), (2, None, None));
}

#[test]
fn a_correction_that_does_not_fit_is_refused() {
    let refusal = |config: &TrainConfig, linear: &[f32]| {
        train_with(config, Additions { needs: SCAFFOLD, linear: Some(linear) }).unwrap_err().to_string()
    };
    assert_eq!(refusal(&full_batch(1), &[0.0; 20]), "the correction has 20 values, but the model has 21");
    assert!(refusal(&full_batch(1), &[f32::NAN; 21]).contains("no finite number"));
    let optimizer = Optimizer::Sgd { momentum: 0.5, weight_decay: 0.0 };
    assert!(refusal(&TrainConfig { optimizer, ..full_batch(1) }, &linear()).contains("with momentum"));
}
