//! Stand-ins for content: digests that depend on exactly what the real content would depend on.

use polder_core::{Digest, RoundNumber, WorkerName};

/// What the worker's training gives: the same for the same worker, round and base, whatever happened meanwhile.
#[must_use]
pub fn update_digest(worker: &WorkerName, round: RoundNumber, base: &Digest) -> Digest {
    digest(&[b"update", worker.as_str().as_bytes(), &round.to_le_bytes(), &base.bytes])
}

/// What aggregation gives: the same for the same base and the same updates, in the cohort's order.
#[must_use]
pub fn model_digest<'a>(base: &Digest, updates: impl IntoIterator<Item = (&'a WorkerName, &'a Digest)>) -> Digest {
    let mut parts: Vec<&[u8]> = vec![b"model", &base.bytes];
    for (worker, update) in updates {
        parts.push(worker.as_str().as_bytes());
        parts.push(&update.bytes);
    }
    digest(&parts)
}

/// 256 bits that depend on every byte: no cryptography, only different for what is different.
pub(crate) fn digest(parts: &[&[u8]]) -> Digest {
    let mut bytes = [0; 32];
    for (lane, out) in bytes.chunks_exact_mut(8).enumerate() {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ lane as u64;
        for part in parts {
            for byte in part.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
            hash ^= hash >> 29;
        }
        out.copy_from_slice(&hash.to_le_bytes());
    }
    Digest::blake3(bytes)
}
