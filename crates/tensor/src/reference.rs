//! What robust and adaptive policies compute, natively. Nothing in a run uses it: the benchmark holds the sandbox against it.
//!
//! Each is there for the 128-bit vectors that every machine has, which are also WebAssembly's, and for AVX2.

use std::ops::Range;

/// How wide the vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 128 bits, where the machine has no more by default.
    Baseline,
    /// AVX2 if the machine has it.
    Widest,
}

/// Columns that are sorted at once.
const BAND: usize = 32;

/// Batcher's merge exchange (Knuth, TAOCP 3, 5.2.2, Algorithm M) without the comparisons that no wanted rank depends on.
#[derive(Clone, Debug)]
pub struct Network {
    rows: usize,
    ranks: Range<usize>,
    comparisons: Vec<(u16, u16)>,
}

impl Network {
    /// That which averages the `ranks`, from 0 for the smallest, of `rows` values, at most 65,536.
    ///
    /// # Panics
    /// When `ranks` is empty or goes beyond `rows`.
    #[must_use]
    pub fn new(rows: usize, ranks: Range<usize>) -> Self {
        assert!(!ranks.is_empty() && ranks.end <= rows && rows <= 1 << 16, "no such ranks");
        let mut matters: Vec<bool> = (0..rows).map(|rank| ranks.contains(&rank)).collect();
        let mut comparisons = merge_exchange(rows);
        comparisons.reverse();
        comparisons.retain(|(low, high)| {
            let places = [usize::from(*low), usize::from(*high)];
            let wanted = places.iter().any(|place| matters[*place]);
            places.iter().for_each(|place| matters[*place] |= wanted);
            wanted
        });
        comparisons.reverse();
        Self { rows, ranks, comparisons }
    }

    /// The median: of an even count the mean of the two in the middle.
    #[must_use]
    pub fn median(rows: usize) -> Self {
        Self::new(rows, rows.saturating_sub(1) / 2..rows / 2 + 1)
    }

    /// The mean without the `cut` smallest and the `cut` largest.
    #[must_use]
    pub fn trimmed_mean(rows: usize, cut: usize) -> Self {
        Self::new(rows, cut..rows.saturating_sub(cut))
    }

    /// The mean of the wanted ranks of every column.
    ///
    /// # Panics
    /// When there are not as many rows as the network is for, or one is not as long as `mean`.
    pub fn average(&self, rows: &[&[f32]], mean: &mut [f32], width: Width) {
        assert_eq!(rows.len(), self.rows, "the network is for another number of rows");
        assert!(rows.iter().all(|row| row.len() == mean.len()), "rows and mean differ in length");
        #[cfg(target_arch = "x86_64")]
        if width == Width::Widest && is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            #[allow(unsafe_code)]
            unsafe {
                self.average_avx2(rows, mean);
            }
            return;
        }
        let _ = width;
        self.average_by(rows, mean, exchange);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn average_avx2(&self, rows: &[&[f32]], mean: &mut [f32]) {
        self.average_by(rows, mean, |low, high| exchange_avx2(low, high));
    }

    #[inline(always)]
    fn average_by(&self, rows: &[&[f32]], mean: &mut [f32], exchange: impl Fn(&mut [f32; BAND], &mut [f32; BAND])) {
        let factor = 1.0 / self.ranks.len() as f32;
        let mut band = vec![[0.0; BAND]; rows.len()];
        for (at, mean) in mean.chunks_mut(BAND).enumerate() {
            for (line, row) in band.iter_mut().zip(rows) {
                match row[at * BAND..].first_chunk::<BAND>() {
                    Some(whole) => *line = *whole,
                    None => line[..mean.len()].copy_from_slice(&row[at * BAND..]),
                }
            }
            for (low, high) in &self.comparisons {
                let (head, tail) = band.split_at_mut(usize::from(*high));
                exchange(&mut head[usize::from(*low)], &mut tail[0]);
            }
            let mut sum = [0.0; BAND];
            for line in &band[self.ranks.clone()] {
                sum.iter_mut().zip(line).for_each(|(sum, value)| *sum += value);
            }
            mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = sum * factor);
        }
    }
}

