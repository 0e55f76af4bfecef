use super::*;

fn part(length: usize, states: usize) -> Part {
    let list = |shift: f32| (0..length).map(|i| (i as f32 * 0.37 + shift).sin()).collect::<Vec<f32>>();
    Part {
        model: list(0.0),
        aggregate: list(1.0),
        extra: Vec::new(),
        state: (0..states).map(|state| list(2.0 + state as f32).iter().map(|x| x.abs()).collect()).collect(),
    }
}

#[test]
fn blocks_and_what_is_left_of_them_give_the_same() {
    for length in [0, 1, 15, 16, 17, 64, 100] {
        let before = part(length, 1);
        let mut after = before.clone();
        descend(&mut after, 0.5, 0.9, true).unwrap();
        for i in 0..length {
            let m = 0.9 * before.state[0][i] + before.aggregate[i];
            assert_eq!(after.state[0][i], m);
            assert_eq!(after.model[i], before.model[i] + 0.5 * (before.aggregate[i] + 0.9 * m));
        }
    }
}

#[test]
fn yogi_moves_towards_the_square_and_stays_where_it_is_reached() {
    let mut part = Part {
        model: vec![0.0; 3],
        aggregate: vec![1.0, 2.0, 3.0],
        extra: Vec::new(),
        state: vec![vec![0.0; 3], vec![1.0, 1.0, 10.0]],
    };
    adapt(&mut part, 1.0, 0.0, 0.0, Squares::Yogi { beta_2: 0.5 }).unwrap();
    assert_eq!(part.state[1], [1.0, 3.0, 5.5]);
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    assert!(matches!(descend(&mut part(5, 2), 1.0, 0.0, false), Err(Error::Question(_))));
    let mut short = part(5, 1);
    short.aggregate.pop();
    assert!(matches!(descend(&mut short, 1.0, 0.0, false), Err(Error::Question(_))));
}
