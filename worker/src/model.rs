//! Models on their way in: fetched in chunks, resumed where a stream broke, checked by digest, and written straight to
//! where training reads them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polder_core::Digest;
use polder_proto::v1::FetchModelRequest;
use polder_tensor::{Layout, LayoutError, Parameters, ParametersError};
use tonic::Status;

use crate::backoff::Backoff;
use crate::channel::{self, Client};
use crate::link::{Link, Verdict, verdict};

/// Most models kept in memory.
const KEPT_MAX: usize = 4;
/// How long the coordinator may pause in the middle of a model before the stream is given up and resumed.
const STALL: Duration = Duration::from_secs(30);

/// Why there is no model to start from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error("the model is longer than the {announced} bytes that were announced")]
    TooLong { announced: u64 },
    #[error("the model ends after {received} of the {announced} bytes that were announced")]
    TooShort { received: u64, announced: u64 },
    #[error("by its header the model has {header} bytes, but {announced} were announced")]
    WrongLength { header: u64, announced: u64 },
    #[error("the model's digest is {found}, not {expected}")]
    WrongDigest { expected: Digest, found: Digest },
    #[error("what was sent is no model")]
    Layout(#[from] LayoutError),
    #[error("what was sent is no model")]
    Parameters(#[from] ParametersError),
    #[error("the coordinator does not give out the model: {said}")]
    Refused { said: String },
}

/// The models last used: a round that was abandoned starts from the same one again, and so does a second evaluation.
#[derive(Debug)]
pub(crate) struct Models {
    kept: Mutex<VecDeque<(Digest, Arc<Parameters>)>>,
    kept_max: usize,
}

impl Models {
    /// Keeps one model a slot, as that many runs may take turns, but not more than a few.
    pub(crate) fn new(slots: u32) -> Self {
        Self { kept: Mutex::default(), kept_max: KEPT_MAX.min(slots as usize).max(1) }
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Parameters>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(held, _)| held == digest).map(|(_, model)| model.clone())
    }

    pub(crate) fn keep(&self, digest: Digest, model: &Arc<Parameters>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(held, _)| *held != digest);
        kept.truncate(self.kept_max - 1);
        kept.push_front((digest, model.clone()));
    }
}

/// Fetches the model `digest` of `bytes` bytes; tells `progress` the share that is here. Tries for ever while the
/// network is at fault: the caller sets the limit.
pub(crate) async fn fetch(
    link: &mut Link,
    digest: Digest,
    bytes: u64,
    mut progress: impl FnMut(f64),
) -> Result<Parameters, ModelError> {
    let mut receiver = Receiver::new(digest, bytes);
    let mut backoff = Backoff::default();
    while !receiver.is_complete() {
        let mut client = link.client().await;
        let before = receiver.received;
        match download(&mut client, &mut receiver, &mut progress).await {
            Ok(()) => {}
            Err(Broken::Model(error)) => return Err(error),
            Err(Broken::Stream(status)) if verdict(&status) == Verdict::Retry => {
                if receiver.received > before {
                    backoff.reset();
                }
                let (held, error) = (receiver.received, channel::said(&status));
                tracing::info!("the model's stream broke after {held} of {bytes} bytes and is resumed: {error}");
                tokio::time::sleep(backoff.next()).await;
            }
            Err(Broken::Stream(status)) => return Err(ModelError::Refused { said: status.message().into() }),
        }
    }
    receiver.finish()
}

enum Broken {
    Stream(Status),
    Model(ModelError),
}

