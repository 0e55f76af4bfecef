//! Arithmetic over the updates of a round, the same bits on every machine.
//!
//! Each parameter's sum is taken over the updates in their order, one multiplication and one addition at a time and
//! never fused, so neither the vector width nor where a block begins can change a bit. Inner products are summed in
//! float64 in a fixed pattern ([`products`]). The arithmetic is written once; on x86 it is compiled a second time for
//! AVX2 and chosen when run.

pub mod products;

pub use products::{PANEL, add_norms, add_products};

/// Parameters summed together: eight AVX2 registers of accumulators, so that each row is read once and no partial sum
/// goes to memory.
const BLOCK: usize = 64;

/// `out[i] = base[i] + Σ_k weights[k] · rows[k][i]`, the sum taken first and from `k = 0` up.
///
/// # Panics
/// When there are not as many weights as rows, or when `base` or a row is not as long as `out`.
pub fn weighted_sum_into(rows: &[&[f32]], weights: &[f32], base: &[f32], out: &mut [f32]) {
    assert_eq!(base.len(), out.len(), "base and result differ in length");
    out.fill(0.0);
    accumulate(rows, weights, out);
    add_into(base, out);
}

/// `sum[i] += weights[0] · rows[0][i]`, then the next row, and so on. Splitting the rows over several calls gives the
/// same bits as one call, so memory need not grow with their number.
///
/// # Panics
/// When there are not as many weights as rows, or when a row is not as long as `sum`.
pub fn accumulate(rows: &[&[f32]], weights: &[f32], sum: &mut [f32]) {
    assert_eq!(rows.len(), weights.len(), "one weight a row");
    assert!(rows.iter().all(|row| row.len() == sum.len()), "rows and sum differ in length");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked.
        #[allow(unsafe_code)]
        unsafe {
            accumulate_avx2(rows, weights, sum);
        }
        return;
    }
    accumulate_portable(rows, weights, sum);
}

/// `out[i] = base[i] + out[i]`.
///
/// # Panics
/// When the two differ in length.
pub fn add_into(base: &[f32], out: &mut [f32]) {
    assert_eq!(base.len(), out.len(), "base and result differ in length");
    for (sum, base) in out.iter_mut().zip(base) {
        *sum += base;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn accumulate_avx2(rows: &[&[f32]], weights: &[f32], sum: &mut [f32]) {
    accumulate_portable(rows, weights, sum);
}

#[inline(always)]
fn accumulate_portable(rows: &[&[f32]], weights: &[f32], sum: &mut [f32]) {
    let (blocks, tail) = sum.as_chunks_mut::<BLOCK>();
    let tail_start = blocks.len() * BLOCK;
    for (at, block) in blocks.iter_mut().enumerate() {
        let mut accumulators = *block;
        for (row, weight) in rows.iter().zip(weights) {
            let Some(values) = row[at * BLOCK..].first_chunk::<BLOCK>() else { continue };
            for (accumulator, value) in accumulators.iter_mut().zip(values) {
                *accumulator += weight * value;
            }
        }
        *block = accumulators;
    }
    for (row, weight) in rows.iter().zip(weights) {
        for (sum, value) in tail.iter_mut().zip(&row[tail_start..]) {
            *sum += weight * value;
        }
    }
}

#[cfg(test)]
mod tests;
