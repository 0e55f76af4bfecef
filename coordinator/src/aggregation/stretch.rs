//! One stretch, tile by tile: the aggregate of a tile while its updates are in the cache, then the step, the digests and
//! the write while the tile is.

use std::ops::Range;

use polder_policy::{Chunks, PolicyError, Span};
use polder_tensor::{Layout, finite, kernels};

use super::AggregationError;
use super::job::Checked;
use super::outputs::{Outputs, StretchHashes};
use super::partial::Part;
use super::room::Room;
use super::tree::Subtree;
use super::walk::{Axis, End, Stretch};

/// What a thread needs memory for.
pub(super) struct Scratch {
    /// Of the updates that are summed or combined at once, a row each.
    rows: Room,
    /// The aggregate, then the sums beside it.
    sums: Room,
    /// The model, then the state tensors.
    carried: Room,
}

impl Scratch {
    pub(super) fn new(job: &Checked<'_>, axis: &Axis) -> Self {
        let words = axis.tile_words();
        Self {
            rows: Room::new(job.rows(), words),
            sums: Room::new(1 + job.extra.len(), words),
            carried: Room::new(job.carried.len(), words),
        }
    }
}

/// Where a tile is. Its words in memory are those of the file, so a tile at the start has header before its parameters.
struct Tile {
    /// First byte in the file.
    offset: u64,
    words: usize,
    /// How many of the words are header.
    header: usize,
    /// The parameters behind it.
    parameters: Range<usize>,
    chunk_words: usize,
}

impl Tile {
    fn new(layout: &Layout, bytes: &Range<u64>, chunk_words: usize) -> Self {
        let word = |byte: u64| usize::try_from(byte / 4).unwrap_or(usize::MAX);
        let data = word(layout.data_offset());
        let (start, end) = (word(bytes.start), word(bytes.end));
        let header = data.clamp(start, end) - start;
        let parameters = start.max(data) - data..end.max(data) - data;
        Self { offset: bytes.start, words: end - start, header, parameters, chunk_words }
    }

    /// What a policy gets at a time, no part of which belongs to another tensor: where it lies, and its words in the tile.
    fn chunks<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = (Span, Range<usize>)> + 'a {
        let mut next = self.parameters.start;
        std::iter::from_fn(move || {
            let (tensor, parameters) = layout.tensor_at(next).filter(|_| next < self.parameters.end)?;
            let start = next - self.parameters.start + self.header;
            // Where the tensor, the tile or the chunk ends.
            let end = (parameters.end.min(self.parameters.end) - next + start)
                .min(start - start % self.chunk_words + self.chunk_words);
            let span = Span { tensor: u32::try_from(tensor).ok()?, offset: (next - parameters.start) as u64 };
            next += end - start;
            Some((span, start..end))
        })
    }

    /// Refuses a value that is not finite.
    fn check(
        &self,
        layout: &Layout,
        words: &[f32],
        failed: impl FnOnce(polder_tensor::NotFinite) -> AggregationError,
    ) -> Result<(), AggregationError> {
        match finite::first_non_finite(&words[self.header..]) {
            None => Ok(()),
            Some(within) => Err(failed(layout.not_finite(self.parameters.start + within))),
        }
    }
}