/// Takes the model from where it stopped for as long as the stream lasts.
async fn download(client: &mut Client, receiver: &mut Receiver, progress: &mut impl FnMut(f64)) -> Result<(), Broken> {
    let before = receiver.received;
    let request = FetchModelRequest { digest: receiver.expected.to_string(), offset: before };
    let mut stream = client.fetch_model(request).await.map_err(Broken::Stream)?.into_inner();
    loop {
        let stalled = |_| Broken::Stream(Status::deadline_exceeded(format!("nothing came for {} s", STALL.as_secs())));
        match tokio::time::timeout(STALL, stream.message()).await.map_err(stalled)?.map_err(Broken::Stream)? {
            Some(chunk) => receiver.take(&chunk.data).map_err(Broken::Model)?,
            None if receiver.received == before => return Err(Broken::Model(receiver.too_short())),
            None => return Err(Broken::Stream(Status::unavailable("the stream ended early"))),
        }
        progress(receiver.received as f64 / receiver.announced.max(1) as f64);
        if receiver.is_complete() {
            return Ok(());
        }
    }
}

/// A safetensors file as it arrives. The header is kept until it is whole; values go where they will stay.
struct Receiver {
    expected: Digest,
    announced: u64,
    received: u64,
    hasher: blake3::Hasher,
    part: Part,
}

enum Part {
    Prefix(Vec<u8>),
    Values { layout: Layout, values: Vec<f32>, filled: usize },
}

impl Receiver {
    fn new(expected: Digest, announced: u64) -> Self {
        Self { expected, announced, received: 0, hasher: blake3::Hasher::new(), part: Part::Prefix(Vec::new()) }
    }

    fn is_complete(&self) -> bool {
        self.received >= self.announced
    }

    fn too_short(&self) -> ModelError {
        ModelError::TooShort { received: self.received, announced: self.announced }
    }

    /// Takes the next bytes of the file.
    fn take(&mut self, data: &[u8]) -> Result<(), ModelError> {
        let received = self.received + data.len() as u64;
        if received > self.announced {
            return Err(ModelError::TooLong { announced: self.announced });
        }
        let mut rest = data;
        if let Part::Prefix(prefix) = &mut self.part {
            gather(prefix, &mut rest, 8);
            if let Some(length) = prefix.first_chunk() {
                let whole = Layout::prefix_bytes(*length)?;
                gather(prefix, &mut rest, whole);
                if prefix.len() == whole {
                    self.part = values(Layout::parse(prefix)?, whole, self.announced)?;
                }
            }
        }
        if let Part::Values { values, filled, .. } = &mut self.part {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
            // The header agreed with the announced length, and that is not exceeded.
            bytes[*filled..*filled + rest.len()].copy_from_slice(rest);
            *filled += rest.len();
        }
        self.hasher.update(data);
        self.received = received;
        Ok(())
    }

    fn finish(self) -> Result<Parameters, ModelError> {
        let found = Digest::blake3(*self.hasher.finalize().as_bytes());
        if found != self.expected {
            return Err(ModelError::WrongDigest { expected: self.expected, found });
        }
        match self.part {
            Part::Values { layout, values, .. } => Ok(Parameters::new(Arc::new(layout), values)?),
            Part::Prefix(prefix) => Err(LayoutError::HeaderTruncated { bytes: prefix.len() }.into()),
        }
    }
}

/// Makes room for the values once the header agrees with what was announced.
fn values(layout: Layout, prefix: usize, announced: u64) -> Result<Part, ModelError> {
    let header = prefix as u64 + 4 * layout.parameter_count();
    if header != announced {
        return Err(ModelError::WrongLength { header, announced });
    }
    let count = usize::try_from(layout.parameter_count()).map_err(|_| ModelError::TooLong { announced })?;
    Ok(Part::Values { layout, values: vec![0.0; count], filled: 0 })
}

/// Moves bytes from `rest` to `prefix` until that has `wanted`.
fn gather(prefix: &mut Vec<u8>, rest: &mut &[u8], wanted: usize) {
    let missing = wanted.saturating_sub(prefix.len()).min(rest.len());
    let (taken, left) = rest.split_at(missing);
    prefix.extend_from_slice(taken);
    *rest = left;
}

#[cfg(test)]
mod tests;
