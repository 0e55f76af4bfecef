use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::*;

fn layout(specs: &[(&str, &[usize])]) -> Result<Layout, LayoutError> {
    Layout::new(specs.iter().map(|(name, shape)| TensorSpec::new(*name, *shape)).collect())
}

/// A file prefix around any JSON.
fn prefix(json: &str) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
}

fn refusal(json: &str) -> String {
    let error = Layout::parse(&prefix(json)).unwrap_err();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let shape = prop::collection::vec(1..5_usize, 0..4);
    prop::collection::btree_map("[a-zé\"\\\\.0-9]{1,12}", shape, 1..6)
        .prop_map(|specs| specs.into_iter().map(|(name, shape)| TensorSpec::new(name, shape)).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(|specs| Layout::new(specs).unwrap())
}

#[test]
fn header_is_the_documented_one() {
    let layout = layout(&[("b", &[2, 3]), ("a", &[])]).unwrap();
    let json = r#"{"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"a":{"dtype":"F32","shape":[],"data_offsets":[24,28]}}"#;
    let padded = format!("{json:<width$}", width = json.len().next_multiple_of(8));
    assert_eq!(layout.header(), prefix(&padded));
    assert_eq!(layout.parameter_count(), 7);
    assert_eq!(layout.file_bytes(), layout.data_offset() + 28);
    assert_eq!(layout.span("a"), Some(6..7));
    assert_eq!(layout.span("c"), None);
    assert_eq!(layout.locate(4).map(|(spec, index)| (spec.name.as_str(), index)), Some(("b", 4)));
    assert_eq!(layout.locate(6).map(|(spec, index)| (spec.name.as_str(), index)), Some(("a", 0)));
    assert_eq!(layout.locate(7), None);
    assert_eq!(layout.tensor_at(4), Some((0, 0..6)));
    assert_eq!(layout.tensor_at(6), Some((1, 6..7)));
    assert_eq!(layout.tensor_at(7), None);
}

#[test]
fn reads_what_other_writers_write() {
    // Keys in another order than the data, metadata in between, other white space.
    let json = r#" { "b" : {"shape":[1],"data_offsets":[8,12],"dtype":"F32"},
        "__metadata__":{"format":"pt"}, "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]} }"#;
    assert_eq!(Layout::parse(&prefix(json)).unwrap(), layout(&[("a", &[2]), ("b", &[1])]).unwrap());

    let bytes = [0_u8; 24];
    let views = ["x", "y"].map(|name| (name, TensorView::new(Dtype::F32, vec![3], &bytes[..12]).unwrap()));
    let file = safetensors::serialize(views, None).unwrap();
    let expected = layout(&[("x", &[3]), ("y", &[3])]).unwrap();
    assert_eq!(Layout::parse(&file).unwrap(), expected);
    assert_eq!(&file[..expected.header().len()], expected.header());
}

#[test]
fn bounds_are_kept() {
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    for (specs, message) in [
        (vec![], "a model needs at least one tensor"),
        (vec![("a", vec![1]), ("a", vec![2])], "tensor `a` is named twice"),
        (vec![("__metadata__", vec![1])], "`__metadata__` and the empty name cannot name a tensor"),
        (vec![("", vec![1])], "`__metadata__` and the empty name cannot name a tensor"),
        (vec![("a", vec![3, 0])], "tensor `a` [3, 0] has no elements; leave it out"),
        (vec![("a", vec![1; RANK_MAX + 1])], "tensor `a` has more than 32 dimensions"),
        (vec![("a", vec![usize::MAX, 2])], "takes the model beyond 274877906944 parameters"),
        (vec![("a", vec![1 << 38]), ("b", vec![1])], "tensor `b` [1] takes the model beyond 274877906944 parameters"),
        (vec![(&long, vec![1])], "has 257 bytes; at most 256 are allowed"),
    ] {
        let specs = specs.into_iter().map(|(name, shape)| TensorSpec::new(name, shape)).collect();
        let error = Layout::new(specs).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
    }
    let many = (0..=TENSORS_MAX).map(|n| TensorSpec::new(n.to_string(), [1])).collect();
    assert!(matches!(Layout::new(many), Err(LayoutError::TooManyTensors)));
    let wide = |n: usize| TensorSpec::new(format!("{n:0>256}"), [1]);
    let heavy = (0..TENSORS_MAX).map(wide).collect();
    assert!(matches!(Layout::new(heavy), Err(LayoutError::HeaderTooLong { .. })));
}

#[test]
fn hostile_headers_are_refused_with_a_reason() {
    for (json, message) in [
        ("", "the safetensors header is not valid: EOF"),
        ("[]", "invalid type: sequence, expected a safetensors header"),
        ("{}", "a model needs at least one tensor"),
        (r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#, "tensor `a` is F64; only F32 is exchanged"),
        (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, "invalid value: integer `-1`"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, "leave holes, overlap or do not fit"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, "leave holes, overlap or do not fit"),
        (r#"{"a":{"dtype":"F32","shape":[4,4611686018427387904],"data_offsets":[0,0]}}"#, "leave holes"),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            "leave holes, overlap or do not fit",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            "tensor `a` is named twice",
        ),
    ] {
        let error = refusal(json);
        assert!(error.contains(message), "{json}: {error:?} does not say {message:?}");
    }
    assert!(matches!(Layout::parse(&[0; 7]), Err(LayoutError::HeaderTruncated { bytes: 7 })));
    assert!(matches!(Layout::parse(&100_u64.to_le_bytes()), Err(LayoutError::HeaderTruncated { bytes: 8 })));
    assert!(matches!(Layout::parse(&[0xff; 16]), Err(LayoutError::HeaderTooLong { bytes: u64::MAX })));
}

#[test]
fn differences_are_said_in_words() {
    let ours = layout(&[("a", &[2]), ("b", &[3])]).unwrap();
    let say = |specs: &[(&str, &[usize])]| ours.difference(&layout(specs).unwrap());
    assert_eq!(say(&[("a", &[2]), ("b", &[3])]), None);
    assert_eq!(say(&[("a", &[2]), ("b", &[4])]).unwrap(), "tensor 2 should be `b` [3], but is `b` [4]");
    assert_eq!(say(&[("a", &[2])]).unwrap(), "tensor `b` [3] is missing");
    assert_eq!(say(&[("a", &[2]), ("b", &[3]), ("c", &[])]).unwrap(), "tensor `c` [] does not belong there");
}

proptest! {
    #[test]
    fn header_round_trips(layout in any_layout()) {
        prop_assert_eq!(&Layout::parse(layout.header()).unwrap(), &layout);
        // The reference implementation reads the whole file.
        let file = [layout.header(), &vec![0; layout.parameter_count() as usize * 4]].concat();
        let reference = SafeTensors::deserialize(&file).unwrap();
        for spec in layout.specs() {
            let view = reference.tensor(&spec.name).unwrap();
            prop_assert_eq!(view.shape(), spec.shape.as_slice());
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Layout::parse(&bytes);
        let _ = Layout::parse(&prefix(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn damaged_headers_never_panic(layout in any_layout(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut header = layout.header().to_vec();
        let at = at.index(header.len());
        header[at] = byte;
        // What is still accepted is a layout like any other.
        if let Ok(parsed) = Layout::parse(&header) {
            prop_assert_eq!(Layout::parse(parsed.header()).unwrap(), parsed);
        }
    }
}