/// Takes a stretch from the updates to the files that come out.
pub(super) fn aggregate(
    job: &Checked<'_>,
    outputs: &Outputs,
    scratch: &mut Scratch,
    stretch: &Stretch,
    end: &End,
) -> Result<StretchHashes, AggregationError> {
    let mut policy = if job.calls_policy() { Some(job.instance()?) } else { None };
    let subtree = || Subtree::of(stretch);
    let mut from: Vec<_> = job.carried.iter().map(|carried| carried.from.as_ref().map(|_| subtree())).collect();
    let mut to: Vec<_> = job.carried.iter().map(|_| subtree()).collect();
    for bytes in stretch.tiles() {
        if !end.wants(stretch) {
            // A slow policy that has failed elsewhere is not waited for.
            return Ok(StretchHashes { from: Vec::new(), to: Vec::new() });
        }
        let tile = Tile::new(job.layout, &bytes, stretch.chunk_words());
        sum(job, scratch, &tile, policy.as_mut())?;
        carry_in(job, scratch, &tile, &mut from)?;
        match policy.as_mut().filter(|_| job.has_step) {
            Some(policy) => step(job, scratch, &tile, policy)?,
            None => add(job, scratch, &tile)?,
        }
        for (file, (words, to)) in scratch.carried.rows(tile.words).zip(&mut to).enumerate() {
            to.take(words);
            outputs.write(file, tile.offset, words)?;
        }
    }
    Ok(StretchHashes {
        from: from.into_iter().map(|subtree| subtree.map(Subtree::finish)).collect(),
        to: to.into_iter().map(Subtree::finish).collect(),
    })
}

/// Fills the sums: the aggregate and those beside it.
fn sum(
    job: &Checked<'_>,
    scratch: &mut Scratch,
    tile: &Tile,
    mut policy: Option<&mut Chunks<'_>>,
) -> Result<(), AggregationError> {
    if tile.parameters.is_empty() {
        return Ok(());
    }
    scratch.sums.rows_mut(tile.words).for_each(|sum| sum.fill(0.0));
    let group = job.rows();
    for first in (0..job.updates.len()).step_by(group) {
        let members = first..(first + group).min(job.updates.len());
        for (update, row) in job.updates[members.clone()].iter().zip(scratch.rows.rows_mut(tile.words)) {
            update.read(tile.parameters.start, &mut row[tile.header..])?;
        }
        let rows: Vec<&[f32]> =
            scratch.rows.rows(tile.words).take(members.len()).map(|row| &row[tile.header..]).collect();
        let mut sums = scratch.sums.rows_mut(tile.words).map(|sum| &mut sum[tile.header..]);
        if let Some(aggregate) = sums.next() {
            match policy.as_mut().filter(|_| job.is_columns) {
                Some(policy) => combine(job, tile, policy, &rows, aggregate)?,
                None => kernels::accumulate(&rows, &job.weights[members.clone()], aggregate),
            }
        }
        for (sum, weights) in sums.zip(&job.extra) {
            kernels::accumulate(&rows, &weights[members.clone()], sum);
        }
    }
    Ok(())
}

/// Asks the policy for the aggregate of a tile, a tensor at a time.
fn combine(
    job: &Checked<'_>,
    tile: &Tile,
    policy: &mut Chunks<'_>,
    rows: &[&[f32]],
    aggregate: &mut [f32],
) -> Result<(), AggregationError> {
    // Updates that count only for the sums beside the aggregate are none of its business.
    let (rows, weights): (Vec<_>, Vec<_>) = rows.iter().zip(&job.weights).filter(|(_, weight)| **weight > 0.0).unzip();
    for (span, words) in tile.chunks(job.layout) {
        let values = words.start - tile.header..words.end - tile.header;
        let chunk: Vec<&[f32]> = rows.iter().map(|row: &&[f32]| &row[values.clone()]).collect();
        let called = policy.combine(span, &chunk, &weights, &mut aggregate[values]);
        called.map_err(|source| failed_at(job.layout, span, source))?;
    }
    Ok(())
}

/// Reads the model's and the state's tile, and hashes what was read.
fn carry_in(
    job: &Checked<'_>,
    scratch: &mut Scratch,
    tile: &Tile,
    from: &mut [Option<Subtree>],
) -> Result<(), AggregationError> {
    for ((carried, words), subtree) in job.carried.iter().zip(scratch.carried.rows_mut(tile.words)).zip(from) {
        if let (Some((source, _)), Some(subtree)) = (&carried.from, subtree) {
            source.read_bytes(tile.offset, words)?;
            subtree.take(words);
        } else {
            words.fill(0.0);
            let start = usize::try_from(tile.offset).unwrap_or(usize::MAX).min(job.layout.header().len());
            let header = &job.layout.header()[start..start + 4 * tile.header];
            bytemuck::cast_slice_mut(&mut words[..tile.header]).copy_from_slice(header);
        }
    }
    Ok(())
}

