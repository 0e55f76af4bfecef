//! Whether a measure grows.

use serde::Serialize;

use super::sample::Sample;
use crate::output::{Table, bytes};

/// How far the last quarter's mean may lie above the second's.
pub(super) const TOLERANCE: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    Bytes,
    Count,
}

impl Unit {
    /// What comes and goes with a round under way and with a pool's idle threads, whatever the total.
    fn jitter(self) -> f64 {
        match self {
            Self::Bytes => (1 << 20) as f64,
            Self::Count => 4.0,
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => bytes(value.max(0.0) as u64),
            Self::Count => format!("{value:.1}"),
        }
    }

    /// The same for a change, with its sign.
    fn show_change(self, value: f64) -> String {
        format!("{}{}", if value < 0.0 { "-" } else { "+" }, self.show(value.abs()))
    }
}

/// How one measure went.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trend {
    pub(super) what: &'static str,
    unit: Unit,
    second_quarter_mean: f64,
    last_quarter_mean: f64,
    /// Of the line through everything after the first quarter.
    slope_per_hour: f64,
    pub(super) is_flat: bool,
}

type Measure = (&'static str, Unit, fn(&Sample) -> u64);

const MEASURES: [Measure; 11] = [
    ("memory of the coordinator", Unit::Bytes, |sample| sample.coordinator_memory_bytes),
    ("memory of the workers", Unit::Bytes, |sample| sample.workers_memory_bytes),
    ("file descriptors of the coordinator", Unit::Count, |sample| sample.coordinator_descriptors),
    ("file descriptors of the workers", Unit::Count, |sample| sample.workers_descriptors),
    ("threads of the coordinator", Unit::Count, |sample| sample.coordinator_threads),
    ("threads of the workers", Unit::Count, |sample| sample.workers_threads),
    ("journal on disk", Unit::Bytes, |sample| sample.journal_bytes),
    ("blobs on disk", Unit::Bytes, |sample| sample.blobs_bytes),
    ("spool on disk", Unit::Bytes, |sample| sample.spool_bytes),
    ("workers' files on disk", Unit::Bytes, |sample| sample.workers_disk_bytes),
    ("files", Unit::Count, |sample| sample.files),
];

/// The trend of every measure; the first quarter is for warming up.
pub(super) fn all(samples: &[Sample]) -> Vec<Trend> {
    let quarter = samples.len() / 4;
    MEASURES.iter().map(|measure| of(measure, samples, quarter)).collect()
}

fn of((what, unit, value): &Measure, samples: &[Sample], quarter: usize) -> Trend {
    let value = |sample: &Sample| value(sample) as f64;
    let mean = |part: &[Sample]| part.iter().map(value).sum::<f64>() / part.len().max(1) as f64;
    let (second, last) = (mean(&samples[quarter..2 * quarter]), mean(&samples[samples.len() - quarter..]));
    let points: Vec<(f64, f64)> =
        samples[quarter..].iter().map(|sample| (sample.at_seconds / 3600.0, value(sample))).collect();
    Trend {
        what,
        unit: *unit,
        second_quarter_mean: second,
        last_quarter_mean: last,
        slope_per_hour: slope(&points),
        is_flat: last - second <= (second * TOLERANCE).max(unit.jitter()),
    }
}

/// Of the least squares' line.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let rise: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    if spread > 0.0 { rise / spread } else { 0.0 }
}

pub(super) fn table(trends: &[Trend]) -> Table {
    let mut table = Table::new(&["WHAT", ">SECOND QUARTER", ">LAST QUARTER", ">CHANGE", ">AN HOUR", "FLAT"]);
    for trend in trends {
        let (second, last, unit) = (trend.second_quarter_mean, trend.last_quarter_mean, trend.unit);
        table.row([
            trend.what.into(),
            unit.show(second),
            unit.show(last),
            if second > 0.0 { format!("{:+.1}%", (last / second - 1.0) * 100.0) } else { "-".into() },
            unit.show_change(trend.slope_per_hour),
            if trend.is_flat { "yes" } else { "no" }.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(f64) -> f64) -> Vec<Sample> {
        let sample = |index: u32| Sample {
            at_seconds: f64::from(index) * 10.0,
            coordinator_memory_bytes: memory(f64::from(index)) as u64,
            coordinator_descriptors: 30 + u64::from(index % 2),
            ..Sample::default()
        };
        (0..80).map(sample).collect()
    }

    fn memory(samples: &[Sample]) -> Trend {
        all(samples).remove(0)
    }

    #[test]
    fn what_warms_up_and_stays_is_flat_and_what_leaks_is_not() {
        let warm = samples(|index| 80e6 + index.min(15.0) * 1e6);
        assert!(all(&warm).iter().all(|trend| trend.is_flat), "{:?}", all(&warm));
        assert!(memory(&warm).slope_per_hour.abs() < 1.0);

        let leaking = memory(&samples(|index| 80e6 + index * 2e5));
        assert!(!leaking.is_flat);
        // 200 kB every 10 s
        assert!((leaking.slope_per_hour - 72e6).abs() < 1.0, "{}", leaking.slope_per_hour);
        let small = memory(&samples(|index| index * 1e4));
        assert!(small.is_flat, "less than a round under way takes");
    }

    #[test]
    fn people_read_a_table() {
        let text = table(&[memory(&samples(|_| 3.0 * 1024.0 * 1024.0))]).render(false);
        assert!(text.contains("memory of the coordinator        3.00 MiB      3.00 MiB   +0.0%"), "{text}");
        assert!(text.trim_end().ends_with("yes"), "{text}");
    }
}
