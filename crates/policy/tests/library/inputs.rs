//! Updates to try: random ones, and those that break things: ties, zeros, copies, and outliers of 1e20.

use polder_core::policy::UpdateSummary;
use proptest::prelude::*;

use crate::federation::Sent;

/// What an update is like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A common direction, and noise about as long.
    Honest,
    /// Few different values, so that columns are full of ties.
    Coarse,
    Zero,
    /// The first update again.
    Copy,
    /// 1e20, in either sign.
    Outlier,
}

/// A sequence that looks random, from -1 to 1.
#[derive(Clone, Debug)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub(crate) fn list(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.next() as f32).collect()
    }
}

/// One round's updates: a seed, a length, and what each is like.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) seed: u64,
    pub(crate) length: usize,
    pub(crate) kinds: Vec<Kind>,
}

impl Plot {
    pub(crate) fn updates(&self) -> Vec<Sent> {
        let mut noise = Noise(self.seed);
        let common = noise.list(self.length);
        let mut sent: Vec<Sent> = Vec::new();
        for kind in &self.kinds {
            let mut fresh = noise.list(self.length);
            match kind {
                Kind::Honest => {
                    fresh.iter_mut().zip(&common).for_each(|(value, common)| *value = 0.7 * *value + common);
                }
                Kind::Coarse => fresh.iter_mut().for_each(|value| *value = (*value * 2.0).round() / 4.0),
                Kind::Zero => fresh.fill(0.0),
                Kind::Copy => fresh = sent.first().map_or(fresh, |first| first.values.clone()),
                Kind::Outlier => fresh.iter_mut().for_each(|value| *value = value.signum() * 1e20),
            }
            sent.push(Sent { summary: summary(&mut noise), values: fresh });
        }
        sent
    }
}

/// What a trainer with plain SGD reports.
fn summary(noise: &mut Noise) -> UpdateSummary {
    let mut positive = |most: f64| (noise.next().abs() * most).floor() + 1.0;
    let steps = positive(40.0);
    UpdateSummary {
        examples: positive(5000.0) as u64,
        loss: Some(positive(30.0) / 10.0),
        base_loss: Some(positive(50.0) / 10.0),
        staleness: positive(4.0) as u32 - 1,
        steps: Some(steps as u64),
        normalizer: Some(steps),
        learning_rate: Some(positive(10.0) / 100.0),
    }
}

fn plot(kind: impl Strategy<Value = Kind>, counts: std::ops::Range<usize>) -> impl Strategy<Value = Plot> {
    let length = prop_oneof![1..8usize, 60..70usize, 100..180usize];
    (any::<u64>(), length, prop::collection::vec(kind, counts)).prop_map(|(seed, length, kinds)| Plot {
        seed,
        length,
        kinds,
    })
}

/// Everything there is.
pub(crate) fn any_updates(counts: std::ops::Range<usize>) -> impl Strategy<Value = Plot> {
    let kind = prop_oneof![
        5 => Just(Kind::Honest),
        3 => Just(Kind::Coarse),
        1 => Just(Kind::Zero),
        2 => Just(Kind::Copy),
        2 => Just(Kind::Outlier),
    ];
    plot(kind, counts)
}

/// What honest workers may send.
pub(crate) fn tame_updates(counts: std::ops::Range<usize>) -> impl Strategy<Value = Plot> {
    let kind = prop_oneof![
        5 => Just(Kind::Honest),
        2 => Just(Kind::Coarse),
        1 => Just(Kind::Zero),
        2 => Just(Kind::Copy),
    ];
    plot(kind, counts)
}

/// The same updates in another order: by `seed`, and which came from where.
pub(crate) fn permuted(updates: &[Sent], seed: u64) -> Vec<Sent> {
    let mut noise = Noise(seed);
    let mut order: Vec<(f64, usize)> = (0..updates.len()).map(|index| (noise.next(), index)).collect();
    order.sort_by(|left, right| left.0.total_cmp(&right.0));
    order.into_iter().map(|(_, index)| updates[index].clone()).collect()
}
