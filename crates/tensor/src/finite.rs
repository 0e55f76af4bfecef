//! Finds values that are no numbers, at the speed of memory.

/// Where the first NaN or infinite value of a model or an update is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor `{tensor}` has a value that is not finite, at index {index}")]
pub struct NotFinite {
    pub tensor: String,
    /// Place in the tensor, counted over all its dimensions in row-major order.
    pub index: usize,
}

/// The bits of an f32 that are all set in NaNs and infinities, and in nothing else.
const EXPONENT: u32 = 0x7f80_0000;
/// Bytes looked at together before asking whether one of them was bad; small enough for the first-level cache.
const BLOCK_BYTES: usize = 4096;

/// The first of `values` that is NaN or infinite.
#[must_use]
pub fn first_non_finite(values: &[f32]) -> Option<usize> {
    first_non_finite_le(bytemuck::cast_slice(values))
}

/// The same for little-endian f32 as they lie in a file; bytes after the last whole value are not looked at.
#[must_use]
pub fn first_non_finite_le(bytes: &[u8]) -> Option<usize> {
    for (block, chunk) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let floats = chunk.as_chunks::<4>().0;
        // No early exit inside a block, so that the compiler compares a whole vector register at a time.
        let bad = floats.iter().fold(false, |bad, float| bad | is_bad(*float));
        if bad {
            let within = floats.iter().position(|float| is_bad(*float))?;
            return Some(block * (BLOCK_BYTES / 4) + within);
        }
    }
    None
}

#[inline]
fn is_bad(float: [u8; 4]) -> bool {
    u32::from_le_bytes(float) & EXPONENT == EXPONENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any bits, so that NaNs of every kind, infinities, subnormals and zeros of both signs come up.
        #[test]
        fn agrees_with_is_finite(bits in prop::collection::vec(any::<u32>(), 0..3000)) {
            let values: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
            prop_assert_eq!(first_non_finite(&values), values.iter().position(|value| !value.is_finite()));
        }

        #[test]
        fn finds_the_only_bad_one(length in 1..5000_usize, at in any::<prop::sample::Index>(), negative: bool) {
            let mut values = vec![f32::MAX; length];
            let at = at.index(length);
            values[at] = if negative { f32::NEG_INFINITY } else { f32::NAN };
            prop_assert_eq!(first_non_finite(&values), Some(at));
        }
    }

    #[test]
    fn looks_only_at_whole_values() {
        assert_eq!(first_non_finite_le(&[0xff; 3]), None);
        assert_eq!(first_non_finite_le(&[0xff; 7]), Some(0));
    }
}
