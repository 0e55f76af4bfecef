//! When two results count as the same.

/// Whether every value differs by at most `share` of `scale`.
pub(crate) fn assert_close(found: &[f32], expected: &[f64], share: f64, scale: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(found) - expected).abs();
        assert!(off <= share * scale, "{what}, value {index}: {found} where {expected} is right, off by {off:e}");
    }
}

/// The largest absolute value of all, at least a little.
pub(crate) fn scale<'a>(vectors: impl IntoIterator<Item = &'a Vec<f64>>) -> f64 {
    vectors.into_iter().flatten().fold(1e-30, |largest, value| value.abs().max(largest))
}
