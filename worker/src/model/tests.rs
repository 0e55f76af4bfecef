use polder_tensor::TensorSpec;

use super::*;

fn model() -> Parameters {
    let layout = Layout::new(vec![TensorSpec::new("a", [3, 2]), TensorSpec::new("b", [5])]).unwrap();
    let values = (0..11).map(|value| value as f32 / 7.0).collect();
    Parameters::new(Arc::new(layout), values).unwrap()
}

fn receive(file: &[u8], digest: Digest, announced: u64, piece: usize) -> Result<Parameters, ModelError> {
    let mut receiver = Receiver::new(digest, announced);
    for data in file.chunks(piece) {
        receiver.take(data)?;
    }
    receiver.finish()
}

#[test]
fn a_model_is_the_same_in_pieces_of_any_length() {
    let model = model();
    let file = model.to_safetensors();
    for piece in [1, 3, 7, 8, 9, 64, file.len()] {
        assert_eq!(receive(&file, model.digest(), file.len() as u64, piece).unwrap(), model);
    }
}

#[test]
fn what_a_hostile_coordinator_sends_is_refused() {
    let (model, file) = (model(), model().to_safetensors());
    let (digest, bytes) = (model.digest(), file.len() as u64);
    assert!(matches!(receive(&file, digest, bytes - 1, 7), Err(ModelError::WrongLength { .. })));
    let long = [file.clone(), vec![0]].concat();
    assert!(matches!(receive(&long, digest, bytes, 7), Err(ModelError::TooLong { .. })));
    assert!(matches!(receive(&file[..20], digest, 20, 7), Err(ModelError::WrongDigest { .. })));
    let mut other = file.clone();
    other[file.len() - 1] ^= 1;
    assert!(matches!(receive(&other, digest, bytes, 7), Err(ModelError::WrongDigest { .. })));
    assert!(matches!(receive(&[0xff; 64], digest, 64, 7), Err(ModelError::Layout(LayoutError::HeaderTooLong { .. }))));
    let no_header = Digest::blake3(*blake3::hash(b"ab").as_bytes());
    assert!(matches!(
        receive(b"ab", no_header, 2, 1),
        Err(ModelError::Layout(LayoutError::HeaderTruncated { bytes: 2 }))
    ));
}

#[test]
fn the_latest_models_are_kept() {
    let models = Models::new(2);
    let digest = |byte| Digest::blake3([byte; 32]);
    let model = Arc::new(model());
    for byte in 1..=3 {
        models.keep(digest(byte), &model);
    }
    assert!(models.get(&digest(1)).is_none());
    assert!(models.get(&digest(2)).is_some() && models.get(&digest(3)).is_some());
}
