//! What a release policy may have done to an update, natively: clip, noise, precision, in this order.

use half::{bf16, f16};
use polder_core::policy::{Precision, Treatment};
use rand::rngs::{SysError, SysRng};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rand_distr::StandardNormal;

/// Why a treated update cannot be sent. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the machine gives no randomness for its noise: {0}")]
    NoRandomness(#[from] SysError),
    #[error("with the noise asked for, or rounded to {0}, a value is no finite number any more")]
    NotFinite(&'static str),
}

/// L2 norm and largest absolute value, in float64.
pub(super) fn measure(values: &[f32]) -> (f64, f64) {
    let (mut squares, mut largest) = (0.0_f64, 0.0_f32);
    for value in values {
        squares += f64::from(*value) * f64::from(*value);
        largest = largest.max(value.abs());
    }
    (squares.sqrt(), largest.into())
}

/// Treats an update of the L2 norm `norm`. The noise is from ChaCha20 with a key from the operating system: nobody who knows
/// a seed of ours can subtract it.
pub(super) fn treat(values: &mut [f32], norm: f64, treatment: &Treatment) -> Result<(), Unfit> {
    if let Some(clip) = treatment.clip.filter(|clip| norm > *clip) {
        let scale = clip / norm;
        values.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
    }
    if let Some(deviation) = treatment.noise.filter(|deviation| *deviation > 0.0) {
        add_noise(values, deviation, &mut ChaCha20Rng::try_from_rng(&mut SysRng)?);
    }
    let precision = match treatment.precision {
        Precision::Float32 => "float32",
        Precision::Float16 => {
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
            "float16"
        }
        Precision::Bfloat16 => {
            values.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32());
            "bfloat16"
        }
    };
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Unfit::NotFinite(precision));
    }
    Ok(())
}

fn add_noise(values: &mut [f32], deviation: f64, rng: &mut impl RngExt) {
    for value in values {
        let sample: f64 = rng.sample(StandardNormal);
        *value = (f64::from(*value) + deviation * sample) as f32;
    }
}

#[cfg(test)]
mod tests;
