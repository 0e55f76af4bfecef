//! BLAKE3 of a file that threads hash a stretch each.
//!
//! The hash is a binary tree over chunks of 1,024 bytes whose left subtrees are always full (section 2.1 of the BLAKE3
//! paper). A stretch starts at a multiple of its length, which is a power of two, so that it is a subtree.

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use polder_core::Digest;

use super::walk::Stretch;

/// The hash of one stretch, on its way.
pub(super) struct Subtree {
    hasher: Hasher,
    is_root: bool,
}

impl Subtree {
    pub(super) fn of(stretch: &Stretch) -> Self {
        let mut hasher = Hasher::new();
        hasher.set_input_offset(stretch.bytes.start);
        Self { hasher, is_root: stretch.is_all }
    }

    /// Takes the stretch's next floats, or header, as they lie in the file.
    pub(super) fn take(&mut self, words: &[f32]) {
        self.hasher.update(bytemuck::cast_slice(words));
    }

    pub(super) fn finish(self) -> ChainingValue {
        if self.is_root { *self.hasher.finalize().as_bytes() } else { self.hasher.finalize_non_root() }
    }
}

/// The digest of a file with these stretches, of which there is at least one.
pub(super) fn digest(stretches: &[ChainingValue]) -> Digest {
    match stretches {
        [root] => Digest::blake3(*root),
        _ => {
            let (left, right) = halves(stretches);
            Digest::blake3(*merge_subtrees_root(&merge(left), &merge(right), Mode::Hash).as_bytes())
        }
    }
}

fn merge(stretches: &[ChainingValue]) -> ChainingValue {
    match stretches {
        [only] => *only,
        _ => {
            let (left, right) = halves(stretches);
            merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

/// The left half is the largest power of two that leaves something for the right one.
fn halves(stretches: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    stretches.split_at(stretches.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregation::walk::Axis;

    #[test]
    fn stretches_add_up_to_the_hash_of_the_whole() {
        let words: Vec<f32> = (0..5000_u16).map(f32::from).collect();
        for length in [1, 255, 256, 257, 511, 512, 513, 1024, 1025, 1300, 4096, 4999, 5000] {
            let words = &words[..length];
            let expected = Digest::blake3(*blake3::hash(bytemuck::cast_slice(words)).as_bytes());
            for (stretch_bytes, tile_bytes) in [(1024, 1024), (2048, 1024), (4096, 2048), (65536, 4096)] {
                let axis = Axis { file_bytes: 4 * length as u64, stretch_bytes, tile_bytes, chunk_bytes: 1024 };
                let values: Vec<_> = (0..axis.stretches())
                    .map(|index| {
                        let stretch = axis.stretch(index);
                        let mut subtree = Subtree::of(&stretch);
                        for tile in stretch.tiles() {
                            subtree.take(&words[tile.start as usize / 4..tile.end as usize / 4]);
                        }
                        subtree.finish()
                    })
                    .collect();
                assert_eq!(digest(&values), expected, "{length} words in stretches of {stretch_bytes}");
            }
        }
    }
}
