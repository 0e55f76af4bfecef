//! A model to start a run from comes in: named by its digest, checked to be a finite float32 safetensors file.

use std::sync::Arc;

use polder_core::Digest;
use polder_proto::convert::parsed;
use polder_proto::unwelcome;
use polder_proto::v1::UploadModelRequest;
use polder_proto::v1::upload_model_request::Message;
use polder_tensor::{Layout, UpdateCheck};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::{claim, storage_failed, transfer};
use crate::api::transfer::Piece;
use crate::api::{Services, room};
use crate::store::{BlobWriter, StoreError};

/// Largest model taken: 64 GiB.
const MODEL_BYTES_MAX: u64 = 64 << 30;

/// Why an uploaded model was not taken.
#[derive(Debug, thiserror::Error)]
enum BadModel {
    #[error("it is not a safetensors file of float32 tensors: {0}")]
    Header(#[from] polder_tensor::LayoutError),
    #[error(transparent)]
    Content(#[from] polder_tensor::UpdateFault),
    #[error("it was announced with {announced} bytes, but its header says {found}")]
    Size { announced: u64, found: u64 },
    #[error("it ended before its header did")]
    Short,
    #[error("it was announced as {announced}, but its bytes have the digest {found}")]
    Digest { announced: Digest, found: Digest },
    #[error("the upload was cut")]
    Cut,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) async fn upload(services: &Services, mut stream: Streaming<UploadModelRequest>) -> Result<(), Status> {
    let malformed = |text: &str| unwelcome(Code::InvalidArgument, "malformed", text);
    let first = transfer::next(&mut stream).await?.and_then(|first| first.message);
    let Some(Message::Header(header)) = first else { return Err(malformed("an upload starts with its header")) };
    let announced: Digest = parsed("digest", &header.digest)?;
    if header.bytes > MODEL_BYTES_MAX {
        return Err(malformed(&format!("a model of {} bytes is larger than {MODEL_BYTES_MAX}", header.bytes)));
    }
    // Not by its size: sending a model again is how a corrupt one is mended.
    let _claim = claim(services, announced)?;
    if services.store.blobs().ensure_shared(&announced).await.map_err(storage_failed)? {
        return Ok(());
    }
    room(services)?;
    let writer = services.store.blobs().writer().map_err(storage_failed)?;
    let bytes = header.bytes;
    let data = |request: UploadModelRequest| match request.message {
        Some(Message::Data(data)) => Some(data),
        _ => None,
    };
    let write = move |pieces| Intake { writer, bytes, held: Vec::new(), check: None }.take(announced, pieces);
    transfer::receive(
        &mut stream,
        data,
        write,
        |error| matches!(error, BadModel::Cut),
        |error| match error {
            BadModel::Store(error) => storage_failed(error),
            BadModel::Cut => Status::aborted("the upload was cut"),
            bad => unwelcome(Code::InvalidArgument, "bad_model", format!("the model was not taken: {bad}")),
        },
    )
    .await
}

/// Checks and stores a model as it comes, with memory for its header only.
struct Intake {
    writer: BlobWriter,
    /// Of the whole file, as announced.
    bytes: u64,
    /// The first bytes, until the header is whole.
    held: Vec<u8>,
    check: Option<UpdateCheck>,
}

impl Intake {
    fn take(mut self, announced: Digest, mut pieces: mpsc::Receiver<Piece>) -> Result<(), BadModel> {
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Data(data) => self.piece(&data)?,
                Piece::End => return self.finish(announced),
            }
        }
        Err(BadModel::Cut)
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), BadModel> {
        self.writer.write(piece)?;
        if let Some(check) = &mut self.check {
            return Ok(check.feed(piece)?);
        }
        self.held.extend_from_slice(piece);
        let Some(length) = self.held.first_chunk::<8>() else { return Ok(()) };
        let prefix = Layout::prefix_bytes(*length)?;
        if self.held.len() >= prefix {
            let layout = Layout::parse(&self.held[..prefix])?;
            if layout.file_bytes() != self.bytes {
                return Err(BadModel::Size { announced: self.bytes, found: layout.file_bytes() });
            }
            let mut check = UpdateCheck::new(Arc::new(layout));
            check.feed(&std::mem::take(&mut self.held))?;
            self.check = Some(check);
        }
        Ok(())
    }

    fn finish(self, announced: Digest) -> Result<(), BadModel> {
        let found = self.check.ok_or(BadModel::Short)?.finish()?;
        if found != announced {
            return Err(BadModel::Digest { announced, found });
        }
        self.writer.finish()?;
        Ok(())
    }
}
