//! Files on the wire: models go out and updates, models and policies come in, in chunks, with memory for a few chunks only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use polder_core::Digest;
use polder_proto::{CHUNK_BYTES, unwelcome};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::storage_failed;
use crate::driver::blocking;
use crate::meter::{self, Step};
use crate::store::Blobs;

/// Read from disk at a time; cut into chunks for the wire.
const READ_BYTES: u64 = 4 * CHUNK_BYTES as u64;
/// How long a peer may pause in the middle of a file before the transfer is given up; what arrived is kept.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// Models up to this size are kept in memory for a while: all workers of a cohort ask for the same one at once.
const SMALL_BYTES: u64 = 1 << 20;
/// How many of them; each is a run's, as a rule.
const SMALL_MAX: usize = 8;

/// The small models that were last fetched, found intact.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<VecDeque<(Digest, Bytes)>>>);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Digest, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.lock().iter().find(|(kept, _)| kept == digest).map(|(_, file)| file.clone())
    }

    fn keep(&self, digest: Digest, file: &Bytes) {
        let mut kept = self.lock();
        kept.retain(|(other, _)| *other != digest);
        kept.truncate(SMALL_MAX - 1);
        kept.push_front((digest, file.clone()));
    }
}

/// The blob from `offset` on, in chunks; a small one from memory, where it is still there.
pub(super) async fn download(
    recent: &Recent,
    blobs: Blobs,
    digest: Digest,
    offset: u64,
) -> Result<(u64, impl Stream<Item = Result<Bytes, Status>> + Send + 'static), Status> {
    let missing = || {
        let text = format!("there is no model or policy {digest} here, or no longer: runs let go of older models");
        unwelcome(Code::NotFound, "unknown_blob", text)
    };
    let mut file = recent.get(&digest);
    let total = match &file {
        Some(file) => file.len() as u64,
        None => blobs.size(&digest).await.map_err(storage_failed)?.ok_or_else(missing)?,
    };
    if offset > total {
        let text = format!("offset {offset} is beyond the end of {digest}, which has {total} bytes");
        return Err(unwelcome(Code::OutOfRange, "bad_offset", text));
    }
    if file.is_none() && total <= SMALL_BYTES {
        let _taking = meter::taking(Step::Read);
        let read = blobs.get(&digest).await.map_err(storage_failed)?;
        recent.keep(digest, &read);
        file = Some(read);
    }
    let state = match file {
        // Not beyond its end, as was made sure, and what fits memory fits a usize.
        Some(file) => (blobs, total, file.slice(usize::try_from(offset).unwrap_or(file.len())..)),
        None => (blobs, offset, Bytes::new()),
    };
    let chunks = futures_util::stream::try_unfold(state, move |(blobs, mut offset, mut held)| async move {
        if held.is_empty() {
            if offset == total {
                return Ok(None);
            }
            let _taking = meter::taking(Step::Read);
            held = blobs.get_range(&digest, offset..total.min(offset + READ_BYTES)).await.map_err(storage_failed)?;
            offset += held.len() as u64;
            if held.is_empty() {
                return Err(Status::data_loss(format!("{digest} ended early")));
            }
        }
        let chunk = held.split_to(held.len().min(CHUNK_BYTES));
        Ok(Some((chunk, (blobs, offset, held))))
    });
    Ok((total, chunks))
}

/// A file in memory, in chunks.
pub(super) fn chunks(file: Bytes) -> impl Stream<Item = Bytes> + Send + 'static {
    let count = file.len().div_ceil(CHUNK_BYTES);
    let chunk = move |at: usize| file.slice(at * CHUNK_BYTES..file.len().min((at + 1) * CHUNK_BYTES));
    futures_util::stream::iter((0..count).map(chunk))
}

/// The next message of an upload; an error if the peer stalls.
pub(super) async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    match tokio::time::timeout(STALL, stream.message()).await {
        Ok(message) => message,
        Err(_) => {
            let text = format!("nothing arrived for {} s; the upload may be resumed where it stopped", STALL.as_secs());
            Err(unwelcome(Code::DeadlineExceeded, "stalled", text))
        }
    }
}

/// What an upload's reader hands to its writer. A channel that just ends means that the line was cut.
pub(super) enum Piece {
    Data(Bytes),
    End,
}

/// Pieces between the network and the disk.
const PIECES_MAX: usize = 4;

/// Reads an upload to its end while `write` takes its pieces on a blocking thread. What `write` says goes before what the
/// network says, except when it says only that the pieces ended (`is_cut`).
pub(super) async fn receive<T, E: Send + 'static>(
    stream: &mut Streaming<T>,
    data: impl Fn(T) -> Option<Bytes>,
    write: impl FnOnce(mpsc::Receiver<Piece>) -> Result<(), E> + Send + 'static,
    is_cut: impl Fn(&E) -> bool,
    status: impl Fn(E) -> Status,
) -> Result<(), Status> {
    let (pieces, waiting) = mpsc::channel(PIECES_MAX);
    let writing = blocking(move || write(waiting));
    let reading = async {
        while let Some(message) = next(stream).await? {
            let only_data = || unwelcome(Code::InvalidArgument, "malformed", "only data follows the header");
            let piece = Piece::Data(data(message).ok_or_else(only_data)?);
            // A writer that is gone has an error of its own.
            if pieces.send(piece).await.is_err() {
                break;
            }
        }
        let _ = pieces.send(Piece::End).await;
        drop(pieces);
        Ok(())
    };
    match tokio::join!(writing, reading) {
        (Ok(()), read) => read,
        (Err(error), Err(read)) if is_cut(&error) => Err(read),
        (Err(error), _) => Err(status(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_that_were_last_fetched_are_kept() {
        let recent = Recent::default();
        let digest = |number: usize| Digest::blake3([u8::try_from(number).unwrap(); 32]);
        for number in 0..=SMALL_MAX {
            recent.keep(digest(number), &Bytes::from(vec![1; number]));
        }
        assert_eq!(recent.get(&digest(0)), None);
        assert_eq!(recent.get(&digest(SMALL_MAX)).unwrap().len(), SMALL_MAX);
        recent.keep(digest(1), &Bytes::new());
        assert_eq!(recent.lock().len(), SMALL_MAX);
    }
}
