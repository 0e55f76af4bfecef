//! Memory for tiles.

/// Floats of a cache line.
const LINE: usize = 16;
/// Between rows. Without it, the same value of all rows would lie in one set of the first-level cache, which has eight
/// places or so, and sums over more updates would throw out what they are about to read.
const SKEW: usize = 4 * LINE;

/// Rows of floats, each of which begins with a cache line.
pub(super) struct Room {
    floats: Vec<f32>,
    start: usize,
    stride: usize,
}

impl Room {
    pub(super) fn new(rows: usize, length: usize) -> Self {
        let stride = length.next_multiple_of(LINE) + SKEW;
        let floats = vec![0.0; rows * stride + LINE];
        // Where the address cannot be told, nothing but speed is lost.
        let start = Some(floats.as_ptr().align_offset(LINE * 4)).filter(|start| *start < LINE).unwrap_or(0);
        Self { floats, start, stride }
    }

    /// The first `length` floats of every row.
    pub(super) fn rows_mut(&mut self, length: usize) -> impl Iterator<Item = &mut [f32]> {
        self.floats[self.start..].chunks_exact_mut(self.stride).map(move |row| &mut row[..length])
    }

    /// The same, to read.
    pub(super) fn rows(&self, length: usize) -> impl Iterator<Item = &[f32]> {
        self.floats[self.start..].chunks_exact(self.stride).map(move |row| &row[..length])
    }
}
