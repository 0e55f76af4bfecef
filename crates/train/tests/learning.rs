//! Whole learning tasks, without the network: what the demo learns, and real inputs where they are at hand.

#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use polder_tensor::Parameters;
use polder_train::source::Column;
use polder_train::{Architecture, Control, DataSet, DataSource, Schema, Split, TrainConfig, digits, evaluate, train};

const REGIONS: usize = 3;

fn trained(architecture: &Architecture, start: &Parameters, data: &DataSet, config: &TrainConfig) -> Parameters {
    train(architecture, start, data, config, 1, &mut |_| Control::Continue).unwrap().parameters
}

fn accuracy(architecture: &Architecture, parameters: &Parameters, data: &DataSet) -> f64 {
    evaluate(architecture, parameters, data).unwrap().accuracy
}

/// Federated averaging (McMahan et al. 2017, algorithm 1) with every region in every round.
fn federated(architecture: &Architecture, regions: &[&DataSet], config: &TrainConfig, rounds: usize) -> Parameters {
    let examples: usize = regions.iter().map(|region| region.examples()).sum();
    let mut global = architecture.initial(1).unwrap();
    for _ in 0..rounds {
        let mut mean = vec![0.0; global.values().len()];
        for region in regions {
            let local = trained(architecture, &global, region, config);
            let weight = region.examples() as f64 / examples as f64;
            mean.iter_mut().zip(local.values()).for_each(|(mean, value)| *mean += weight * f64::from(*value));
        }
        let values = mean.into_iter().map(|value| value as f32).collect();
        global = Parameters::new(Arc::clone(global.layout()), values).unwrap();
    }
    global
}

fn digits_mlp() -> Architecture {
    Architecture::Mlp { inputs: 64, hidden: vec![200, 200], classes: 10 }
}

