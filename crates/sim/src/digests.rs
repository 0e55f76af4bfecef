//! Stand-ins for content: digests that depend on exactly what the real content would depend on.

use polder_core::policy::{AggregationTraits, Correction, PolicyRef, TrainingNeeds};
use polder_core::round::{Kept, StateTensor};
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

/// What the policies of these worlds say of themselves; versions of one name agree.
pub(crate) fn traits_of(policy: &PolicyRef) -> AggregationTraits {
    let with = |state_tensors, correction| AggregationTraits {
        has_step: state_tensors > 0,
        state_tensors,
        training: TrainingNeeds { correction, ..TrainingNeeds::default() },
        ..AggregationTraits::default()
    };
    match policy.name.as_str() {
        "fedadam" => with(2, None),
        "scaffold" => with(1, Some(Correction::ControlVariates { state_tensor: 0 })),
        _ => with(0, None),
    }
}

/// What a policy keeps when it has made `model`, from what it kept before.
pub(crate) fn kept_digests(policy: &PolicyRef, before: &Kept, model: &Digest) -> Kept {
    let before: Vec<&[u8]> = before.tensors.iter().map(|tensor| tensor.digest.bytes.as_slice()).collect();
    let before = before.concat();
    let tensor =
        |at: u32| StateTensor { digest: digest(&[b"state", &at.to_le_bytes(), &before, &model.bytes]), bytes: 400 };
    let tensors = (0..traits_of(policy).state_tensors).map(tensor).collect();
    Kept { tensors, state: model.bytes[..4].to_vec() }
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
