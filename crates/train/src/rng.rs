//! Seeded randomness: one ChaCha stream for each use, so that no two uses of a seed share numbers.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// What the numbers are for. The values are part of what a seed means: never change them.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    InitialParameters = 1,
    BatchOrder = 2,
    HeldOut = 3,
    LabelSkew = 4,
}

pub(crate) fn rng(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// `0..count` in random order.
pub(crate) fn shuffled(count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(rng);
    order
}
