//! Handing an update over: sent from where the coordinator stands, again and again, until it has it or will not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polder_core::AssignmentId;
use polder_proto::convert::assignment_id_to_wire;
use polder_proto::v1::UploadStatusRequest;
use tokio::sync::Notify;
use tonic::{Code, Status};

use super::update::Update;
use super::work::WorkError;
use crate::backoff::Backoff;
use crate::channel::{self, Client};
use crate::link::{Link, Verdict, is_full, verdict};
use crate::trainer::{Progress, Stage, Watcher};

/// How long the coordinator may take nothing of an update, or say nothing to the end of it, before the stream is given up
/// and resumed.
const STALL: Duration = Duration::from_secs(60);
/// How long a question may wait for its answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long to wait at most before all of an update is sent once more: a coordinator whose disk is full is not helped by
/// gigabytes.
const SEND_AGAIN: Duration = Duration::from_secs(30);

/// How an upload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The coordinator has it, durably, and counts it.
    Acknowledged,
    /// It came too late.
    Unwanted,
}

/// Uploads `update` until it is acknowledged, or the coordinator says that it is not wanted any more. Tries for ever
/// while the network is at fault: the caller sets the limit.
pub(super) async fn deliver(
    mut link: Link,
    id: &AssignmentId,
    update: &Update,
    watcher: &Watcher,
) -> Result<Delivered, WorkError> {
    watcher.report(Progress::of(Stage::Uploading, 0.0));
    let mut backoff = Backoff::default();
    let mut patient = Backoff::up_to(SEND_AGAIN);
    let mut was_full = false;
    // A coordinator hardly ever holds some of an update that it never saw begin; if it does, it says so.
    let mut offset = Some(0);
    loop {
        let mut client = link.client().await;
        let from = match offset.take() {
            Some(offset) => Ok(Some(offset)),
            None => held(&mut client, id, update).await,
        };
        let is_sent = Arc::new(AtomicBool::new(false));
        let sent = match from {
            Ok(Some(offset)) => send(&mut client, update, offset, watcher, is_sent.clone()).await,
            Ok(None) => Ok(()),
            Err(status) => Err(status),
        };
        let status = match sent {
            Ok(()) => {
                tracing::info!(digest = update.digest(), "the update was received");
                return Ok(Delivered::Acknowledged);
            }
            Err(status) => status,
        };
        match verdict(&status) {
            Verdict::Unwanted => {
                tracing::info!("the update is not wanted any more: {}", status.message());
                return Ok(Delivered::Unwanted);
            }
            Verdict::Fault => return Err(WorkError::Refused { said: status.message().into() }),
            Verdict::Retry => {
                let is_full = is_full(&status);
                if !(is_full && was_full) {
                    let what = if is_full { "waits, and is tried again until it is not wanted" } else { "is resumed" };
                    tracing::info!("the upload broke and {what}: {}", channel::said(&status));
                }
                was_full = is_full;
                let is_in_vain = is_full || (is_sent.load(Ordering::Relaxed) && status.code() == Code::Internal);
                tokio::time::sleep(if is_in_vain { patient.next() } else { backoff.next() }).await;
            }
        }
    }
}

/// Whether the coordinator counts this very update; asks until it says.
pub(super) async fn was_taken(mut link: Link, id: &AssignmentId, update: &Update) -> bool {
    let mut backoff = Backoff::default();
    loop {
        match held(&mut link.client().await, id, update).await {
            Ok(offset) => return offset.is_none(),
            Err(status) if verdict(&status) == Verdict::Retry => tokio::time::sleep(backoff.next()).await,
            Err(_) => return false,
        }
    }
}

/// Where to go on from; none if the coordinator has all of it.
async fn held(client: &mut Client, id: &AssignmentId, update: &Update) -> Result<Option<u64>, Status> {
    let request = UploadStatusRequest { assignment: Some(assignment_id_to_wire(id)), digest: update.digest().into() };
    let answer = tokio::time::timeout(ANSWER, client.upload_status(request)).await;
    let answer = answer.map_err(|_| stalled(ANSWER))??.into_inner();
    match (answer.is_complete, answer.held_bytes) {
        (true, _) => Ok(None),
        (false, held) if held <= update.bytes() => Ok(Some(held)),
        // It claims more than there is; a fresh start is the only thing left to offer.
        (false, _) => Ok(Some(0)),
    }
}

/// Sends the file from `offset` on; says in `is_sent` when all of it has gone to the network.
async fn send(
    client: &mut Client,
    update: &Update,
    offset: u64,
    watcher: &Watcher,
    is_sent: Arc<AtomicBool>,
) -> Result<(), Status> {
    let (watcher, moved) = (watcher.clone(), Arc::new(Notify::new()));
    let moves = moved.clone();
    let messages = update.messages(offset).map(move |(message, share)| {
        watcher.report(Progress::of(Stage::Uploading, share));
        moves.notify_one();
        is_sent.store(share >= 1.0, Ordering::Relaxed);
        message
    });
    moving(client.upload_update(tokio_stream::iter(messages)), &moved, STALL).await?;
    Ok(())
}

/// Waits for `call` for as long as something `moved` within every `limit`.
async fn moving<T>(
    call: impl Future<Output = Result<T, Status>>,
    moved: &Notify,
    limit: Duration,
) -> Result<T, Status> {
    tokio::pin!(call);
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            moved = tokio::time::timeout(limit, moved.notified()) => moved.map_err(|_| stalled(limit))?,
        }
    }
}

fn stalled(limit: Duration) -> Status {
    Status::deadline_exceeded(format!("nothing moved for {} s", limit.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upload_that_does_not_move_is_given_up_and_tried_again() {
        let moved = Notify::new();
        let limit = Duration::from_millis(20);
        moved.notify_one();
        let hanging = moving(std::future::pending::<Result<(), _>>(), &moved, limit);
        assert_eq!(verdict(&hanging.await.unwrap_err()), Verdict::Retry);
        assert_eq!(moving(async { Ok(7) }, &moved, limit).await.unwrap(), 7);
    }
}
