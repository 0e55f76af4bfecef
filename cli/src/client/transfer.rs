//! Files to and from the coordinator, in chunks, with memory for a few chunks.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use polder_core::Digest;
use polder_proto::CHUNK_BYTES;
use polder_proto::v1::{ModelHeader, PullModelRequest, PullModelResponse, UploadModelRequest, upload_model_request};
use polder_tensor::Parameters;
use tonic::Streaming;

use super::error::CallError;
use super::{Client, within_limit};

/// How long a transfer may stand still.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// How long a whole upload may take, its check at the other end included.
const UPLOAD: Duration = Duration::from_secs(3600);

impl Client {
    /// Uploads a model to start runs from; one that the coordinator has already is not sent again.
    pub async fn upload_model(&self, model: &Parameters) -> Result<(), CallError> {
        let file = Bytes::from(model.to_safetensors());
        let bytes = file.len() as u64;
        self.upload_model_in_pieces(&model.digest(), bytes, chunks(file)).await
    }

    /// The same for a model of `bytes` bytes that is nowhere in one piece; no piece may be longer than a message.
    pub(crate) async fn upload_model_in_pieces(
        &self,
        digest: &Digest,
        bytes: u64,
        pieces: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<(), CallError> {
        if self.has_model(digest, bytes).await? {
            return Ok(());
        }
        let message = |message| UploadModelRequest { message: Some(message) };
        let first = message(upload_model_request::Message::Header(ModelHeader { digest: digest.to_string(), bytes }));
        let rest = pieces.map(move |data| message(upload_model_request::Message::Data(data)));
        let mut service = self.service();
        within_limit(UPLOAD, service.upload_model(stream::iter([first]).chain(rest))).await.map(|_| ())
    }

    /// Whether the coordinator has all of a model.
    async fn has_model(&self, digest: &Digest, bytes: u64) -> Result<bool, CallError> {
        match self.pull_model(digest, bytes).await {
            Ok(pull) => Ok(pull.total_bytes() == bytes),
            Err(CallError::Refused { code: tonic::Code::NotFound | tonic::Code::OutOfRange, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Starts to download the model `digest` from byte `offset` on.
    pub async fn pull_model(&self, digest: &Digest, offset: u64) -> Result<Pull, CallError> {
        let request = PullModelRequest { digest: digest.to_string(), offset };
        let mut service = self.service();
        let mut stream = super::within(service.pull_model(request)).await?;
        let first = within_limit(STALL, stream.message()).await?;
        let total = first.as_ref().and_then(|first| first.total_bytes);
        let total_bytes = total.ok_or_else(|| CallError::answer("the file's size is missing"))?;
        Ok(Pull { stream, total_bytes })
    }
}

/// A model on its way.
pub struct Pull {
    stream: Streaming<PullModelResponse>,
    total_bytes: u64,
}

impl Pull {
    /// Of the whole file.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        Ok(within_limit(STALL, self.stream.message()).await?.map(|piece| piece.data))
    }
}

pub(super) fn chunks(file: Bytes) -> impl Stream<Item = Bytes> {
    let count = file.len().div_ceil(CHUNK_BYTES);
    stream::iter((0..count).map(move |at| file.slice(at * CHUNK_BYTES..file.len().min((at + 1) * CHUNK_BYTES))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_are_the_file() {
        for length in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let file: Bytes = (0..length).map(|at| at as u8).collect();
            let pieces: Vec<Bytes> = chunks(file.clone()).collect().await;
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= CHUNK_BYTES));
            assert_eq!(pieces.concat(), file);
        }
    }
}
