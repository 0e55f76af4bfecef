//! Which GPU of a worker.

use std::cmp::Ordering;

use polder_policy_sdk::placement::Gpu;

/// A worker's GPUs with how often this answer gave each.
pub(crate) struct GpuChoices<'a> {
    gpus: &'a [Gpu],
    given: Vec<u32>,
}

impl<'a> GpuChoices<'a> {
    pub(crate) fn new(gpus: &'a [Gpu]) -> Self {
        Self { gpus, given: vec![0; gpus.len()] }
    }

    /// Gives the best one away: least given, then least in use, then most free memory, then the lowest index.
    pub(crate) fn take_best(&mut self) -> Option<&'a Gpu> {
        let best = (0..self.gpus.len())
            .min_by(|&a, &b| self.given[a].cmp(&self.given[b]).then_with(|| order(&self.gpus[a], &self.gpus[b])))?;
        self.given[best] += 1;
        Some(&self.gpus[best])
    }
}

/// Less means freer. A card that does not tell its use counts as busy, one that does not tell its memory as full.
fn order(a: &Gpu, b: &Gpu) -> Ordering {
    let busy = |gpu: &Gpu| gpu.utilization.unwrap_or(1.0);
    let free = |gpu: &Gpu| gpu.memory_free_bytes.unwrap_or(0);
    busy(a).total_cmp(&busy(b)).then(free(b).cmp(&free(a))).then(a.index.cmp(&b.index))
}
