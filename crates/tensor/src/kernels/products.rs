//! Inner products of updates: products of float32, exact in float64, summed in float64 in one fixed pattern.
//!
//! Rows are cut into panels of [`PANEL`] values. Within a panel, value `i` goes to lane `i % 8`, each lane is summed from
//! its first value to its last, and the lanes are added in pairs; panels are added in their order. Whoever cuts rows at
//! multiples of [`PANEL`] gets the same bits however long the pieces are. As a product of two float32 is exact in
//! float64, a fused multiplication and addition rounds as the two by themselves do, and is used where there is one.

/// Values whose products are summed by themselves before they are added to what came before.
pub const PANEL: usize = 1024;
/// Partial sums of an inner product: two AVX2 registers.
const LANES: usize = 8;
/// Rows multiplied with another one at a time: eight AVX2 registers of partial sums.
const GROUP: usize = 4;

/// `products[i · K + j] += Σ rows[i] · rows[j]` for `i ≤ j`, K being the number of rows; what lies below the diagonal is
/// left alone.
///
/// # Panics
/// When rows differ in length, or `products` has not K · K values.
pub fn add_products(rows: &[&[f32]], products: &mut [f64]) {
    assert_eq!(products.len(), rows.len() * rows.len(), "one product a pair of rows");
    assert!(rows.windows(2).all(|pair| pair[0].len() == pair[1].len()), "rows differ in length");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has both, as was just asked.
        #[allow(unsafe_code)]
        unsafe {
            add_products_avx2(rows, products);
        }
        return;
    }
    add_products_by::<Portable>(rows, products);
}

/// `squares[k] += Σ rows[k]²`: the diagonal of [`add_products`], with the same bits.
///
/// # Panics
/// When there are not as many `squares` as rows.
pub fn add_norms(rows: &[&[f32]], squares: &mut [f64]) {
    assert_eq!(rows.len(), squares.len(), "one square a row");
    for (row, square) in rows.iter().zip(squares) {
        add_products(std::slice::from_ref(row), std::slice::from_mut(square));
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_products_avx2(rows: &[&[f32]], products: &mut [f64]) {
    add_products_by::<Avx2>(rows, products);
}

#[inline(always)]
fn add_products_by<L: Lanes>(rows: &[&[f32]], products: &mut [f64]) {
    let length = rows.first().map_or(0, |row| row.len());
    for start in (0..length).step_by(PANEL) {
        let panel = start..(start + PANEL).min(length);
        for (i, row) in rows.iter().enumerate() {
            let left = &row[panel.clone()];
            let products = &mut products[i * rows.len() + i..(i + 1) * rows.len()];
            let (groups, rest) = rows[i..].as_chunks::<GROUP>();
            let (sums, rest_sums) = products.as_chunks_mut::<GROUP>();
            for (group, sums) in groups.iter().zip(sums) {
                let dots = dots::<L, GROUP>(left, group.map(|row| &row[panel.clone()]));
                sums.iter_mut().zip(dots).for_each(|(sum, dot)| *sum += dot);
            }
            for (row, sum) in rest.iter().zip(rest_sums) {
                *sum += dots::<L, 1>(left, [&row[panel.clone()]])[0];
            }
        }
    }
}

/// The inner products of one panel with several.
#[inline(always)]
fn dots<L: Lanes, const ROWS: usize>(left: &[f32], rows: [&[f32]; ROWS]) -> [f64; ROWS] {
    let mut sums = [[0.0; LANES]; ROWS];
    let (blocks, tail) = left.as_chunks();
    L::add(blocks, rows.map(|row| &row.as_chunks().0[..blocks.len()]), &mut sums);
    if !tail.is_empty() {
        // Lanes beyond the end get a product of 0.
        for (sums, row) in sums.iter_mut().zip(&rows) {
            add_block(&padded(tail), &padded(row.as_chunks::<LANES>().1), sums);
        }
    }
    sums.map(|[a, b, c, d, e, f, g, h]| ((a + e) + (c + g)) + ((b + f) + (d + h)))
}

type Block = [f32; LANES];

/// How products go to the lanes.
trait Lanes {
    /// Adds the products of `left` with each of `rows`, which have as many blocks, to that row's sums.
    fn add<const ROWS: usize>(left: &[Block], rows: [&[Block]; ROWS], sums: &mut [[f64; LANES]; ROWS]);
}

struct Portable;

impl Lanes for Portable {
    fn add<const ROWS: usize>(left: &[Block], rows: [&[Block]; ROWS], sums: &mut [[f64; LANES]; ROWS]) {
        for (row, sums) in rows.iter().zip(sums) {
            let mut lanes = *sums;
            for (left, right) in left.iter().zip(*row) {
                add_block(left, right, &mut lanes);
            }
            *sums = lanes;
        }
    }
}

#[inline(always)]
fn add_block(left: &Block, right: &Block, sums: &mut [f64; LANES]) {
    for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
        *sum += f64::from(*left) * f64::from(*right);
    }
}

/// Only where there are AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx2 {
    #[inline(always)]
    fn add<const ROWS: usize>(left: &[Block], rows: [&[Block]; ROWS], sums: &mut [[f64; LANES]; ROWS]) {
        // SAFETY: `add_products_avx2` alone comes here, and has both.
        #[allow(unsafe_code)]
        unsafe {
            add_avx2(left, rows, sums);
        }
    }
}

/// Written out: the compiler makes single products of the arrays otherwise.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_avx2<const ROWS: usize>(left: &[Block], rows: [&[Block]; ROWS], sums: &mut [[f64; LANES]; ROWS]) {
    use std::arch::x86_64::{
        __m256d, _mm_loadu_ps, _mm256_cvtps_pd, _mm256_fmadd_pd, _mm256_loadu_pd, _mm256_storeu_pd,
    };
    let halves = |block: &Block| -> [__m256d; 2] {
        // SAFETY: a block is eight floats long.
        #[allow(unsafe_code)]
        unsafe {
            [_mm256_cvtps_pd(_mm_loadu_ps(block.as_ptr())), _mm256_cvtps_pd(_mm_loadu_ps(block[4..].as_ptr()))]
        }
    };
    // SAFETY: sums are eight doubles long.
    #[allow(unsafe_code)]
    let mut lanes =
        sums.each_ref().map(|sums| unsafe { [_mm256_loadu_pd(sums.as_ptr()), _mm256_loadu_pd(sums[4..].as_ptr())] });
    for (at, left) in left.iter().enumerate() {
        let left = halves(left);
        for (lanes, row) in lanes.iter_mut().zip(&rows) {
            let right = halves(&row[at]);
            *lanes = [_mm256_fmadd_pd(left[0], right[0], lanes[0]), _mm256_fmadd_pd(left[1], right[1], lanes[1])];
        }
    }
    for (sums, lanes) in sums.iter_mut().zip(lanes) {
        // SAFETY: as above.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_pd(sums.as_mut_ptr(), lanes[0]);
            _mm256_storeu_pd(sums[4..].as_mut_ptr(), lanes[1]);
        }
    }
}

#[inline(always)]
fn padded(tail: &[f32]) -> Block {
    let mut lanes = [0.0; LANES];
    lanes[..tail.len()].copy_from_slice(tail);
    lanes
}

#[cfg(test)]
mod tests;
