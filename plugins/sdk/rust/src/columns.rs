//! Order statistics of every parameter over many updates: median, trimmed mean, the values around the median.
//!
//! A sorting network (Batcher's merge exchange; Knuth, *The Art of Computer Programming* 3, 5.2.2, Algorithm M) sorts
//! [`BAND`] columns at once: whether two values change places is a minimum and a maximum of vectors and no branch, which is seven
//! times as fast as sorting column by column. Comparisons on which no wanted rank depends are left out.
//!
//! Values compare as numbers; -0 counts as 0, so that the order of the rows changes no bit. The host sends finite values only.

use std::ops::Range;

use crate::Error;

#[cfg(test)]
mod tests;

/// Columns that are sorted at once: eight 128-bit vectors a row.
pub const BAND: usize = 64;
/// Beyond this many rows a network has more comparisons than sorting column by column costs.
const NETWORK_ROWS_MAX: usize = 512;

/// The median of every column; of an even count the mean of the two in the middle.
pub fn median(rows: &[Vec<f32>]) -> Result<Vec<f32>, Error> {
    let count = rows.len();
    let middle = count.saturating_sub(1) / 2..count / 2 + 1;
    mean_of_ranks(rows, middle)
}

/// The mean of every column without its `cut` smallest and its `cut` largest values, which must leave one.
pub fn trimmed_mean(rows: &[Vec<f32>], cut: usize) -> Result<Vec<f32>, Error> {
    mean_of_ranks(rows, cut..rows.len().saturating_sub(cut))
}

/// The mean of the values of every column whose ranks, from 0 for the smallest, are in `ranks`.
pub fn mean_of_ranks(rows: &[Vec<f32>], ranks: Range<usize>) -> Result<Vec<f32>, Error> {
    let factor = 1.0 / ranks.len() as f32;
    for_each_band(rows, ranks, |sorted, mean| {
        for row in sorted {
            add(mean, row);
        }
        for value in mean {
            *value *= factor;
        }
    })
}

#[inline(always)]
fn add(sum: &mut [f32; BAND], row: &[f32; BAND]) {
    for column in 0..BAND {
        sum[column] += row[column];
    }
}

/// The mean of the `keep` values of every column that are nearest to its median; of two equally near the smaller one.
pub fn mean_around_median(rows: &[Vec<f32>], keep: usize) -> Result<Vec<f32>, Error> {
    if keep == 0 || keep > rows.len() {
        return Err(Error::Question(format!("{keep} of {} values cannot be kept", rows.len())));
    }
    for_each_band(rows, 0..rows.len(), |sorted, mean| {
        for (column, value) in mean.iter_mut().enumerate() {
            let kept = nearest_to_median(sorted.len(), keep, |rank| f64::from(sorted[rank][column]));
            let sum: f64 = kept.map(|rank| f64::from(sorted[rank][column])).sum();
            *value = (sum / keep as f64) as f32;
        }
    })
}

/// The ranks of the `keep` values nearest to the median: from all of them, the farther end goes until `keep` are left.
fn nearest_to_median(count: usize, keep: usize, value: impl Fn(usize) -> f64) -> Range<usize> {
    let median = 0.5 * (value((count - 1) / 2) + value(count / 2));
    let mut kept = 0..count;
    while kept.len() > keep {
        if median - value(kept.start) > value(kept.end - 1) - median {
            kept.start += 1;
        } else {
            kept.end -= 1;
        }
    }
    kept
}

/// Sorts the columns of `rows`, [`BAND`] at a time, and has `reduce` make one value a column of the values whose ranks are in `ranks`:
/// it gets one row a rank, smallest first, and a result of zeros to fill in.
///
/// # Errors
/// There is no row, rows differ in length, or `ranks` is empty or goes beyond the rows.
pub fn for_each_band(
    rows: &[Vec<f32>],
    ranks: Range<usize>,
    mut reduce: impl FnMut(&[[f32; BAND]], &mut [f32; BAND]),
) -> Result<Vec<f32>, Error> {
    let length = length_of(rows)?;
    if ranks.is_empty() || ranks.end > rows.len() {
        return Err(Error::Question(format!("{} updates have no values of ranks {ranks:?}", rows.len())));
    }
    let network = network(rows.len(), &ranks);
    let mut band = vec![[0.0; BAND]; rows.len()];
    let mut result = vec![0.0; length.next_multiple_of(BAND)];
    for (index, reduced) in result.as_chunks_mut::<BAND>().0.iter_mut().enumerate() {
        fill(&mut band, rows, index * BAND);
        match &network {
            Some(network) => exchange_all(&mut band, network),
            None => sort_each(&mut band),
        }
        reduce(&band[ranks.clone()], reduced);
    }
    result.truncate(length);
    Ok(result)
}

