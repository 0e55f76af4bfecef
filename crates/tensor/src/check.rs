//! Checks an update while it streams in, so that nothing unchecked is ever kept.

use std::fmt;
use std::sync::Arc;

use polder_core::Digest;

use crate::finite::{self, NotFinite};
use crate::layout::{Layout, LayoutError};

/// How much longer than the expected header a received one may be and still be read, to say what is wrong with it.
const HEADER_SLACK_BYTES: usize = 64 << 10;

/// What is wrong with a received update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateFault {
    #[error("the update does not have the model's shape: {difference}")]
    WrongShape { difference: String },
    #[error("the update is longer than the {expected} bytes that the model's shape gives it")]
    TooLong { expected: u64 },
    #[error("the update ends after {got} of {expected} bytes")]
    TooShort { expected: u64, got: u64 },
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
}

/// A running check of an update against the layout of the model that it is for.
///
/// Feed it the file in pieces of any length; it compares the header, tests every value, counts and hashes, and keeps
/// at most one header of it. The first fault is final: it comes back from every later call.
pub struct UpdateCheck {
    layout: Arc<Layout>,
    hasher: blake3::Hasher,
    /// Bytes taken so far.
    taken: u64,
    /// The header as far as it has arrived; empty again once it was found good.
    header: Vec<u8>,
    /// The bytes of a value that a piece ended in.
    partial: Partial,
    fault: Option<UpdateFault>,
}

#[derive(Default)]
struct Partial {
    bytes: [u8; 4],
    held: usize,
}

impl UpdateCheck {
    #[must_use]
    pub fn new(layout: Arc<Layout>) -> Self {
        let header = Vec::with_capacity(layout.header().len());
        Self { layout, hasher: blake3::Hasher::new(), taken: 0, header, partial: Partial::default(), fault: None }
    }

    /// How many bytes were fed so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the next piece of the file.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), UpdateFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.take(piece).inspect_err(|fault| self.fault = Some(fault.clone()))
    }

    /// The digest of the whole file, if it was whole and good.
    pub fn finish(self) -> Result<Digest, UpdateFault> {
        let expected = self.layout.file_bytes();
        match self.fault {
            Some(fault) => Err(fault),
            None if self.taken < expected => Err(UpdateFault::TooShort { expected, got: self.taken }),
            None => Ok(Digest::blake3(*self.hasher.finalize().as_bytes())),
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), UpdateFault> {
        let mut values = piece;
        if self.taken < self.layout.data_offset() {
            values = self.take_header(piece)?;
        }
        let header_bytes = piece.len() - values.len();
        let end = self.taken + piece.len() as u64;
        if end > self.layout.file_bytes() {
            return Err(UpdateFault::TooLong { expected: self.layout.file_bytes() });
        }
        self.taken += header_bytes as u64;
        self.take_values(values)?;
        self.hasher.update(piece);
        self.taken = end;
        Ok(())
    }

    /// Gathers the header and compares it once it is whole; returns what follows it in `piece`.
    fn take_header<'piece>(&mut self, piece: &'piece [u8]) -> Result<&'piece [u8], UpdateFault> {
        let mut rest = piece;
        self.gather(&mut rest, 8);
        let Some(length) = self.header.first_chunk() else { return Ok(rest) };
        let prefix = Layout::prefix_bytes(*length).map_err(|error| wrong_shape(&error))?;
        let longest = self.layout.header().len() + HEADER_SLACK_BYTES;
        if prefix > longest {
            let difference =
                format!("its header has {prefix} bytes where the model's has {}", self.layout.header().len());
            return Err(UpdateFault::WrongShape { difference });
        }
        self.gather(&mut rest, prefix);
        if self.header.len() == prefix {
            self.compare_header()?;
            self.header = Vec::new();
        }
        Ok(rest)
    }

    /// Moves bytes from `rest` to the header until that has `wanted`.
    fn gather(&mut self, rest: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.header.len()).min(rest.len());
        let (taken, left) = rest.split_at(missing);
        self.header.extend_from_slice(taken);
        *rest = left;
    }

    fn compare_header(&self) -> Result<(), UpdateFault> {
        if self.header == self.layout.header() {
            return Ok(());
        }
        let got = Layout::parse(&self.header).map_err(|error| wrong_shape(&error))?;
        let difference = self.layout.difference(&got).unwrap_or_else(|| {
            "its tensors are right, but its header is not in canonical form (no metadata, no spare white space)".into()
        });
        Err(UpdateFault::WrongShape { difference })
    }

    /// Tests values, `self.taken` being the place of the first byte of `bytes`.
    fn take_values(&mut self, mut bytes: &[u8]) -> Result<(), UpdateFault> {
        let mut place = self.taken;
        if self.partial.held > 0 {
            let taken = bytes.len().min(4 - self.partial.held);
            let (head, rest) = bytes.split_at(taken);
            self.partial.bytes[self.partial.held..self.partial.held + taken].copy_from_slice(head);
            place -= self.partial.held as u64;
            self.partial.held += taken;
            if self.partial.held < 4 {
                return Ok(());
            }
            self.test_values(&self.partial.bytes, place)?;
            self.partial.held = 0;
            place += 4;
            bytes = rest;
        }
        self.test_values(bytes, place)?;
        let tail = &bytes[bytes.len() - bytes.len() % 4..];
        self.partial.bytes[..tail.len()].copy_from_slice(tail);
        self.partial.held = tail.len();
        Ok(())
    }

    /// Tests the whole values in `bytes`, the first of which lies at `place` in the file.
    fn test_values(&self, bytes: &[u8], place: u64) -> Result<(), UpdateFault> {
        match finite::first_non_finite_le(bytes) {
            None => Ok(()),
            Some(within) => {
                let first = (place - self.layout.data_offset()) / 4;
                let parameter = usize::try_from(first).unwrap_or(usize::MAX).saturating_add(within);
                Err(UpdateFault::NotFinite(self.layout.not_finite(parameter)))
            }
        }
    }
}

impl fmt::Debug for UpdateCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpdateCheck({} of {} bytes, fault {:?})", self.taken, self.layout.file_bytes(), self.fault)
    }
}

fn wrong_shape(error: &LayoutError) -> UpdateFault {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    UpdateFault::WrongShape { difference: format!("{error}{cause}") }
}

#[cfg(test)]
mod tests;
