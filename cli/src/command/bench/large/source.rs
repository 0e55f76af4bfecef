//! A large model, made piece by piece and always the same.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use polder_core::Digest;
use polder_core::spec::ModelSpec;
use polder_proto::CHUNK_BYTES;
use polder_tensor::{Layout, TensorSpec};

/// Tensors beside the large one.
const OTHERS: usize = 4;

#[derive(Clone)]
pub(super) struct Source {
    layout: Arc<Layout>,
    largest: usize,
}

impl Source {
    /// About `bytes` of parameters, three quarters of them in one tensor.
    pub(super) fn new(bytes: u64) -> Result<Self> {
        let parameters = usize::try_from(bytes / 4)?;
        let largest = parameters / 4 * 3;
        let others = parameters - largest;
        let mut specs = vec![TensorSpec::new("large.weight", [largest])];
        for index in 0..OTHERS {
            let share = others / OTHERS + usize::from(index < others % OTHERS);
            specs.push(TensorSpec::new(format!("{index}.weight"), [share]));
        }
        Ok(Self { layout: Arc::new(Layout::new(specs)?), largest })
    }

    /// Of the whole file.
    pub(super) fn bytes(&self) -> u64 {
        self.layout.file_bytes()
    }

    pub(super) fn largest_tensor_bytes(&self) -> u64 {
        4 * self.largest as u64
    }

    /// Makes the model once, for its digest.
    pub(super) fn spec(&self) -> ModelSpec {
        let mut hasher = blake3::Hasher::new();
        for piece in self.pieces() {
            hasher.update(&piece);
        }
        let digest = Digest::blake3(*hasher.finalize().as_bytes());
        ModelSpec { digest, bytes: self.bytes(), parameters: self.layout.parameter_count() }
    }

    /// The file, piece by piece.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Bytes> + Send + use<> {
        let header = Bytes::copy_from_slice(self.layout.header());
        let (mut left, mut state) = (self.layout.parameter_count(), 0x9e37_79b9_u32);
        let values = std::iter::from_fn(move || {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES / 4);
            left -= count as u64;
            (count > 0).then(|| piece(count, &mut state))
        });
        std::iter::once(header).chain(values)
    }
}

/// The next values, which do not compress.
fn piece(count: usize, state: &mut u32) -> Bytes {
    let mut bytes = Vec::with_capacity(4 * count);
    for _ in 0..count {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&((*state >> 8) as f32 / (1 << 24) as f32 - 0.5).to_le_bytes());
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use polder_tensor::UpdateCheck;

    use super::*;

    #[test]
    fn pieces_are_a_model_and_always_the_same() {
        let source = Source::new(3 << 20).unwrap();
        assert_eq!(source.largest_tensor_bytes(), 9 << 18);
        let mut check = UpdateCheck::new(source.layout.clone());
        source.pieces().for_each(|piece| check.feed(&piece).unwrap());
        assert_eq!(check.finish().unwrap(), source.spec().digest);
    }
}
