//! Updates come in: admitted before the first byte, checked chunk by chunk, counted once they lie in the spool.

use polder_core::federation::Refusal;
use polder_core::round::{RoundRefusal, Task, UpdateReceipt};
use polder_core::{AssignmentId, Digest, Event, WorkerName};
use polder_proto::v1::upload_update_request::Message;
use polder_proto::v1::{UploadStatusRequest, UploadStatusResponse, UploadUpdateRequest};
use polder_proto::{convert, refused, unwelcome};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use crate::api::transfer::Piece;
use crate::api::{Services, internal, room, storage_failed, transfer};
use crate::driver::blocking;
use crate::layouts::LayoutError;
use crate::spool::{Announced, Receiver, SpoolError};

/// What the federation says to an update before its first byte.
enum Admission {
    /// Welcome: an update of the model `base`.
    Open { base: Digest },
    /// This very update counts already.
    Counted,
}

async fn admit(services: &Services, assignment: &AssignmentId, digest: Digest) -> Result<Admission, Status> {
    let id = assignment.clone();
    let admitted = services.handle.ask(move |federation| match federation.admit(&id, Task::Train) {
        Ok(round) => Ok(Admission::Open { base: round.base.digest }),
        Err(Refusal::Round(RoundRefusal::AlreadyReported { .. })) if federation.reported(&id) == Some(digest) => {
            Ok(Admission::Counted)
        }
        Err(refusal) => Err(refusal),
    });
    admitted.await?.map_err(|refusal| refused(&refusal))
}

pub(super) async fn status(
    services: &Services,
    worker: &WorkerName,
    request: UploadStatusRequest,
) -> Result<UploadStatusResponse, Status> {
    let assignment = convert::assignment_id(request.assignment, worker)?;
    let digest: Digest = convert::parsed("digest", &request.digest)?;
    if let Admission::Counted = admit(services, &assignment, digest).await? {
        return Ok(UploadStatusResponse { held_bytes: 0, is_complete: true });
    }
    let spool = services.spool.clone();
    let held = blocking(move || spool.status(&assignment, &digest)).await.map_err(spool_status)?;
    Ok(UploadStatusResponse { held_bytes: held, is_complete: false })
}

/// Takes one upload; when it returns, the update is in the spool and in the journal.
pub(super) async fn receive(
    services: &Services,
    worker: &WorkerName,
    mut stream: Streaming<UploadUpdateRequest>,
) -> Result<(), Status> {
    let malformed = |text: &str| unwelcome(Code::InvalidArgument, "malformed", text);
    let first = transfer::next(&mut stream).await?.and_then(|first| first.message);
    let Some(Message::Header(header)) = first else {
        return Err(malformed("an upload starts with its header"));
    };
    let assignment = convert::assignment_id(header.assignment.clone(), worker)?;
    let offset = header.offset;
    let receipt = convert::receipt(header)?;
    let upload = services.uploads.begin(&assignment).await?;
    tokio::select! {
        taken = take(services, assignment, receipt, offset, &mut stream) => taken,
        refusal = upload.must_give_way() => Err(refusal),
    }
}

/// From the first byte until it counts; the caller sees to it that this is the assignment's only upload.
async fn take(
    services: &Services,
    assignment: AssignmentId,
    receipt: UpdateReceipt,
    offset: u64,
    stream: &mut Streaming<UploadUpdateRequest>,
) -> Result<(), Status> {
    let base = match admit(services, &assignment, receipt.update).await? {
        Admission::Open { base } => base,
        Admission::Counted => return Ok(()),
    };
    room(services)?;
    let layout = services.layouts.of(&base).await.map_err(|error| match error {
        LayoutError::Store(error) => storage_failed(error),
        error => internal(error),
    })?;
    let announced = Announced { assignment: assignment.clone(), layout, digest: receipt.update, bytes: receipt.bytes };
    spool(services, announced, offset, stream).await?;
    count(services, assignment, receipt).await
}

