use super::*;
use crate::{
    Additions, Architecture, Control, DataSet, Device, Optimizer, TrainConfig, TrainError, Trained, train_on,
    train_resumably,
};
use polder_core::policy::TrainingNeeds;

/// Keeps every checkpoint, as the file it becomes.
#[derive(Default)]
struct Kept {
    from: Option<Vec<u8>>,
    files: Vec<Vec<u8>>,
}

const MODEL: Architecture = Architecture::LogisticRegression { inputs: 6, classes: 3 };

fn read(file: &[u8]) -> io::Result<Checkpoint> {
    Checkpoint::read(&mut &*file, MODEL.layout().unwrap().file_bytes())
}

impl Keeper for Kept {
    fn resume(&mut self) -> Option<Checkpoint> {
        self.from.take().map(|file| read(&file).unwrap())
    }

    fn is_due(&mut self) -> bool {
        true
    }

    fn keep(&mut self, checkpoint: Checkpoint) {
        let mut file = Vec::new();
        checkpoint.write(&mut file).unwrap();
        self.files.push(file);
    }
}

fn data(examples: usize) -> DataSet {
    let value = |place: usize| ((place * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
    let values = (0..examples * 6).map(value).collect();
    let labels = (0..examples).map(|example| ((example * 31 + example / 7) % 3) as u32).collect();
    DataSet::new(values, labels, 6, 3).unwrap()
}

fn train(config: &TrainConfig, data: &DataSet, kept: &mut Kept, stop_after: usize) -> Result<Trained, TrainError> {
    let start = MODEL.initial(3).unwrap();
    let linear: Vec<f32> = (0..21).map(|place| (place as f32 - 9.0) / 400.0).collect();
    let needs = TrainingNeeds { base_loss: true, ..TrainingNeeds::default() };
    let additions = Additions { needs, linear: Some(&linear) };
    let job = Job { architecture: &MODEL, start: &start, data, config, additions, seed: 5 };
    let mut batches = 0;
    let mut progress = |_| {
        batches += 1;
        if batches > stop_after { Control::Stop } else { Control::Continue }
    };
    if stop_after == usize::MAX && kept.from.is_none() {
        return train_on(Device::Cpu, &job, &mut progress);
    }
    train_resumably(Device::Cpu, &job, &mut progress, kept)
}

fn bits(trained: &Trained) -> Vec<u32> {
    trained.parameters.values().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn training_that_goes_on_from_any_batch_ends_with_the_same_bits() {
    let data = data(50);
    let plain = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let momentum = Optimizer::Sgd { momentum: 0.9, weight_decay: 0.01 };
    let adam = Optimizer::Adam { betas: [0.9, 0.999], eps: 1e-8 };
    for optimizer in [plain, momentum, adam] {
        let config = TrainConfig { epochs: 3, batch_size: 20, proximal_mu: 0.1, optimizer, ..TrainConfig::default() };
        let whole = train(&config, &data, &mut Kept::default(), usize::MAX).unwrap();
        for stop_after in 1..=9 {
            let mut kept = Kept::default();
            let ended = train(&config, &data, &mut kept, stop_after);
            assert_eq!(ended.is_err(), stop_after < 9, "{ended:?}");
            let mut again = Kept { from: kept.files.get(stop_after - 1).cloned(), files: Vec::new() };
            let resumed = train(&config, &data, &mut again, usize::MAX).unwrap();
            assert_eq!(again.files.len(), 9 - stop_after, "it trained again what was trained already");
            assert_eq!(bits(&resumed), bits(&whole), "resumed after {stop_after} batches with {config:?}");
            // Loss, accuracy, steps and the base model's loss, too.
            assert_eq!(resumed, whole);
        }
    }
}

#[test]
fn a_checkpoint_of_other_training_is_passed_over() {
    let config = TrainConfig { epochs: 2, batch_size: 20, ..TrainConfig::default() };
    let mut kept = Kept::default();
    train(&config, &data(50), &mut kept, 2).unwrap_err();
    let other = data(40);
    let expected = train(&config, &other, &mut Kept::default(), usize::MAX).unwrap();
    let mut again = Kept { from: kept.files.pop(), files: Vec::new() };
    assert_eq!(train(&config, &other, &mut again, usize::MAX).unwrap(), expected);
    assert_eq!(again.files.len(), 4, "it started anew");

    // Another optimizer cannot use this one's state.
    let mut kept = Kept::default();
    train(&config, &other, &mut kept, 2).unwrap_err();
    let adam = TrainConfig { optimizer: Optimizer::Adam { betas: [0.9, 0.999], eps: 1e-8 }, ..config };
    let expected = train(&adam, &other, &mut Kept::default(), usize::MAX).unwrap();
    let mut again = Kept { from: kept.files.pop(), files: Vec::new() };
    assert_eq!(train(&adam, &other, &mut again, usize::MAX).unwrap(), expected);
}

#[test]
fn what_is_no_checkpoint_of_this_model_is_refused() {
    let config = TrainConfig { epochs: 1, batch_size: 20, ..TrainConfig::default() };
    let mut kept = Kept::default();
    train(&config, &data(50), &mut kept, 2).unwrap_err();
    let file = kept.files.pop().unwrap();
    read(&file).unwrap();
    assert!(Checkpoint::read(&mut &*file, 1000).unwrap_err().to_string().contains("another model"));
    for damage in [&file[..file.len() - 1], &file[..20], b"", b"{}\n"] {
        assert!(read(damage).is_err());
    }
}
