//! Regions whose mixes of labels differ.

use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};

use super::DataSetError;
use crate::rng::{Purpose, rng};

/// The indices that each of `parts` regions gets; see [`DataSet::dirichlet_split`](super::DataSet::dirichlet_split).
/// Parts differ in size by one example at most, and none is empty.
pub fn dirichlet_split(labels: &[u32], parts: usize, alpha: f64, seed: u64) -> Result<Vec<Vec<usize>>, DataSetError> {
    if parts == 0 || labels.len() < parts {
        return Err(DataSetError::TooFew { examples: labels.len(), parts });
    }
    if !(1e-3..=1e6).contains(&alpha) {
        return Err(DataSetError::Alpha { alpha });
    }
    let mut rng = rng(seed, Purpose::LabelSkew);
    let mut pools = shuffled_pools(labels, &mut rng);
    // Shares of the whole, scaled to 1 on average, so that `alpha` means the same however many classes there are.
    let scale = pools.len() as f64 / labels.len() as f64;
    let prior: Vec<f64> = pools.iter().map(|pool| pool.len() as f64 * scale).collect();

    let mut split = Vec::with_capacity(parts);
    for part in 0..parts {
        let size = labels.len() / parts + usize::from(part < labels.len() % parts);
        let mix = dirichlet(&prior, alpha, &mut rng);
        split.push((0..size).filter_map(|_| draw(&mut pools, &mix, &mut rng)).collect());
    }
    Ok(split)
}

/// The examples of each class that occurs, in random order.
fn shuffled_pools(labels: &[u32], rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut by_label = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for (index, label) in labels.iter().enumerate() {
        by_label.entry(*label).or_default().push(index);
    }
    let mut pools: Vec<Vec<usize>> = by_label.into_values().collect();
    for pool in &mut pools {
        pool.shuffle(rng);
    }
    pools
}

/// Weights of the classes from Dirichlet(`alpha` · `prior`), as normalised gamma variables. Not `rand_distr::Dirichlet`:
/// it wants two classes at least, and gives NaN where every gamma variable is too small for a float.
fn dirichlet(prior: &[f64], alpha: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let gamma = |weight: &f64| Gamma::new(alpha * weight, 1.0).map_or(0.0, |gamma| gamma.sample(rng));
    let weights: Vec<f64> = prior.iter().map(gamma).collect();
    let total: f64 = weights.iter().sum();
    if total > 0.0 { weights.iter().map(|weight| weight / total).collect() } else { prior.to_vec() }
}

/// Takes one example of a class drawn by `mix` from those that have examples left, or by what is left where the mix
/// gives none of them any weight; `None` once there are no examples.
fn draw(pools: &mut [Vec<usize>], mix: &[f64], rng: &mut ChaCha8Rng) -> Option<usize> {
    let left = pools.iter().map(|pool| pool.len() as f64);
    let wanted = left.clone().zip(mix).map(|(left, weight)| if left > 0.0 { *weight } else { 0.0 });
    let classes = WeightedIndex::new(wanted).or_else(|_| WeightedIndex::new(left)).ok()?;
    pools[classes.sample(rng)].pop()
}