async fn spool(
    services: &Services,
    announced: Announced,
    offset: u64,
    stream: &mut Streaming<UploadUpdateRequest>,
) -> Result<(), Status> {
    let Some(receiver) = resume(services, announced, offset).await? else { return Ok(()) };
    let data = |request: UploadUpdateRequest| match request.message {
        Some(Message::Data(data)) => Some(data),
        _ => None,
    };
    let is_cut = |error: &SpoolError| matches!(error, SpoolError::Broken);
    transfer::receive(stream, data, move |pieces| write(receiver, pieces), is_cut, spool_status).await
}

/// Takes the upload up; none if it was finished before and not counted, because the coordinator died in between. Another
/// update that was finished and never counted (the worker trained anew after a crash) makes room for it.
async fn resume(services: &Services, announced: Announced, offset: u64) -> Result<Option<Receiver>, Status> {
    let (spool, again) = (services.spool.clone(), announced.clone());
    let resumed = blocking(move || match spool.resume(again.clone(), offset) {
        Err(SpoolError::WrongOffset { held, .. })
            if held == again.bytes && spool.find(&again.assignment, &again.digest)?.is_some() =>
        {
            Ok(None)
        }
        resumed => resumed.map(Some),
    });
    let error = match resumed.await {
        Ok(receiver) => return Ok(receiver),
        Err(error) => error,
    };
    let id = announced.assignment.clone();
    let is_orphan = matches!(error, SpoolError::AlreadyHeld { .. })
        && services.handle.ask(move |federation| federation.reported(&id).is_none()).await?;
    if !is_orphan {
        return Err(spool_status(error));
    }
    let spool = services.spool.clone();
    let resumed = blocking(move || {
        spool.discard(&announced.assignment)?;
        spool.resume(announced, offset).map(Some)
    });
    resumed.await.map_err(spool_status)
}

/// Writes pieces as they come. If they end before their end was said, what is here is kept for another try.
fn write(mut receiver: Receiver, mut pieces: mpsc::Receiver<Piece>) -> Result<(), SpoolError> {
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Data(data) => receiver.write(&data)?,
            Piece::End => return receiver.finish().map(|_| ()),
        }
    }
    Err(SpoolError::Broken)
}

/// Tells the driver. An update that the round would not have after all leaves the spool again, unless it counts already:
/// the same upload may have been made twice.
async fn count(services: &Services, assignment: AssignmentId, receipt: UpdateReceipt) -> Result<(), Status> {
    let digest = receipt.update;
    let event = Event::UpdateReceived { assignment: assignment.clone(), receipt };
    let Err(error) = services.handle.apply(event).await else { return Ok(()) };
    let id = assignment.clone();
    match services.handle.ask(move |federation| federation.reported(&id)).await? {
        Some(counted) if counted == digest => return Ok(()),
        Some(_) => {}
        None => {
            let spool = services.spool.clone();
            blocking(move || spool.discard(&assignment)).await.map_err(spool_status)?;
        }
    }
    Err(error.into())
}

fn spool_status(error: SpoolError) -> Status {
    let (code, word) = match &error {
        SpoolError::Busy { .. } => (Code::Aborted, "upload_busy"),
        SpoolError::AlreadyHeld { .. } => (Code::AlreadyExists, "duplicate_update"),
        SpoolError::WrongOffset { .. } | SpoolError::NotAsSent { .. } => (Code::OutOfRange, "bad_offset"),
        SpoolError::WrongSize { .. } => (Code::InvalidArgument, "wrong_size"),
        SpoolError::Fault(_) => (Code::InvalidArgument, "bad_update"),
        SpoolError::WrongDigest { .. } => (Code::DataLoss, "wrong_digest"),
        SpoolError::Full { .. } => (Code::ResourceExhausted, "storage_full"),
        SpoolError::Objects(objects) if objects.is_passing() => (Code::Unavailable, "storage_away"),
        // Its file is out of the way: the update may be sent again from its start.
        SpoolError::Corrupt { .. } => (Code::Aborted, "spooled_corrupt"),
        SpoolError::Broken | SpoolError::Io { .. } | SpoolError::Objects(_) | SpoolError::ObjectCorrupt { .. } => {
            return internal(error);
        }
    };
    unwelcome(code, word, error.to_string())
}
