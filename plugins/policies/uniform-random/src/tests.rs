use super::*;
use polder_policy_sdk::placement::{Demand, Worker};

#[test]
fn numbers_are_splitmix64s() {
    let mut draw = Draw::new(1_234_567);
    assert_eq!([draw.next(), draw.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
}

#[test]
fn numbers_stay_below_their_bound_and_reach_all_of_it() {
    let mut draw = Draw::new(3);
    for bound in 1..9 {
        let seen: std::collections::BTreeSet<u64> = (0..300).map(|_| draw.below(bound)).collect();
        assert_eq!(seen, (0..bound).collect());
    }
    assert_eq!(draw.below(0), 0);
    let half = 1 << 63;
    assert!((0..100).any(|_| draw.below(half + 1) > half / 2));
}

#[test]
fn the_seed_decides_and_a_replay_draws_the_same() {
    let workers: Vec<_> = (0..20).map(|index| Worker::idle(&format!("worker-{index:02}"), 1)).collect();
    let everyone: Vec<u32> = (0..20).collect();
    let place = |seed| {
        let demands = vec![Demand::new(8, 1, &everyone), Demand::new(8, 1, &everyone), Demand::new(8, 5, &everyone)];
        let question = Question { seed, ..Question::new(demands, workers.clone()) };
        UniformRandom::place(question, Parameters {}).unwrap()
    };
    let answer = place(1);
    assert_eq!(answer, place(1));
    assert_ne!(answer, place(2));
    let mut seated: Vec<_> = answer.assignments.iter().map(|seat| seat.worker).collect();
    assert_eq!(seated.len(), 16);
    seated.sort_unstable();
    seated.dedup();
    assert_eq!(seated.len(), 16, "a worker with one slot got two seats");
    assert_eq!(answer.declined[0].demand, 2);
    assert_eq!(answer.assignments[0].reason, "drawn at random, 1 of 20");
}
