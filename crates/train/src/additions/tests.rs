use super::*;

fn sgd(momentum: f64, weight_decay: f64) -> TrainConfig {
    TrainConfig { optimizer: Optimizer::Sgd { momentum, weight_decay }, learning_rate: 0.1, ..TrainConfig::default() }
}

fn adam() -> TrainConfig {
    TrainConfig { optimizer: Optimizer::Adam { betas: [0.9, 0.999], eps: 1e-8 }, ..TrainConfig::default() }
}

const SCAFFOLD: TrainingNeeds = TrainingNeeds {
    proximal_mu: None,
    correction: Some(Correction::ControlVariates { state_tensor: 0 }),
    base_loss: false,
};

fn dynamic(alpha: f64) -> TrainingNeeds {
    TrainingNeeds { correction: Some(Correction::DynamicRegularizer { alpha }), ..TrainingNeeds::default() }
}

/// How often the gradients are in an update: runs the optimizer's own rule on a loss whose every gradient is `-1 / rate`, so
/// that what it moves by is the sum of a; with a proximal term the pull is part of the rule.
fn by_hand(momentum: f64, rate: f64, mu: f64, steps: u64) -> f64 {
    let (mut w, mut velocity) = (0.0, 0.0);
    for _ in 0..steps {
        velocity = momentum * velocity + (-1.0 / rate + mu * w);
        w -= rate * velocity;
    }
    w
}

#[test]
fn the_normalizer_is_what_the_rule_adds_up_to() {
    for steps in [0, 1, 2, 3, 10, 257] {
        for momentum in [0.0, 0.3, 0.9, 0.999] {
            let found = normalizer(&sgd(momentum, 0.01), 0.0, steps).unwrap();
            let expected = by_hand(momentum, 0.1, 0.0, steps);
            assert!((found - expected).abs() <= 1e-9 * expected.max(1.0), "{steps} {momentum}: {found} {expected}");
        }
        for mu in [1e-12, 0.01, 1.0, 9.9, 10.0] {
            let found = normalizer(&sgd(0.0, 0.0), mu, steps).unwrap();
            let expected = by_hand(0.0, 0.1, mu, steps);
            assert!((found - expected).abs() <= 1e-9 * expected.max(1.0), "{steps} {mu}: {found} {expected}");
        }
    }
    assert_eq!(normalizer(&sgd(0.0, 0.0), 0.0, 7), Some(7.0));
    // The closed forms of the paper, at ρ = 0.5, τ = 3 and at α = 0.1, τ = 2.
    assert!((normalizer(&sgd(0.5, 0.0), 0.0, 3).unwrap() - (3.0 - 0.5 * 0.875 / 0.5) / 0.5).abs() < 1e-12);
    assert!((normalizer(&sgd(0.0, 0.0), 1.0, 2).unwrap() - (1.0 - 0.81) / 0.1).abs() < 1e-12);
}

#[test]
fn there_is_no_normalizer_where_the_paper_has_none() {
    assert_eq!(normalizer(&adam(), 0.0, 5), None);
    assert_eq!(normalizer(&sgd(0.9, 0.0), 0.5, 5), None);
    assert_eq!(normalizer(&sgd(0.0, 0.0), 10.5, 5), None);
}

#[test]
fn control_variates_need_plain_sgd() {
    assert_eq!(check_needs(&sgd(0.0, 0.01), &SCAFFOLD), Ok(()));
    let refusal = |config: &TrainConfig, needs: &TrainingNeeds| check_needs(config, needs).unwrap_err().to_string();
    assert!(refusal(&sgd(0.9, 0.0), &SCAFFOLD).contains("with momentum"));
    assert!(refusal(&adam(), &SCAFFOLD).contains("with Adam"));
    let proximal = TrainConfig { proximal_mu: 0.1, ..sgd(0.0, 0.0) };
    assert!(refusal(&proximal, &SCAFFOLD).contains("train.proximal_mu = 0"));
    // What the policy says counts, not what the run had.
    assert_eq!(check_needs(&proximal, &TrainingNeeds { proximal_mu: Some(0.0), ..SCAFFOLD }), Ok(()));
    assert!(refusal(&sgd(0.0, 0.0), &TrainingNeeds { proximal_mu: Some(0.1), ..SCAFFOLD }).contains("proximal"));
}

#[test]
fn the_other_terms_go_with_any_optimizer_within_their_range() {
    for config in [sgd(0.9, 0.1), adam()] {
        assert_eq!(check_needs(&config, &dynamic(0.1)), Ok(()));
        assert_eq!(check_needs(&config, &TrainingNeeds { proximal_mu: Some(1.0), ..dynamic(0.1) }), Ok(()));
        for bad in [-0.1, 1001.0, f64::NAN] {
            assert!(matches!(check_needs(&config, &dynamic(bad)), Err(AdditionsError::OutOfRange { .. })));
            let needs = TrainingNeeds { proximal_mu: Some(bad), ..TrainingNeeds::default() };
            assert!(check_needs(&config, &needs).unwrap_err().to_string().contains("`proximal-mu`"));
        }
    }
}

#[test]
fn proximal_terms_add_up() {
    let config = TrainConfig { proximal_mu: 2.0, ..TrainConfig::default() };
    let mu = |needs| Additions { needs, linear: None }.proximal_mu(&config);
    assert_eq!(mu(TrainingNeeds::default()), 2.0);
    assert_eq!(mu(dynamic(0.5)), 2.5);
    assert_eq!(mu(TrainingNeeds { proximal_mu: Some(0.25), ..dynamic(0.5) }), 0.75);
}
