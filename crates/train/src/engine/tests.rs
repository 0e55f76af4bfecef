use std::thread;

use super::*;
use crate::config::Optimizer;

mod additions;
mod reference;

use reference::Reference;

/// Small, with overlapping classes, so that losses stay well away from 0.
fn data_set(examples: usize, features: usize, classes: usize) -> DataSet {
    let value = |place: usize| ((place * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
    let values = (0..examples * features).map(value).collect();
    let labels = (0..examples).map(|example| ((example * 31 + example / 7) % classes) as u32).collect();
    DataSet::new(values, labels, features, classes).unwrap()
}

fn regression() -> Architecture {
    Architecture::LogisticRegression { inputs: 6, classes: 3 }
}

fn mlp() -> Architecture {
    Architecture::Mlp { inputs: 6, hidden: vec![9, 7], classes: 3 }
}

fn cnn() -> Architecture {
    Architecture::Cnn { height: 9, width: 8, channels: 2, classes: 3 }
}

/// All examples in one batch, so that a step does not depend on their order.
fn full_batch(epochs: u32) -> TrainConfig {
    TrainConfig { epochs, batch_size: 64, learning_rate: 0.1, ..TrainConfig::default() }
}

fn go_on(_: Progress) -> Control {
    Control::Continue
}

fn run(architecture: &Architecture, data: &DataSet, config: &TrainConfig) -> Trained {
    train(architecture, &architecture.initial(3).unwrap(), data, config, 5, &mut go_on).unwrap()
}

/// Trains both ways and compares every parameter.
fn assert_follows_reference(architecture: &Architecture, config: &TrainConfig) {
    let data = data_set(40, architecture.inputs(), architecture.classes());
    let start = architecture.initial(3).unwrap();
    let trained = run(architecture, &data, config);

    let mut reference = Reference::new(architecture, &start, config);
    let losses: Vec<f64> = (0..config.epochs).map(|_| reference.step(&data)).collect();
    assert!((trained.loss - losses[losses.len() - 1]).abs() < 1e-5, "{} {losses:?}", trained.loss);

    let moved = start.values().iter().zip(&reference.values).map(|(a, b)| (f64::from(*a) - b).abs());
    assert!(moved.fold(0.0, f64::max) > 1e-3, "the steps are too small to compare");
    for (place, (ours, theirs)) in trained.parameters.values().iter().zip(&reference.values).enumerate() {
        assert!((f64::from(*ours) - theirs).abs() < 2e-5, "{place}: {ours} {theirs} with {config:?}");
    }
}

#[test]
fn sgd_follows_an_f64_reference() {
    for architecture in [regression(), mlp()] {
        assert_follows_reference(&architecture, &full_batch(6));
        let optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 0.01 };
        assert_follows_reference(&architecture, &TrainConfig { optimizer, ..full_batch(6) });
    }
}

#[test]
fn adam_follows_an_f64_reference() {
    for architecture in [regression(), mlp()] {
        // Adam divides by a gradient's size, so a large eps keeps rounding from being blown up where it is near zero.
        let optimizer = Optimizer::Adam { betas: [0.9, 0.99], eps: 1e-3 };
        assert_follows_reference(&architecture, &TrainConfig { optimizer, learning_rate: 0.01, ..full_batch(6) });
    }
}

#[test]
fn the_proximal_term_follows_an_f64_reference() {
    for architecture in [regression(), mlp()] {
        assert_follows_reference(&architecture, &TrainConfig { proximal_mu: 2.0, ..full_batch(6) });
    }
}

#[test]
fn the_proximal_term_holds_a_model_near_its_start() {
    let (data, start) = (data_set(40, 6, 3), mlp().initial(3).unwrap());
    let distance = |proximal_mu| {
        let trained = run(&mlp(), &data, &TrainConfig { proximal_mu, ..full_batch(60) });
        let moved = trained.parameters.values().iter().zip(start.values()).map(|(a, b)| (a - b).powi(2));
        moved.sum::<f32>().sqrt()
    };
    let distances = [0.0, 0.3, 3.0].map(distance);
    assert!(distances[0] > distances[1] && distances[1] > 2.0 * distances[2], "{distances:?}");
}

#[test]
fn the_cnn_computes_what_its_layers_say() {
    let data = data_set(5, cnn().inputs(), 3);
    let start = cnn().initial(3).unwrap();
    let reference = Reference::new(&cnn(), &start, &full_batch(1));
    let evaluation = evaluate(&cnn(), &start, &data).unwrap();
    assert!((evaluation.loss - reference.loss(&data)).abs() < 1e-5, "{}", evaluation.loss);
}

#[test]
fn the_cnn_steps_along_the_slope_of_its_loss() {
    let data = data_set(3, cnn().inputs(), 3);
    let start = cnn().initial(3).unwrap();
    let trained = run(&cnn(), &data, &TrainConfig { learning_rate: 1.0, ..full_batch(1) });
    let mut reference = Reference::new(&cnn(), &start, &full_batch(1));

    for (spec, span) in start.layout().spans() {
        // The parameter of this tensor that moved most: elsewhere there may be no slope to see.
        let step = |place: usize| f64::from(start.values()[place] - trained.parameters.values()[place]);
        let place = span.max_by(|a, b| step(*a).abs().total_cmp(&step(*b).abs())).unwrap();
        let slope = reference.slope(&data, place);
        assert!((step(place) - slope).abs() < 1e-4 + 1e-3 * slope.abs(), "{}: {} {slope}", spec.name, step(place));
        assert!(slope.abs() > 1e-4, "{}: {slope}", spec.name);
    }
}

#[test]
fn an_image_of_mnists_size_passes_the_papers_cnn() {
    let paper = Architecture::Cnn { height: 28, width: 28, channels: 1, classes: 10 };
    let data = data_set(10, 784, 10);
    let config = TrainConfig { batch_size: 10, learning_rate: 0.05, ..TrainConfig::default() };
    let trained = run(&paper, &data, &config);
    assert_eq!((trained.steps, trained.examples), (1, 10));
    let before = evaluate(&paper, &paper.initial(3).unwrap(), &data).unwrap();
    let after = evaluate(&paper, &trained.parameters, &data).unwrap();
    assert!((trained.loss - before.loss).abs() < 1e-5 && after.loss < before.loss, "{before:?} {after:?}");
}

#[test]
fn the_same_seed_gives_the_same_bits_in_every_thread() {
    let data = data_set(50, 6, 3);
    let config = TrainConfig { epochs: 3, batch_size: 8, ..TrainConfig::default() };
    let bits = |seed| -> Vec<u32> {
        let trained = train(&mlp(), &mlp().initial(3).unwrap(), &data, &config, seed, &mut go_on).unwrap();
        trained.parameters.values().iter().map(|value| value.to_bits()).collect()
    };
    let alone = bits(5);
    let side_by_side: Vec<_> =
        thread::scope(|scope| [(); 4].map(|()| scope.spawn(|| bits(5))).map(|thread| thread.join().unwrap()).into());
    assert!(side_by_side.iter().all(|other| *other == alone));
    assert_ne!(bits(6), alone);
}

#[test]
fn progress_counts_every_batch() {
    let data = data_set(50, 6, 3);
    let config = TrainConfig { epochs: 2, batch_size: 20, ..TrainConfig::default() };
    let mut seen = Vec::new();
    let start = mlp().initial(3).unwrap();
    let trained = train(&mlp(), &start, &data, &config, 5, &mut |progress| {
        assert!(progress.loss.is_finite() && progress.epochs == 2 && progress.batches == 3);
        seen.push((progress.epoch, progress.batch));
        Control::Continue
    });
    assert_eq!(seen, [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]);
    let trained = trained.unwrap();
    assert_eq!((trained.steps, trained.examples), (6, 50));
    assert!((0.0..=1.0).contains(&trained.accuracy));
}

#[test]
fn stop_ends_training_at_once() {
    let mut calls = 0;
    let result = train(&mlp(), &mlp().initial(3).unwrap(), &data_set(50, 6, 3), &full_batch(9), 5, &mut |progress| {
        calls += 1;
        if progress.epoch == 2 { Control::Stop } else { Control::Continue }
    });
    assert!(matches!(result, Err(TrainError::Cancelled { epoch: 2, batch: 1 })), "{result:?}");
    assert_eq!(calls, 2);
}

#[test]
fn divergence_is_an_error_that_says_where() {
    let config = TrainConfig { learning_rate: 100.0, ..full_batch(50) };
    let data =
        DataSet::new(data_set(40, 6, 3).features().iter().map(|value| value * 1e30).collect(), vec![0; 40], 6, 3);
    let data = data.unwrap();
    let result = train(&mlp(), &mlp().initial(3).unwrap(), &data, &config, 5, &mut go_on);
    assert!(matches!(result, Err(TrainError::Diverged { .. })), "{result:?}");
}

#[test]
fn a_last_step_into_the_infinite_is_noticed() {
    let data = DataSet::new(vec![3e38, -3e38], vec![0, 1], 1, 2).unwrap();
    let architecture = Architecture::LogisticRegression { inputs: 1, classes: 2 };
    let start = Parameters::zeros(Arc::new(architecture.layout().unwrap()));
    let config = TrainConfig { learning_rate: 100.0, ..full_batch(1) };
    let result = train(&architecture, &start, &data, &config, 5, &mut go_on);
    assert!(matches!(result, Err(TrainError::Diverged { epoch: 1, batch: 1, .. })), "{result:?}");
}

#[test]
fn a_model_of_infinite_answers_is_not_evaluated() {
    let start = Parameters::new(Arc::new(regression().layout().unwrap()), vec![f32::MAX; 21]).unwrap();
    let result = evaluate(&regression(), &start, &data_set(40, 6, 3));
    assert!(matches!(result, Err(TrainError::NotFinite { .. })), "{result:?}");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (data, start) = (data_set(40, 6, 3), regression().initial(3).unwrap());
    let refusal = |architecture: &Architecture, start: &Parameters, data: &DataSet| {
        let trained = train(architecture, start, data, &TrainConfig::default(), 5, &mut go_on).unwrap_err().to_string();
        let evaluated = evaluate(architecture, start, data).unwrap_err().to_string();
        assert_eq!(trained, evaluated);
        trained
    };
    let other_model = refusal(&mlp(), &start, &data);
    assert!(other_model.contains("`0.weight` [9, 6]") && other_model.contains("`0.weight` [3, 6]"), "{other_model}");
    let narrow = refusal(&regression(), &start, &data_set(40, 5, 3));
    assert_eq!(narrow, "the model takes 6 features, but the data set has 5");
    let many = refusal(&regression(), &start, &data_set(40, 6, 4));
    assert_eq!(many, "the model tells 3 classes apart, but the data set has 4");

    let config = TrainConfig { epochs: 0, ..TrainConfig::default() };
    let result = train(&regression(), &start, &data, &config, 5, &mut go_on);
    assert!(matches!(result, Err(TrainError::Config(_))), "{result:?}");
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let gpu = Device::Cuda { index: 0 };
    let (data, start) = (data_set(4, 6, 3), regression().initial(3).unwrap());
    let (architecture, config) = (regression(), TrainConfig::default());
    let additions = Additions::default();
    let job = Job { architecture: &architecture, start: &start, data: &data, config: &config, additions, seed: 5 };
    let trained = train_on(gpu, &job, &mut go_on);
    assert!(matches!(trained, Err(TrainError::Device { .. })), "{trained:?}");
    assert!(matches!(evaluate_on(gpu, &regression(), &start, &data), Err(TrainError::Device { .. })));
}

#[test]
fn a_score_counts_the_first_largest_logit() {
    let score = batch::Score::of(&[1.0, 1.0, 0.0, 2.0], &[0, 0]);
    assert_eq!(score.accuracy(), 0.5);
    let expected = (2.0_f64.ln() + (1.0 + 2.0_f64.exp()).ln()) / 2.0;
    assert!((score.loss() - expected).abs() < 1e-12);
    // Large logits overflow neither way.
    assert_eq!(batch::Score::of(&[1e30, -1e30], &[0]).loss(), 0.0);
}