#[test]
fn the_digits_are_those_of_the_uci_repository() {
    let digits = digits().unwrap();
    assert_eq!((digits.examples(), digits.feature_count()), (1797, 64));
    assert_eq!(digits.label_counts(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    assert_eq!(digits.row(0).unwrap()[..6], [0.0, 0.0, 5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0, 1.0 / 16.0]);
}

#[test]
fn regions_learn_together_what_none_learns_alone() {
    let architecture = digits_mlp();
    let Split { train, held_out } = digits().unwrap().split(0.2, 4).unwrap();
    let held_out = held_out.unwrap();
    let start = architecture.initial(1).unwrap();
    let ten_epochs = TrainConfig { epochs: 10, batch_size: 20, learning_rate: 0.3, ..TrainConfig::default() };
    let pooled = accuracy(&architecture, &trained(&architecture, &start, &train, &ten_epochs), &held_out);
    assert!(pooled >= 0.95, "{pooled}");

    let regions = train.dirichlet_split(REGIONS, 0.3, 4).unwrap();
    let alone = regions.iter().map(|region| {
        let model = trained(&architecture, &start, region, &ten_epochs);
        accuracy(&architecture, &model, &held_out)
    });
    let best_alone = alone.fold(0.0, f64::max);

    let regions: Vec<&DataSet> = regions.iter().collect();
    let model = federated(&architecture, &regions, &TrainConfig { epochs: 2, ..ten_epochs }, 20);
    let together = accuracy(&architecture, &model, &held_out);
    eprintln!("digits: {together:.3} together, {best_alone:.3} best region alone, {pooled:.3} pooled");
    assert!(together >= 0.94 && together > best_alone + 0.1, "{together} {best_alone}");
}

/// Set in a child process, and printed before its digests.
const CHILD: &str = "POLDER_TRAIN_CHILD";

/// Digests of an MLP and of a CNN after some steps.
fn digests() -> String {
    let data = digits().unwrap().split(0.9, 1).unwrap().train;
    let config = TrainConfig { batch_size: 50, ..TrainConfig::default() };
    let cnn = Architecture::Cnn { height: 8, width: 8, channels: 1, classes: 10 };
    let digest = |architecture: &Architecture| {
        trained(architecture, &architecture.initial(1).unwrap(), &data, &config).digest().to_string()
    };
    format!("{CHILD} {} {}", digest(&digits_mlp()), digest(&cnn))
}

#[test]
fn the_same_seed_gives_the_same_bits_in_every_process() {
    if std::env::var_os(CHILD).is_some() {
        eprintln!("{}", digests());
        return;
    }
    let here = digests();
    // However many threads the libraries may use, sums must be in one order.
    for threads in ["1", "2", "5"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_same_seed_gives_the_same_bits_in_every_process", "--nocapture"])
            .env(CHILD, "1")
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let said = String::from_utf8(child.stderr).unwrap();
        assert!(said.lines().any(|line| line == here), "{threads} threads: {said}");
    }
}

/// A folder of data too large for the repository; `None`, and a word about it, where it is not at hand.
fn large(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("POLDER_TEST_DATA").map_or_else(beside, PathBuf::from).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no {} (set POLDER_TEST_DATA to the folder that holds {name})", folder.display());
    None
}

#[test]
fn mnist_is_read_and_learnt() {
    let Some(folder) = large("mnist-10k") else { return };
    let Split { train, held_out } = DataSource::open(&folder).unwrap().load_split(0.2, 1).unwrap();
    let held_out = held_out.unwrap();
    assert_eq!((train.examples(), held_out.examples(), train.feature_count(), train.classes()), (8000, 2000, 784, 10));

    let architecture = Architecture::Mlp { inputs: 784, hidden: vec![200, 200], classes: 10 };
    let config = TrainConfig { epochs: 2, batch_size: 20, learning_rate: 0.1, ..TrainConfig::default() };
    let model = trained(&architecture, &architecture.initial(1).unwrap(), &train, &config);
    let accuracy = accuracy(&architecture, &model, &held_out);
    eprintln!("mnist: {accuracy:.3} after two epochs");
    assert!(accuracy > 0.88, "{accuracy}");
}

/// The four hospitals, by the schema in the documentation of [`Schema`].
fn hospitals(folder: &Path) -> Vec<Split> {
    let schema = Schema::from_toml(include_str!("hospital.schema.toml")).unwrap();
    let names = ["cleveland", "hungarian", "switzerland", "va"];
    let paths = names.map(|name| folder.join(format!("processed.{name}.data")));
    paths.map(|path| DataSource::csv(path, schema.clone()).load_split(0.34, 1).unwrap()).into()
}

#[test]
fn four_hospitals_learn_together() {
    let schema = Schema::from_toml(include_str!("hospital.schema.toml")).unwrap();
    assert_eq!(schema.label.column, Column::Index(13));
    let Some(folder) = large("heart-disease") else { return };
    let hospitals = hospitals(&folder);
    let sizes = hospitals.iter().map(|split| split.train.examples() + split.held_out.as_ref().unwrap().examples());
    assert_eq!(sizes.collect::<Vec<_>>(), [303, 261, 46, 130]);

    let architecture = Architecture::LogisticRegression { inputs: 13, classes: 2 };
    let train: Vec<&DataSet> = hospitals.iter().map(|split| &split.train).collect();
    let config = TrainConfig { epochs: 5, batch_size: 10, learning_rate: 0.01, ..TrainConfig::default() };
    let model = federated(&architecture, &train, &config, 10);
    let held_out: Vec<&DataSet> = hospitals.iter().filter_map(|split| split.held_out.as_ref()).collect();
    let right: f64 = held_out.iter().map(|data| accuracy(&architecture, &model, data) * data.examples() as f64).sum();
    let accuracy = right / held_out.iter().map(|data| data.examples()).sum::<usize>() as f64;
    eprintln!("hospitals: {accuracy:.3} of the held-out patients");
    assert!(accuracy > 0.72, "{accuracy}");
}