fn length_of(rows: &[Vec<f32>]) -> Result<usize, Error> {
    let length = rows.first().ok_or_else(|| Error::Question("there is no update to combine".into()))?.len();
    match rows.iter().position(|row| row.len() != length) {
        Some(odd) => {
            Err(Error::Question(format!("row {odd} has {} values and the first has {length}", rows[odd].len())))
        }
        None => Ok(length),
    }
}

/// Copies the columns from `start` on; what the last band has too many stays as it was, and is cut off in the end.
fn fill(band: &mut [[f32; BAND]], rows: &[Vec<f32>], start: usize) {
    for (line, row) in band.iter_mut().zip(rows) {
        match row[start..].first_chunk::<BAND>() {
            Some(whole) => unsigned(line, whole),
            None => unsigned(line, &row[start..]),
        }
    }
}

/// Copies values and turns -0 into 0, so that the order of the rows changes no bit. A plain copy would be slower: it becomes a call
/// of the host.
#[inline(always)]
fn unsigned(line: &mut [f32; BAND], values: &[f32]) {
    for (target, &value) in line.iter_mut().zip(values) {
        *target = if value == 0.0 { 0.0 } else { value };
    }
}

fn exchange_all(band: &mut [[f32; BAND]], network: &[(u16, u16)]) {
    for &(low, high) in network {
        let (head, tail) = band.split_at_mut(usize::from(high));
        exchange(&mut head[usize::from(low)], &mut tail[0]);
    }
}

/// The smaller of every two values into `low`, the other into `high`. Compilers see vector minima and maxima in two loops over copies,
/// and in no other form that was tried; the copies of half a band are what the vector registers hold.
#[inline(always)]
fn exchange(low: &mut [f32; BAND], high: &mut [f32; BAND]) {
    let (lows, _) = low.as_chunks_mut::<{ BAND / 2 }>();
    let (highs, _) = high.as_chunks_mut::<{ BAND / 2 }>();
    for (low, high) in lows.iter_mut().zip(highs) {
        let (a, b) = (*low, *high);
        for column in 0..BAND / 2 {
            low[column] = if b[column] < a[column] { b[column] } else { a[column] };
        }
        for column in 0..BAND / 2 {
            high[column] = if b[column] < a[column] { a[column] } else { b[column] };
        }
    }
}

fn sort_each(band: &mut [[f32; BAND]]) {
    let mut values = vec![0.0; band.len()];
    for column in 0..BAND {
        for (value, line) in values.iter_mut().zip(band.iter()) {
            *value = line[column];
        }
        values.sort_unstable_by(f32::total_cmp);
        for (value, line) in values.iter().zip(band.iter_mut()) {
            line[column] = *value;
        }
    }
}

/// The comparisons, in order, that bring the values of `ranks` to their places; none where there are too many rows.
fn network(rows: usize, ranks: &Range<usize>) -> Option<Vec<(u16, u16)>> {
    if rows > NETWORK_ROWS_MAX {
        return None;
    }
    let mut network = merge_exchange(rows);
    // backwards: a comparison matters if one of its places matters afterwards
    let mut matters: Vec<bool> = (0..rows).map(|rank| ranks.contains(&rank)).collect();
    let mut kept = Vec::with_capacity(network.len());
    while let Some((low, high)) = network.pop() {
        let places = [usize::from(low), usize::from(high)];
        if places.iter().any(|&place| matters[place]) {
            places.iter().for_each(|&place| matters[place] = true);
            kept.push((low, high));
        }
    }
    kept.reverse();
    Some(kept)
}

fn merge_exchange(rows: usize) -> Vec<(u16, u16)> {
    let mut network = Vec::new();
    if rows < 2 {
        return network;
    }
    let top = rows.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut distance) = (top, 0, p);
        loop {
            let lows = (0..rows - distance).filter(|low| low & p == r);
            network.extend(lows.map(|low| (low as u16, (low + distance) as u16)));
            if q == p {
                break;
            }
            distance = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
    network
}
