//! What each worker is owed.

use std::collections::BTreeMap;

use polder_policy_sdk::placement::Worker;

/// Most workers whose credits are kept: 64 KiB of 16 bytes each.
const KEPT_MAX: usize = 4096;
const ENTRY_BYTES: usize = 16;
/// Credit beyond this many sums of all weights is forgotten. Among workers that are always there it grows like the logarithm of their
/// number and stays below.
const SUMS_KEPT: i64 = 8;

/// Credits by index into the question's workers.
pub(crate) struct Credits(Vec<i64>);

impl Credits {
    /// Those of `state`; 0 for who is not in it.
    pub(crate) fn read(state: &[u8], workers: &[Worker], weights: &[i64]) -> Self {
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        let kept: BTreeMap<u64, i64> = state
            .chunks_exact(ENTRY_BYTES)
            .map(|entry| (number(&entry[..8]), number(&entry[8..]).cast_signed()))
            .collect();
        let limit = SUMS_KEPT * weights.iter().sum::<i64>();
        let credit = |worker: &Worker| kept.get(&key(&worker.name)).map_or(0, |&credit| credit.clamp(-limit, limit));
        Self(workers.iter().map(credit).collect())
    }

    /// One seat: all that `share` the round's seats earn, and whoever of them is still `open` and owed most has the turn and
    /// pays. None if nobody is open.
    pub(crate) fn next_turn(&mut self, share: &[u32], open: &[u32], weights: &[i64]) -> Option<u32> {
        for &worker in share {
            self.0[worker as usize] += weights[worker as usize];
        }
        // the first of equals, and so the first by name
        let winner = open.iter().copied().min_by_key(|&worker| -self.0[worker as usize])?;
        self.0[winner as usize] -= share.iter().map(|&worker| weights[worker as usize]).sum::<i64>();
        Some(winner)
    }

    pub(crate) fn of(&self, worker: u32) -> i64 {
        self.0[worker as usize]
    }

    /// As the next question's state; beyond [`KEPT_MAX`] those that are owed least, and owe least, start again at 0.
    pub(crate) fn write(&self, workers: &[Worker]) -> Vec<u8> {
        let mut kept: Vec<(u64, i64)> = workers
            .iter()
            .zip(&self.0)
            .filter(|(_, credit)| **credit != 0)
            .map(|(worker, &credit)| (key(&worker.name), credit))
            .collect();
        kept.sort_by_key(|&(key, credit)| (std::cmp::Reverse(credit.unsigned_abs()), key));
        kept.truncate(KEPT_MAX);
        kept.iter().flat_map(|(key, credit)| [key.to_le_bytes(), credit.to_le_bytes()]).flatten().collect()
    }
}

/// FNV-1a with 64 bits. Two workers of one key would share a credit, which is no worse than a wrong turn.
fn key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
