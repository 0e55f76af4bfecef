//! Features on one scale, by this site's training data alone.

use crate::dataset::{DataSet, Split};

/// Below this share of its mean, a feature's deviation is rounding and the feature a constant.
const CONSTANT: f64 = 1e-7;

/// Mean and standard deviation of one feature.
#[derive(Clone, Copy)]
struct Scale {
    mean: f64,
    deviation: f64,
}

/// Takes the mean of the training part off every feature of both parts and divides by its deviation there.
pub(super) fn standardise(split: &mut Split) {
    let scales = scales(&split.train);
    let apply = |feature: usize, value: f32| {
        let Scale { mean, deviation } = scales[feature];
        let scaled = (f64::from(value) - mean) / deviation;
        // What lies beyond f32 here was beyond belief before; it must not become infinite.
        scaled.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    };
    split.train.map_features(apply);
    if let Some(held_out) = &mut split.held_out {
        held_out.map_features(apply);
    }
}

fn scales(train: &DataSet) -> Vec<Scale> {
    let rows = || train.features().chunks_exact(train.feature_count());
    let examples = train.examples() as f64;
    let mut means = vec![0.0; train.feature_count()];
    for row in rows() {
        for (mean, value) in means.iter_mut().zip(row) {
            *mean += f64::from(*value) / examples;
        }
    }
    let mut variances = vec![0.0; train.feature_count()];
    for row in rows() {
        for ((variance, mean), value) in variances.iter_mut().zip(&means).zip(row) {
            *variance += (f64::from(*value) - mean).powi(2) / examples;
        }
    }
    let scale = |(mean, variance): (f64, f64)| match variance.sqrt() {
        deviation if deviation > CONSTANT * mean.abs() => Scale { mean, deviation },
        _ => Scale { mean, deviation: 1.0 },
    };
    means.into_iter().zip(variances).map(scale).collect()
}
