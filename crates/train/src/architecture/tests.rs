use super::*;

fn parse(text: &str) -> Result<Architecture, toml::de::Error> {
    toml::from_str(text)
}

fn shapes(architecture: &Architecture) -> Vec<String> {
    architecture.layout().unwrap().specs().iter().map(|spec| format!("{} {:?}", spec.name, spec.shape)).collect()
}

fn paper_cnn() -> Architecture {
    Architecture::Cnn { height: 28, width: 28, channels: 1, classes: 10 }
}

#[test]
fn layouts_are_those_of_the_pytorch_sequential() {
    assert_eq!(
        shapes(&Architecture::LogisticRegression { inputs: 13, classes: 2 }),
        ["0.weight [2, 13]", "0.bias [2]"]
    );
    assert_eq!(
        shapes(&Architecture::Mlp { inputs: 64, hidden: vec![200, 100], classes: 10 }),
        [
            "0.weight [200, 64]",
            "0.bias [200]",
            "2.weight [100, 200]",
            "2.bias [100]",
            "4.weight [10, 100]",
            "4.bias [10]"
        ]
    );
    assert_eq!(
        shapes(&paper_cnn()),
        [
            "0.weight [32, 1, 5, 5]",
            "0.bias [32]",
            "3.weight [64, 32, 5, 5]",
            "3.bias [64]",
            "7.weight [512, 3136]",
            "7.bias [512]",
            "9.weight [10, 512]",
            "9.bias [10]"
        ]
    );
}

#[test]
fn the_paper_counts_the_same_parameters() {
    // McMahan et al. 2017, section 3: 199,210 for the 2NN and 1,663,370 for the CNN.
    let mlp = Architecture::Mlp { inputs: 784, hidden: vec![200, 200], classes: 10 };
    assert_eq!(mlp.layout().unwrap().parameter_count(), 199_210);
    assert_eq!(paper_cnn().layout().unwrap().parameter_count(), 1_663_370);
}

#[test]
fn kinds_are_read_from_toml_and_written_back() {
    let cnn = parse("kind = \"cnn\"\nheight = 28\nwidth = 28\nclasses = 10").unwrap();
    assert_eq!(cnn, paper_cnn());
    let mlp = Architecture::Mlp { inputs: 64, hidden: vec![200], classes: 10 };
    assert_eq!(parse(&toml::to_string(&mlp).unwrap()).unwrap(), mlp);
    let regression = parse("kind = \"logistic-regression\"\ninputs = 13\nclasses = 2").unwrap();
    assert_eq!(regression, Architecture::LogisticRegression { inputs: 13, classes: 2 });
}

#[test]
fn unknown_kinds_and_keys_are_named() {
    let kind = parse("kind = \"transformer\"\ninputs = 3").unwrap_err().to_string();
    assert!(kind.contains("transformer") && kind.contains("logistic-regression"), "{kind}");
    let key = parse("kind = \"mlp\"\ninputs = 3\nhidden = [4]\nclasses = 2\nwidth = 3").unwrap_err().to_string();
    assert!(key.contains("width"), "{key}");
}

#[test]
fn sizes_out_of_range_name_the_key_and_what_is_allowed() {
    let cases = [
        ("kind = \"logistic-regression\"\ninputs = 0\nclasses = 2", "`inputs` is 0; allowed is 1 to 1048576"),
        ("kind = \"logistic-regression\"\ninputs = 3\nclasses = 1", "`classes` is 1; allowed is 2 to 65536"),
        ("kind = \"mlp\"\ninputs = 3\nhidden = []\nclasses = 2", "`hidden` names 0 layers; allowed are 1 to 32"),
        ("kind = \"mlp\"\ninputs = 3\nhidden = [4, 0]\nclasses = 2", "`hidden` is 0; allowed is 1 to 65536"),
        ("kind = \"cnn\"\nheight = 3\nwidth = 28\nclasses = 2", "`height` is 3; allowed is 4 to 1024"),
        ("kind = \"cnn\"\nheight = 28\nwidth = 28\nchannels = 65\nclasses = 2", "`channels` is 65; allowed is 1 to 64"),
        ("kind = \"mlp\"\ninputs = 1048576\nhidden = [65536]\nclasses = 2", "at most 268435456 are allowed"),
        ("kind = \"cnn\"\nheight = 9223372036854775807\nwidth = 28\nclasses = 2", "allowed is 4 to 1024"),
    ];
    for (text, expected) in cases {
        let error = parse(text).unwrap().layout().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn first_parameters_follow_the_seed_and_pytorchs_bounds() {
    let mlp = Architecture::Mlp { inputs: 64, hidden: vec![200], classes: 10 };
    let first = mlp.initial(7).unwrap();
    assert_eq!(first, mlp.initial(7).unwrap());
    assert_ne!(first, mlp.initial(8).unwrap());

    for (name, fan_in) in [("0.weight", 64.0_f32), ("0.bias", 64.0), ("2.weight", 200.0)] {
        let tensor = first.tensor(name).unwrap();
        let bound = 1.0 / fan_in.sqrt();
        assert!(tensor.iter().all(|value| value.abs() <= bound), "{name}");
        // A uniform variable in ±b has standard deviation b/√3.
        let deviation = (tensor.iter().map(|value| value * value).sum::<f32>() / tensor.len() as f32).sqrt();
        assert!((deviation * 3.0_f32.sqrt() / bound - 1.0).abs() < 0.1, "{name}: {deviation}");
    }
}

#[test]
fn a_seed_never_changes_its_meaning() {
    // The numbers of this release: a model that is retrained from its seed must start from the same bits.
    let regression = Architecture::LogisticRegression { inputs: 1, classes: 2 };
    let bits: Vec<u32> = regression.initial(1).unwrap().values().iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [1_061_677_914, 1_060_384_212, 1_062_265_848, 3_211_128_496]);
}
