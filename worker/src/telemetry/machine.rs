//! Processor and memory, from Linux's `/proc`. Elsewhere both are 0: nothing is claimed that was not read.

use std::fs;

/// Remembers the last look, because utilisation is a difference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    last: Option<Ticks>,
}

/// Time that all cores together have spent since the machine started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    total: u64,
}

impl Machine {
    /// Share of all cores in use since the last sample (of the first: since the machine started), 0 to 1; and the bytes
    /// of memory that could be had.
    pub fn sample(&mut self) -> (f64, u64) {
        let ticks = fs::read_to_string("/proc/stat").ok().and_then(|text| Ticks::parse(&text));
        let utilization = ticks.map_or(0.0, |now| now.utilization_since(self.last));
        self.last = ticks;
        let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text));
        (utilization, free.unwrap_or(0))
    }
}

impl Ticks {
    /// `cpu  user nice system idle iowait irq softirq steal …`; guest time is in user time already.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
        let total = fields.iter().sum();
        let idle = fields.get(3)? + fields.get(4).copied().unwrap_or(0);
        Some(Self { busy: total - idle, total })
    }

    fn utilization_since(self, last: Option<Self>) -> f64 {
        let last = last.unwrap_or(Self { busy: 0, total: 0 });
        let (busy, total) = (self.busy.saturating_sub(last.busy), self.total.saturating_sub(last.total));
        if total == 0 { 0.0 } else { (busy as f64 / total as f64).clamp(0.0, 1.0) }
    }
}

fn available_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let first = Ticks::parse("cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!(first, Ticks { busy: 150, total: 1000 });
        let second = Ticks::parse("cpu  200 0 50 850 50 0 0 0 7 0\n").unwrap();
        assert!((second.utilization_since(Some(first)) - 100.0 / 150.0).abs() < 1e-12);
        assert_eq!(second.utilization_since(Some(second)), 0.0);
        assert_eq!(first.utilization_since(Some(second)), 0.0, "a counter that went back");
        assert_eq!(available_bytes("MemTotal: 9 kB\nMemAvailable:    3 kB\n"), Some(3072));
    }

    #[test]
    fn what_is_not_there_is_not_made_up() {
        for text in ["", "cpu  ", "cpu  a b c d", "cpu0 1 2 3 4 5"] {
            assert_eq!(Ticks::parse(text), None, "{text}");
        }
        assert_eq!(available_bytes("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let (utilization, free) = Machine::default().sample();
        assert!((0.0..=1.0).contains(&utilization));
        assert_eq!(free > 0, cfg!(target_os = "linux"));
    }
}
