//! Who gets how many seats over many rounds.

use polder_core::policy::WorkerSnapshot;
use proptest::prelude::*;

use crate::federation::{play, worker};

fn workers(slots: &[u32]) -> Vec<WorkerSnapshot> {
    slots.iter().enumerate().map(|(index, &slots)| worker(index, slots)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The definition of round robin: whenever you stop, nobody is more than one seat ahead.
    #[test]
    fn round_robin_is_fair_to_one_seat(count in 1..8usize, rounds in 1..30u64, seats in 1..8u32) {
        let counts = play("round-robin", "{}", rounds, seats, &workers(&vec![1; count]));
        let total = rounds * u64::from(seats).min(count as u64);
        prop_assert_eq!(counts.iter().sum::<u64>(), total);
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
    }

    /// Over one cycle, as many seats as the sum of the weights, smooth weighted round robin serves every weight exactly.
    #[test]
    fn weighted_round_robin_serves_the_weights(weights in prop::collection::vec(1..7u32, 1..6), cycles in 1..3u64) {
        let sum: u32 = weights.iter().sum();
        let counts = play("weighted-round-robin", "{}", cycles * u64::from(sum), 1, &workers(&weights));
        let expected: Vec<u64> = weights.iter().map(|&weight| cycles * u64::from(weight)).collect();
        prop_assert_eq!(&counts, &expected);
        // the same weights as parameters, on workers of one slot
        let named: Vec<_> = weights.iter().enumerate().map(|(at, weight)| format!("\"worker-{at:03}\": {weight}")).collect();
        let parameters = format!("{{\"weights\": {{{}}}}}", named.join(", "));
        let slots = vec![1; weights.len()];
        let counts = play("weighted-round-robin", &parameters, cycles * u64::from(sum), 1, &workers(&slots));
        prop_assert_eq!(&counts, &expected);
    }

    /// With more seats a round than one, weights that fit into a round are still served, to a seat a worker.
    #[test]
    fn weighted_round_robin_shares_wide_rounds(seats in 1..4u32) {
        let weights = [4, 3, 3, 2, 2, 1, 1];
        let counts = play("weighted-round-robin", "{}", 64, seats, &workers(&weights));
        let total = f64::from(seats) * 64.0;
        for (count, weight) in counts.iter().zip(weights) {
            let share = total * f64::from(weight) / 16.0;
            prop_assert!((*count as f64 - share).abs() <= 2.0, "{:?} of {}", counts, total);
        }
    }

    /// Where all are idle, those with the fewest rounds are next: as fair as taking turns.
    #[test]
    fn least_connections_takes_turns_among_idle_workers(count in 1..8usize, rounds in 1..30u64, seats in 1..8u32) {
        let counts = play("least-connections", "{}", rounds, seats, &workers(&vec![2; count]));
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
    }
}

#[test]
fn a_weight_too_large_for_wide_rounds_starves_nobody() {
    let counts = play("weighted-round-robin", r#"{"weights": {"worker-000": 1000}}"#, 50, 2, &workers(&[1; 3]));
    assert_eq!(counts, [50, 25, 25]);
}
