use super::*;

fn parse(text: &str) -> Result<TrainConfig, toml::de::Error> {
    toml::from_str(text)
}

#[test]
fn nothing_said_means_the_defaults() {
    assert_eq!(parse("").unwrap(), TrainConfig::default());
    assert_eq!(TrainConfig::default().check(), Ok(()));
}

#[test]
fn optimizers_are_read_with_their_defaults_and_written_back() {
    let sgd = parse("[optimizer]\nkind = \"sgd\"\nmomentum = 0.9").unwrap();
    assert_eq!(sgd.optimizer, Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 });
    let adam = parse("learning_rate = 0.001\n[optimizer]\nkind = \"adam\"").unwrap();
    assert_eq!(adam.optimizer, Optimizer::Adam { betas: [0.9, 0.999], eps: 1e-8 });
    assert_eq!(parse(&toml::to_string(&adam).unwrap()).unwrap(), adam);
}

#[test]
fn unknown_keys_are_named() {
    for text in ["epoch = 3", "[optimizer]\nkind = \"sgd\"\nepoch = 0.9", "[optimizer]\nkind = \"epoch\""] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains("epoch"), "{error}");
    }
}

#[test]
fn values_out_of_range_name_the_key_and_what_is_allowed() {
    let cases = [
        ("epochs = 0", "`epochs` is 0; allowed is 1 to 10000"),
        ("batch_size = 0", "`batch_size` is 0; allowed is 1 to 65536"),
        ("batch_size = 70000", "`batch_size` is 70000; allowed is 1 to 65536"),
        ("learning_rate = 0.0", "`learning_rate` is 0; allowed is above 0, at most 100"),
        ("learning_rate = nan", "`learning_rate` is NaN; allowed is above 0, at most 100"),
        ("retries = 11", "`retries` is 11; allowed is 0 to 10"),
        ("proximal_mu = -1.0", "`proximal_mu` is -1; allowed is 0 to 1000"),
        ("optimizer = { kind = \"sgd\", momentum = 1.0 }", "`optimizer.momentum` is 1; allowed is at least 0, below 1"),
        ("optimizer = { kind = \"sgd\", weight_decay = 2.0 }", "`optimizer.weight_decay` is 2; allowed is 0 to 1"),
        (
            "optimizer = { kind = \"adam\", betas = [0.9, 1.0] }",
            "`optimizer.betas` is 1; allowed is at least 0, below 1",
        ),
        ("optimizer = { kind = \"adam\", eps = 0.0 }", "`optimizer.eps` is 0; allowed is above 0, at most 1"),
    ];
    for (text, expected) in cases {
        let error = parse(text).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_batch_that_would_not_fit_into_memory_is_refused() {
    let large = Architecture::Cnn { height: 1024, width: 1024, channels: 1, classes: 10 };
    let small = Architecture::LogisticRegression { inputs: 13, classes: 2 };
    let config = TrainConfig { batch_size: 1000, ..TrainConfig::default() };
    assert_eq!(config.check_for(&small), Ok(()));
    assert!(matches!(config.check_for(&large), Err(ConfigError::BatchTooLarge { batch_size: 1000, max: 10 })));
}
