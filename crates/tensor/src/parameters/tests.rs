use proptest::prelude::*;

use super::*;
use crate::layout::TensorSpec;

fn layout() -> Arc<Layout> {
    Arc::new(Layout::new(vec![TensorSpec::new("w", [2, 2]), TensorSpec::new("b", [1])]).unwrap())
}

fn parameters(values: [f32; 5]) -> Parameters {
    Parameters::new(layout(), values.to_vec()).unwrap()
}

#[test]
fn tensors_have_their_shapes() {
    let parameters = parameters([1.0, 2.0, 3.0, 4.0, 5.0]);
    let w = parameters.tensor("w").unwrap();
    assert_eq!(w.shape(), [2, 2]);
    assert_eq!(w[[1, 0]], 3.0);
    assert_eq!(parameters.tensor("b").unwrap().iter().copied().collect::<Vec<_>>(), [5.0]);
    assert!(parameters.tensor("c").is_none());
}

#[test]
fn digest_is_that_of_the_file() {
    let parameters = parameters([1.0, -2.0, 0.0, 4.5, 5.0]);
    let file = parameters.to_safetensors();
    assert_eq!(parameters.digest(), Digest::blake3(*blake3::hash(&file).as_bytes()));
    let mut written = Vec::new();
    parameters.write(&mut written).unwrap();
    assert_eq!(written, file);

    // Large enough to be hashed by several threads.
    let layout = Arc::new(Layout::new(vec![TensorSpec::new("w", [1 << 19])]).unwrap());
    let large = Parameters::new(layout, (0..1 << 19).map(|n| n as f32).collect()).unwrap();
    assert_eq!(large.digest(), Digest::blake3(*blake3::hash(&large.to_safetensors()).as_bytes()));
}

#[test]
fn delta_is_local_minus_global() {
    let local = parameters([1.0, 2.0, 3.0, 4.0, 5.0]);
    let global = parameters([1.0, 1.0, 1.0, 1.0, 7.0]);
    assert_eq!(local.delta(&global).unwrap().values(), [0.0, 1.0, 2.0, 3.0, -2.0]);

    let other = Arc::new(Layout::new(vec![TensorSpec::new("w", [5])]).unwrap());
    let error = local.delta(&Parameters::zeros(other)).unwrap_err().to_string();
    assert_eq!(error, "the two do not have the same tensors: tensor 1 should be `w` [5], but is `w` [2, 2]");
}

#[test]
fn the_first_bad_value_is_named() {
    assert_eq!(parameters([0.0; 5]).check_finite(), Ok(()));
    let error = parameters([0.0, 0.0, f32::NAN, f32::INFINITY, 0.0]).check_finite().unwrap_err();
    assert_eq!(error.to_string(), "tensor `w` has a value that is not finite, at index 2");
    let error = parameters([0.0, 0.0, 0.0, 0.0, f32::INFINITY]).check_finite().unwrap_err();
    assert_eq!(error, NotFinite { tensor: "b".into(), index: 0 });
}

#[test]
fn lengths_must_agree() {
    let file = parameters([1.0; 5]).to_safetensors();
    for bytes in [&file[..file.len() - 1], &[file.as_slice(), &[0]].concat()] {
        let error = Parameters::from_safetensors(bytes).unwrap_err();
        assert!(matches!(error, ParametersError::Length { expected: 20, .. }), "{error}");
    }
    assert!(matches!(Parameters::from_safetensors(&file[..20]), Err(ParametersError::Read(_))));
    assert!(matches!(Parameters::new(layout(), vec![0.0; 4]), Err(ParametersError::Count { expected: 5, got: 4 })));
    // A header that promises a terabyte is refused before anything is allocated for it.
    let huge = Layout::new(vec![TensorSpec::new("w", [1 << 38])]).unwrap();
    let error = Parameters::from_safetensors(huge.header()).unwrap_err();
    assert!(matches!(error, ParametersError::Length { got: 0, .. }), "{error}");
}

proptest! {
    #[test]
    fn file_round_trips(values in prop::array::uniform5(any::<f32>())) {
        let before = parameters(values);
        let after = Parameters::from_safetensors(&before.to_safetensors()).unwrap();
        prop_assert_eq!(after.layout(), before.layout());
        let bits = |parameters: &Parameters| parameters.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&after), bits(&before));
        prop_assert_eq!(after.digest(), before.digest());
    }
}
