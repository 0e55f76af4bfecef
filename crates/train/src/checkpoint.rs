//! Where local training stood after a batch: enough to go on from there and to end with the same bits as training that was
//! never interrupted.
//!
//! The order of the examples is not in it: it follows from the job's seed, and is drawn again up to the epoch that was reached.

use std::io::{self, BufRead, Read, Write};

use polder_tensor::Parameters;
use serde::{Deserialize, Serialize};

use crate::engine::Job;

/// Another layout of the file gets another number.
const VERSION: u32 = 1;
/// Longest first line that is read, in bytes.
const HEAD_BYTES_MAX: u64 = 1024;

/// Training that can go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub(crate) at: Position,
    pub(crate) parameters: Parameters,
    /// The optimizer's state, as its own library writes it.
    pub(crate) optimizer: Vec<u8>,
}

/// The last batch that was taken, and what was counted up to it. Floating-point numbers are kept as their bits: text might
/// round them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    pub(crate) epoch: u32,
    pub(crate) batch: usize,
    pub(crate) steps: u64,
    pub(crate) examples: usize,
    pub(crate) loss_sum_bits: u64,
    pub(crate) correct: usize,
    pub(crate) scored: usize,
    pub(crate) base_loss_bits: Option<u64>,
}

/// The file's first line; a safetensors file and the optimizer's state follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    at: Position,
    file_bytes: u64,
    optimizer_bytes: u64,
}

/// Who keeps checkpoints of one training, and has the one to go on from.
pub trait Keeper {
    /// The checkpoint to go on from, if there is one; asked once. One of other training is passed over.
    fn resume(&mut self) -> Option<Checkpoint>;
    /// Whether it is time for one; asked after every batch.
    fn is_due(&mut self) -> bool;
    fn keep(&mut self, checkpoint: Checkpoint);
}

/// Keeps nothing.
pub(crate) struct Nobody;

impl Keeper for Nobody {
    fn resume(&mut self) -> Option<Checkpoint> {
        None
    }

    fn is_due(&mut self) -> bool {
        false
    }

    fn keep(&mut self, _: Checkpoint) {}
}

impl Checkpoint {
    /// The epoch and the batch after which training goes on, both from 1.
    #[must_use]
    pub fn position(&self) -> (u32, usize) {
        (self.at.epoch, self.at.batch)
    }

    pub fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let file_bytes = self.parameters.layout().file_bytes();
        let head = Head { version: VERSION, at: self.at, file_bytes, optimizer_bytes: self.optimizer.len() as u64 };
        writeln!(writer, "{}", serde_json::to_string(&head).map_err(io::Error::other)?)?;
        self.parameters.write(writer)?;
        writer.write_all(&self.optimizer)
    }

    /// Reads what [`write`](Self::write) wrote. What belongs to a model of another size than `model_bytes` is refused before
    /// anything is allocated for it.
    pub fn read(reader: &mut impl BufRead, model_bytes: u64) -> io::Result<Self> {
        let mut head = String::new();
        reader.by_ref().take(HEAD_BYTES_MAX).read_line(&mut head)?;
        let head: Head = serde_json::from_str(&head).map_err(io::Error::other)?;
        // No optimizer here keeps more than two values a parameter; names and shapes come on top.
        let optimizer_bytes_max = model_bytes.saturating_mul(4).saturating_add(1 << 20);
        if head.version != VERSION || head.file_bytes != model_bytes || head.optimizer_bytes > optimizer_bytes_max {
            return Err(io::Error::other("it is of another model, or of another version of this program"));
        }
        let parameters = Parameters::read(reader, head.file_bytes).map_err(io::Error::other)?;
        let mut optimizer = vec![0; usize::try_from(head.optimizer_bytes).map_err(io::Error::other)?];
        reader.read_exact(&mut optimizer)?;
        Ok(Self { at: head.at, parameters, optimizer })
    }

    /// Whether it can be of `job`: the same model, as many examples, a batch that the job has.
    pub(crate) fn fits(&self, job: &Job<'_>) -> bool {
        let batches = job.data.examples().div_ceil(job.config.batch_size.max(1));
        let is_within = (1..=job.config.epochs).contains(&self.at.epoch) && (1..=batches).contains(&self.at.batch);
        is_within
            && self.at.examples == job.data.examples()
            && self.at.base_loss_bits.is_some() == job.additions.needs.base_loss
            && self.parameters.layout().difference(job.start.layout()).is_none()
            && self.parameters.check_finite().is_ok()
    }
}

#[cfg(test)]
mod tests;