/// The smaller of every two values into `low`, the other into `high`. By way of copies, so that the compiler sees that the
/// two are apart, and makes one instruction of each.
#[inline(always)]
fn exchange(low: &mut [f32; BAND], high: &mut [f32; BAND]) {
    let (left, right) = (*low, *high);
    *low = std::array::from_fn(|at| if right[at] < left[at] { right[at] } else { left[at] });
    *high = std::array::from_fn(|at| if right[at] < left[at] { left[at] } else { right[at] });
}

/// The same. Written out, as the compiler makes slow masked writes of it where it has them.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn exchange_avx2(low: &mut [f32; BAND], high: &mut [f32; BAND]) {
    use std::arch::x86_64::{_mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_storeu_ps};
    for (low, high) in low.as_chunks_mut::<8>().0.iter_mut().zip(high.as_chunks_mut::<8>().0) {
        // SAFETY: both are eight floats long.
        #[allow(unsafe_code)]
        unsafe {
            let (left, right) = (_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr()));
            _mm256_storeu_ps(low.as_mut_ptr(), _mm256_min_ps(right, left));
            _mm256_storeu_ps(high.as_mut_ptr(), _mm256_max_ps(right, left));
        }
    }
}

fn merge_exchange(rows: usize) -> Vec<(u16, u16)> {
    let mut comparisons = Vec::new();
    let top = rows.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut distance) = (top, 0, p);
        loop {
            let lows = (0..rows.saturating_sub(distance)).filter(|low| low & p == r);
            comparisons.extend(lows.map(|low| (low as u16, (low + distance) as u16)));
            if q == p {
                break;
            }
            (distance, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
    comparisons
}

/// FedAdam (Reddi et al. 2021, Algorithm 2) in place: `m` and `v` are the moments of the aggregate.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    pub eta: f32,
    pub beta_1: f32,
    pub beta_2: f32,
    pub tau: f32,
}

impl Adam {
    /// One step.
    ///
    /// # Panics
    /// When the four differ in length.
    pub fn step(&self, model: &mut [f32], aggregate: &[f32], m: &mut [f32], v: &mut [f32], width: Width) {
        assert!(
            [aggregate.len(), m.len(), v.len()] == [model.len(); 3],
            "model, aggregate and moments differ in length"
        );
        #[cfg(target_arch = "x86_64")]
        if width == Width::Widest && is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            #[allow(unsafe_code)]
            unsafe {
                self.step_avx2(model, aggregate, m, v);
            }
            return;
        }
        let _ = width;
        self.step_portable(model, aggregate, m, v);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn step_avx2(&self, model: &mut [f32], aggregate: &[f32], m: &mut [f32], v: &mut [f32]) {
        self.step_portable(model, aggregate, m, v);
    }

    #[inline(always)]
    fn step_portable(&self, model: &mut [f32], aggregate: &[f32], m: &mut [f32], v: &mut [f32]) {
        let Self { eta, beta_1, beta_2, tau } = *self;
        for (((model, delta), m), v) in model.iter_mut().zip(aggregate).zip(m).zip(v) {
            *m = beta_1 * *m + (1.0 - beta_1) * delta;
            *v = beta_2 * *v + (1.0 - beta_2) * delta * delta;
            *model += eta * *m / (v.sqrt() + tau);
        }
    }
}

/// Krum (Blanchard et al. 2017, section 4): the update whose `count - malicious - 2` nearest neighbours are nearest, by the
/// inner products of all pairs, row by row.
///
/// # Panics
/// When there are not `count` · `count` products.
#[must_use]
pub fn krum(products: &[f64], count: usize, malicious: usize) -> usize {
    assert_eq!(products.len(), count * count, "one product a pair of updates");
    let square = |at: usize| products[at * count + at];
    let score = |at: usize| {
        let distance = |other: usize| (square(at) + square(other) - 2.0 * products[at * count + other]).max(0.0);
        let mut distances: Vec<f64> = (0..count).filter(|other| *other != at).map(distance).collect();
        distances.sort_unstable_by(f64::total_cmp);
        distances.iter().take(count.saturating_sub(malicious + 2)).sum::<f64>()
    };
    let scores: Vec<f64> = (0..count).map(score).collect();
    (0..count).min_by(|left, right| scores[*left].total_cmp(&scores[*right])).unwrap_or(0)
}

#[cfg(test)]
mod tests;
