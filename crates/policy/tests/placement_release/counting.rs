//! Counting what random draws give.

use std::collections::BTreeMap;

use polder_core::WorkerName;

use crate::federation::{HOST, ours, question, worker};

/// Pearson's statistic against equal shares.
fn chi_square(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum()
}

/// Every ordered pair of seats out of five workers, over `rounds` seeds.
fn pairs(rounds: u64) -> Vec<u64> {
    let policy = ours("uniform-random");
    let mut counts: BTreeMap<Vec<WorkerName>, u64> = BTreeMap::new();
    for seed in 0..rounds {
        let asked = question(seed, 2, (0..5).map(|index| worker(index, 1)).collect());
        let answer = HOST.place(&policy, "{}", &asked).unwrap();
        let pair = answer.assignments.into_iter().map(|seat| seat.worker).collect();
        *counts.entry(pair).or_default() += 1;
    }
    counts.into_values().collect()
}

/// 20 ordered pairs: 19 degrees of freedom, of which 99.9% stay below 43.8 (Abramowitz and Stegun, table 26.8). The seeds are
/// fixed, so this passes always or never.
#[test]
fn uniform_random_draws_every_pair_as_often() {
    let counts = pairs(4000);
    assert_eq!(counts.len(), 20, "some pair was never drawn");
    let statistic = chi_square(&counts);
    assert!(statistic < 43.8, "chi-square {statistic:.1}: {counts:?}");
}

/// Seeds of a real run are not 0, 1, 2 but any 64 bits; both must do.
#[test]
fn uniform_random_takes_any_seed() {
    let policy = ours("uniform-random");
    let mut counts = [0; 8];
    for round in 0..2000u64 {
        let seed = round.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(17);
        let asked = question(seed, 1, (0..8).map(|index| worker(index, 1)).collect());
        let answer = HOST.place(&policy, "{}", &asked).unwrap();
        let at = asked.workers.iter().position(|worker| worker.name == answer.assignments[0].worker).unwrap();
        counts[at] += 1;
    }
    // 7 degrees of freedom, 99.9%
    assert!(chi_square(&counts) < 24.3, "{counts:?}");
}
