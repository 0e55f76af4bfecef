//! What the inner products of all pairs of updates tell: norms, distances and cosines, and the aggregation rules that need no more
//! (Krum's scores, the geometric median).

use crate::Error;
use crate::aggregation::Question;

#[cfg(test)]
mod tests;

/// The inner products of K updates. Wherever this says index, it is that of the update in the question.
#[derive(Clone, Copy, Debug)]
pub struct Products<'a> {
    count: usize,
    /// Row by row.
    values: &'a [f64],
}

impl<'a> Products<'a> {
    /// Those of a question.
    ///
    /// # Errors
    /// The policy did not ask for products, or they are not as many as pairs.
    pub fn of(question: &'a Question) -> Result<Self, Error> {
        Self::new(question.updates.len(), &question.statistics.products)
    }

    /// `count * count` values, row by row.
    ///
    /// # Errors
    /// There are not as many.
    pub fn new(count: usize, values: &'a [f64]) -> Result<Self, Error> {
        if count.checked_mul(count) == Some(values.len()) {
            return Ok(Self { count, values });
        }
        Err(Error::Question(format!("{} inner products were given for {count} updates", values.len())))
    }

    /// How many updates there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The inner product of two updates.
    pub fn product(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.count + j]
    }

    /// The L2 norm of an update.
    pub fn norm(&self, i: usize) -> f64 {
        self.product(i, i).max(0.0).sqrt()
    }

    /// The square of the distance between two updates.
    pub fn distance_squared(&self, i: usize, j: usize) -> f64 {
        (self.product(i, i) - 2.0 * self.product(i, j) + self.product(j, j)).max(0.0)
    }

    /// The cosine of the angle between two updates, -1 to 1; 0 if one of them is zero.
    pub fn cosine(&self, i: usize, j: usize) -> f64 {
        cosine(self.product(i, j), self.norm(i), self.norm(j))
    }

    /// The sum of all updates, each times its coefficient.
    pub fn combination(self, coefficients: Vec<f64>) -> Combination<'a> {
        let row = |i: usize| &self.values[i * self.count..(i + 1) * self.count];
        let products: Vec<f64> = (0..self.count).map(|i| dot(row(i), &coefficients)).collect();
        let norm_squared = dot(&products, &coefficients).max(0.0);
        Combination { products_of_updates: self, coefficients, products, norm_squared }
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

fn cosine(product: f64, left: f64, right: f64) -> f64 {
    if left > 0.0 && right > 0.0 { (product / left / right).clamp(-1.0, 1.0) } else { 0.0 }
}

/// A vector that is a sum of multiples of the updates.
#[derive(Clone, Debug)]
pub struct Combination<'a> {
    products_of_updates: Products<'a>,
    coefficients: Vec<f64>,
    /// Its inner product with every update.
    products: Vec<f64>,
    norm_squared: f64,
}

impl Combination<'_> {
    /// One coefficient an update.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Its L2 norm.
    pub fn norm(&self) -> f64 {
        self.norm_squared.sqrt()
    }

    /// The distance to an update.
    pub fn distance(&self, i: usize) -> f64 {
        let squared = self.norm_squared - 2.0 * self.products[i] + self.products_of_updates.product(i, i);
        squared.max(0.0).sqrt()
    }

    /// The cosine of the angle to an update, -1 to 1; 0 if one of them is zero.
    pub fn cosine(&self, i: usize) -> f64 {
        cosine(self.products[i], self.norm(), self.products_of_updates.norm(i))
    }
}

/// Krum's score of each of `members` (P. Blanchard et al., *Machine Learning with Adversaries*, NIPS 2017, section 4): the sum of the
/// squared distances to its n - f - 2 nearest others among them, of n members with f of them malicious; at least to the nearest one.
pub fn krum_scores(products: Products<'_>, members: &[usize], malicious: usize) -> Vec<f64> {
    let nearest = members.len().saturating_sub(malicious.saturating_add(2)).max(1);
    let score = |&member: &usize| {
        let others = members.iter().filter(|&&other| other != member);
        let mut distances: Vec<f64> = others.map(|&other| products.distance_squared(member, other)).collect();
        distances.sort_unstable_by(f64::total_cmp);
        distances.iter().take(nearest).sum()
    };
    members.iter().map(score).collect()
}

/// Fewest updates with which Krum can tell up to `malicious` of them from the others: `2 malicious + 3`.
///
/// # Errors
/// [`Error::Parameters`] where that is no number of updates.
pub fn krum_updates_min(malicious: u32) -> Result<u32, Error> {
    let updates = malicious.checked_mul(2).and_then(|updates| updates.checked_add(3));
    updates.ok_or_else(|| Error::Parameters(format!("num_malicious_clients is {malicious}; that many are never there")))
}

/// Refuses a question with too few updates. The host does too, where the traits said how many it takes.
///
/// # Errors
/// [`Error::Question`] with both numbers.
pub fn require_updates(count: usize, updates_min: u32) -> Result<(), Error> {
    if count >= updates_min as usize {
        return Ok(());
    }
    Err(Error::Question(format!("there are {count} updates; these parameters take {updates_min} at least")))
}

/// Which entry is the smallest, the first of several.
pub fn smallest(scores: &[f64]) -> Option<usize> {
    (0..scores.len()).min_by(|&a, &b| scores[a].total_cmp(&scores[b]))
}

/// When the search for a geometric median ends, and what keeps it from dividing by nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weiszfeld {
    /// Most iterations.
    pub maxiter: u32,
    /// Distances count as at least this, above 0.
    pub eps: f64,
    /// The search ends once an iteration moves the point by less than this share of its median distance to the updates. (How much
    /// the sum of distances falls would say nothing beside one update that is very far away.)
    pub tolerance: f64,
}

/// The point with the smallest sum of distances to the updates, each distance times its share, as shares of the updates, and the
/// iterations it took: the smoothed Weiszfeld algorithm of K. Pillutla et al., *Robust Aggregation for Federated Learning*, IEEE TSP
/// 2022, Algorithm 2, from the mean.
pub fn geometric_median<'a>(products: Products<'a>, shares: &[f64], search: Weiszfeld) -> (Combination<'a>, u32) {
    let mut point = products.combination(shares.to_vec());
    for iteration in 1..=search.maxiter {
        let mut distances: Vec<f64> = (0..shares.len()).map(|i| point.distance(i).max(search.eps)).collect();
        let pulls: Vec<f64> = shares.iter().zip(&distances).map(|(share, distance)| share / distance).collect();
        let whole: f64 = pulls.iter().sum();
        let next: Vec<f64> = pulls.iter().map(|pull| pull / whole).collect();
        let change = next.iter().zip(point.coefficients()).map(|(next, last)| next - last).collect();
        let moved = products.combination(change).norm();
        point = products.combination(next);
        if moved <= search.tolerance * median(&mut distances) {
            return (point, iteration);
        }
    }
    (point, search.maxiter)
}

/// The middle value, of an even count the larger of the two in the middle; 0 of none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
