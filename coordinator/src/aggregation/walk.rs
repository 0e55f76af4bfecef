//! Threads and stretches.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a file is cut. All lengths are powers of two, at least those of a chunk of BLAKE3, and none is longer than the one
/// before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) file_bytes: u64,
    pub(super) stretch_bytes: u64,
    pub(super) tile_bytes: u64,
    /// The most of a tile that a policy gets at a time.
    pub(super) chunk_bytes: u64,
}

/// What one thread walks, from its start to its end.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    index: u64,
    pub(super) bytes: Range<u64>,
    /// Whether there is no other.
    pub(super) is_all: bool,
    tile_bytes: u64,
    chunk_bytes: u64,
}

impl Axis {
    pub(super) fn stretches(&self) -> u64 {
        self.file_bytes.div_ceil(self.stretch_bytes)
    }

    pub(super) fn stretch(&self, index: u64) -> Stretch {
        let start = index * self.stretch_bytes;
        let bytes = start..(start + self.stretch_bytes).min(self.file_bytes);
        Stretch {
            index,
            bytes,
            is_all: self.stretches() == 1,
            tile_bytes: self.tile_bytes,
            chunk_bytes: self.chunk_bytes,
        }
    }

    /// Floats of the longest tile.
    pub(super) fn tile_words(&self) -> usize {
        // Bounded by the tile's length, which fits.
        usize::try_from(self.tile_bytes.min(self.file_bytes) / 4).unwrap_or(usize::MAX)
    }
}

impl Stretch {
    pub(super) fn chunk_words(&self) -> usize {
        usize::try_from(self.chunk_bytes / 4).unwrap_or(usize::MAX)
    }

    /// Its tiles by their bytes in the file, in order.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let (end, tile_bytes) = (self.bytes.end, self.tile_bytes);
        let starts = (self.bytes.start..end).step_by(usize::try_from(tile_bytes).unwrap_or(usize::MAX));
        starts.map(move |start| start..(start + tile_bytes).min(end))
    }
}

/// Does `work` on every stretch, on the threads of the current rayon pool, each with a scratch of its own; gives what came
/// of it, in order. Work that finds its stretch no longer [wanted](End::wants) may give anything.
///
/// # Errors
/// That of the first stretch that fails, whichever failed earlier; stretches behind it may not be done.
pub(super) fn each<S, T: Send, E: Send>(
    axis: &Axis,
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &Stretch, &End) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let count = axis.stretches();
    let progress = Progress { next: AtomicU64::new(0), end: End(AtomicU64::new(count)), state: Mutex::default() };
    let take_part = || {
        let mut scratch = scratch();
        while let Some(index) = progress.take() {
            progress.done(index, work(&mut scratch, &axis.stretch(index), &progress.end));
        }
    };
    if count <= 1 {
        // Too small to share: waking another thread would cost more than the work.
        take_part();
    } else {
        rayon::scope(|scope| {
            for _ in 0..(rayon::current_num_threads() as u64).min(count) {
                scope.spawn(|_| take_part());
            }
        });
    }
    progress.outcome()
}

/// Where a walk ends: behind the last stretch, or at the first that failed.
pub(super) struct End(AtomicU64);

impl End {
    /// Whether anything can still come of a stretch: no earlier one has failed.
    pub(super) fn wants(&self, stretch: &Stretch) -> bool {
        stretch.index < self.0.load(Ordering::Relaxed)
    }
}

struct Progress<T, E> {
    /// The first stretch that nobody has taken.
    next: AtomicU64,
    end: End,
    state: Mutex<State<T, E>>,
}

struct State<T, E> {
    done: Vec<(u64, T)>,
    failed: Option<(u64, E)>,
}

impl<T, E> Default for State<T, E> {
    fn default() -> Self {
        Self { done: Vec::new(), failed: None }
    }
}

impl<T, E> Progress<T, E> {
    fn take(&self) -> Option<u64> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.end.0.load(Ordering::Relaxed)).then_some(index)
    }

    /// Stretches are taken in order, so those before one that failed are all done or being done: the first failure will be
    /// known whatever the threads do.
    fn done(&self, index: u64, result: Result<T, E>) {
        let mut state = self.state();
        match result {
            Ok(result) => state.done.push((index, result)),
            Err(error) => {
                self.end.0.fetch_min(index, Ordering::Relaxed);
                if state.failed.as_ref().is_none_or(|(first, _)| index < *first) {
                    state.failed = Some((index, error));
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcome(self) -> Result<Vec<T>, E> {
        let State { mut done, failed } = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, error)) = failed {
            return Err(error);
        }
        done.sort_unstable_by_key(|(index, _)| *index);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_failure_wins() {
        let axis = Axis { file_bytes: 64 * 1024 + 4, stretch_bytes: 1024, tile_bytes: 1024, chunk_bytes: 1024 };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let index = |stretch: &Stretch| stretch.bytes.start / 1024;
        pool.install(|| {
            let all = each(&axis, || (), |(), stretch, _| Ok::<_, u64>(index(stretch))).unwrap();
            assert_eq!(all, (0..65).collect::<Vec<_>>());
            for _ in 0..50 {
                let work = |(): &mut (), stretch: &Stretch, end: &End| {
                    let index = index(stretch);
                    assert!(index > 20 || end.wants(stretch), "what comes first is always wanted");
                    if [20, 21, 40].contains(&index) { Err(index) } else { Ok(index) }
                };
                assert_eq!(each(&axis, || (), work), Err(20));
            }
        });
    }

    #[test]
    fn tiles_cover_a_stretch() {
        let axis = Axis { file_bytes: 10_000, stretch_bytes: 4096, tile_bytes: 2048, chunk_bytes: 2048 };
        let tiles: Vec<_> = (0..axis.stretches()).flat_map(|index| axis.stretch(index).tiles()).collect();
        assert_eq!(tiles, [0..2048, 2048..4096, 4096..6144, 6144..8192, 8192..10_000]);
    }
}