/// The next model of a policy without a step: the aggregate is added to it.
fn add(job: &Checked<'_>, scratch: &mut Scratch, tile: &Tile) -> Result<(), AggregationError> {
    for (model, aggregate) in scratch.carried.rows_mut(tile.words).take(1).zip(scratch.sums.rows(tile.words)) {
        kernels::add_into(&aggregate[tile.header..], &mut model[tile.header..]);
        tile.check(job.layout, model, |place| match job.is_columns {
            true => AggregationError::NotFinite { what: "aggregate", place },
            false => AggregationError::Overflow(place),
        })?;
    }
    Ok(())
}

/// The next model and the next state by the policy's step, a tensor at a time.
fn step(
    job: &Checked<'_>,
    scratch: &mut Scratch,
    tile: &Tile,
    policy: &mut Chunks<'_>,
) -> Result<(), AggregationError> {
    if tile.parameters.is_empty() {
        return Ok(());
    }
    let sums: Vec<&[f32]> = scratch.sums.rows(tile.words).collect();
    for (at, sum) in sums.iter().enumerate() {
        // Whatever the host sends is finite.
        tile.check(job.layout, sum, |place| match job.is_columns && at == 0 {
            true => AggregationError::NotFinite { what: "aggregate", place },
            false => AggregationError::Overflow(place),
        })?;
    }
    let mut carried: Vec<&mut [f32]> = scratch.carried.rows_mut(tile.words).collect();
    for (span, words) in tile.chunks(job.layout) {
        let mut parts = carried.iter_mut().map(|carried| &mut carried[words.clone()]);
        let Some(model) = parts.next() else { return Ok(()) };
        let mut state: Vec<&mut [f32]> = parts.collect();
        let extra: Vec<&[f32]> = sums[1..].iter().map(|sum| &sum[words.clone()]).collect();
        let called = policy.step(span, model, &sums[0][words.clone()], &extra, &mut state);
        called.map_err(|source| failed_at(job.layout, span, source))?;
    }
    for (carried, of) in carried.iter().zip(&job.carried) {
        tile.check(job.layout, carried, |place| AggregationError::NotFinite { what: of.what, place })?;
    }
    Ok(())
}

fn failed_at(layout: &Layout, span: Span, source: PolicyError) -> AggregationError {
    let tensor = layout.specs().get(span.tensor as usize).map(|spec| spec.name.clone()).unwrap_or_default();
    AggregationError::Policy { tensor, offset: span.offset, source }
}

/// Part of [`aggregate`], for those who measure it.
pub(super) fn partial(
    job: &Checked<'_>,
    scratch: &mut Scratch,
    stretch: &Stretch,
    part: Part,
) -> Result<f32, AggregationError> {
    let mut seen = 0.0;
    for bytes in stretch.tiles() {
        let tile = Tile::new(job.layout, &bytes, stretch.chunk_words());
        if part == Part::Sum {
            sum(job, scratch, &tile, None)?;
        }
        for updates in job.updates.chunks(job.rows()).filter(|_| part == Part::Read) {
            for (update, row) in updates.iter().zip(scratch.rows.rows_mut(tile.words)) {
                update.read(tile.parameters.start, &mut row[tile.header..])?;
                seen += look_at(row);
            }
        }
        for (carried, words) in job.carried.iter().zip(scratch.carried.rows_mut(tile.words)) {
            if let Some((source, _)) = &carried.from {
                source.read_bytes(tile.offset, words)?;
            }
        }
        if part == Part::Sum {
            add(job, scratch, &tile)?;
        }
        seen += scratch.carried.rows(tile.words).map(look_at).sum::<f32>();
    }
    Ok(seen)
}

/// As fast as memory.
fn look_at(words: &[f32]) -> f32 {
    let (blocks, tail) = words.as_chunks::<64>();
    let mut sums = [0.0; 64];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, word)| *sum += word);
    }
    sums.iter().chain(tail).sum()
}
