use proptest::prelude::*;

use super::*;
use crate::layout::TensorSpec;
use crate::parameters::Parameters;

fn layout(specs: &[(&str, &[usize])]) -> Arc<Layout> {
    Arc::new(Layout::new(specs.iter().map(|(name, shape)| TensorSpec::new(*name, *shape)).collect()).unwrap())
}

fn model() -> Arc<Layout> {
    layout(&[("w", &[40, 50]), ("b", &[7])])
}

fn file(layout: &Arc<Layout>, change: impl FnOnce(&mut [f32])) -> Vec<u8> {
    let mut values: Vec<f32> = (0..layout.parameter_count()).map(|n| n as f32 - 100.0).collect();
    change(&mut values);
    Parameters::new(Arc::clone(layout), values).unwrap().to_safetensors()
}

/// Feeds `file` in pieces that end at `cuts`.
fn check(layout: Arc<Layout>, file: &[u8], cuts: &[usize]) -> Result<Digest, UpdateFault> {
    let mut check = UpdateCheck::new(layout);
    let mut start = 0;
    for cut in cuts.iter().copied().chain([file.len()]) {
        check.feed(&file[start..cut])?;
        start = cut;
    }
    assert_eq!(check.taken(), file.len() as u64);
    check.finish()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..20)
}

fn places(cuts: &[prop::sample::Index], length: usize) -> Vec<usize> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
    places.sort_unstable();
    places
}

proptest! {
    #[test]
    fn any_pieces_give_the_digest_of_the_whole(cuts in cuts()) {
        let file = file(&model(), |_| {});
        let digest = check(model(), &file, &places(&cuts, file.len()));
        prop_assert_eq!(digest, Ok(Digest::blake3(*blake3::hash(&file).as_bytes())));
    }

    #[test]
    fn a_bad_value_is_named_whatever_the_pieces(cuts in cuts(), at in 0..2007_usize, bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY])) {
        let file = file(&model(), |values| values[at] = bad);
        let fault = check(model(), &file, &places(&cuts, file.len()));
        let (tensor, index) = if at < 2000 { ("w", at) } else { ("b", at - 2000) };
        prop_assert_eq!(fault, Err(UpdateFault::NotFinite(NotFinite { tensor: tensor.into(), index })));
    }

    #[test]
    fn garbage_is_never_an_update(bytes in prop::collection::vec(any::<u8>(), 0..300), cuts in cuts()) {
        prop_assert!(check(model(), &bytes, &places(&cuts, bytes.len())).is_err());
    }
}

#[test]
fn every_single_byte_as_a_piece() {
    let file = file(&model(), |_| {});
    let cuts: Vec<usize> = (1..file.len()).collect();
    assert!(check(model(), &file, &cuts).is_ok());
}

#[test]
fn wrong_shapes_are_explained() {
    let say = |update: &Arc<Layout>| check(model(), &file(update, |_| {}), &[10]).unwrap_err().to_string();
    let start = "the update does not have the model's shape: ";
    assert_eq!(
        say(&layout(&[("w", &[50, 40]), ("b", &[7])])),
        format!("{start}tensor 1 should be `w` [40, 50], but is `w` [50, 40]")
    );
    assert_eq!(say(&layout(&[("w", &[40, 50])])), format!("{start}tensor `b` [7] is missing"));
}

#[test]
fn headers_that_only_look_right_are_refused() {
    let good = file(&model(), |_| {});
    let with_spaces = {
        let json_bytes = u64::from_le_bytes(*good.first_chunk().unwrap()) + 8;
        let data = model().data_offset() as usize;
        [&json_bytes.to_le_bytes(), &good[8..data], &[b' '; 8], &good[data..]].concat()
    };
    let fault = check(model(), &with_spaces, &[]).unwrap_err();
    assert!(fault.to_string().contains("not in canonical form"), "{fault}");

    let huge = [&(1_u64 << 40).to_le_bytes(), &good[8..]].concat();
    assert!(check(model(), &huge, &[]).unwrap_err().to_string().contains("at most 16777216"));
    let large = [&(1_u64 << 20).to_le_bytes(), &good[8..]].concat();
    assert!(check(model(), &large, &[]).unwrap_err().to_string().contains("its header has 1048584 bytes"));
    let broken = [&good[..8], b"x", &good[9..]].concat();
    let fault = check(model(), &broken, &[]).unwrap_err();
    assert!(fault.to_string().contains("header is not valid: expected value at line 1"), "{fault}");
}

#[test]
fn lengths_must_be_exact() {
    let good = file(&model(), |_| {});
    let expected = good.len() as u64;
    for got in [0, 5, 8, 100, good.len() - 5, good.len() - 1] {
        let fault = check(model(), &good[..got], &[]);
        assert_eq!(fault, Err(UpdateFault::TooShort { expected, got: got as u64 }));
    }
    let longer = [good.as_slice(), &[0]].concat();
    for cuts in [&[][..], &[good.len()]] {
        assert_eq!(check(model(), &longer, cuts), Err(UpdateFault::TooLong { expected }));
    }
}

#[test]
fn a_fault_is_final() {
    let bad = file(&model(), |values| values[3] = f32::NAN);
    let mut check = UpdateCheck::new(model());
    let fault = check.feed(&bad).unwrap_err();
    assert_eq!(check.feed(&[0; 4]), Err(fault.clone()));
    assert_eq!(check.finish(), Err(fault));
}
