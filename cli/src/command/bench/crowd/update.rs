//! What a light worker fetches and sends, with memory for a chunk.

use anyhow::{Result, ensure};
use bytes::{Bytes, BytesMut};
use polder_core::Digest;
use polder_proto::CHUNK_BYTES;
use polder_proto::v1::{Assignment, FetchModelRequest};
use polder_tensor::Layout;

use super::peer::Service;

/// A model of which only the header was kept.
pub(super) struct Skeleton {
    /// The file's first bytes, up to the first value.
    header: Bytes,
    bytes: u64,
}

impl Skeleton {
    /// Fetches an assignment's model to its end and checks its digest, as a real worker does.
    pub(super) async fn fetch(service: &mut Service, assignment: &Assignment) -> Result<Self> {
        let request = FetchModelRequest { digest: assignment.model.clone(), offset: 0 };
        let mut stream = service.fetch_model(request).await?.into_inner();
        let (mut hasher, mut bytes, mut header) = (blake3::Hasher::new(), 0, Header::default());
        while let Some(chunk) = stream.message().await? {
            hasher.update(&chunk.data);
            bytes += chunk.data.len() as u64;
            header.take(&chunk.data)?;
        }
        let found = Digest::blake3(*hasher.finalize().as_bytes()).to_string();
        ensure!(found == assignment.model, "the model's digest is {found}, not {}", assignment.model);
        ensure!(bytes == assignment.model_bytes, "the model has {bytes} bytes, not {}", assignment.model_bytes);
        Ok(Self { header: header.whole()?, bytes })
    }
}

/// Gathers the start of a file.
#[derive(Default)]
struct Header {
    held: BytesMut,
    /// Known once the first eight bytes are here.
    length: Option<usize>,
}

impl Header {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let wanted = self.length.unwrap_or(8).saturating_sub(self.held.len());
        let (taken, rest) = chunk.split_at(wanted.min(chunk.len()));
        self.held.extend_from_slice(taken);
        if self.length.is_none()
            && let Some(length) = self.held.first_chunk()
        {
            self.length = Some(Layout::prefix_bytes(*length)?);
            return self.take(rest);
        }
        Ok(())
    }

    fn whole(self) -> Result<Bytes> {
        ensure!(self.length == Some(self.held.len()), "what was sent is no model");
        Ok(self.held.freeze())
    }
}

/// The model's file with the same small number in the place of every parameter.
pub(super) struct Update {
    model: Skeleton,
    /// That number, as often as a chunk holds it.
    tile: Bytes,
}

impl Update {
    /// The number follows from `seed`.
    pub(super) fn of(model: Skeleton, seed: u64) -> Self {
        let value = ((seed % 1000) as f32 + 1.0) * 1e-6;
        Self { model, tile: value.to_le_bytes().repeat(CHUNK_BYTES / 4).into() }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.model.bytes
    }

    pub(super) fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for piece in self.pieces() {
            hasher.update(&piece);
        }
        Digest::blake3(*hasher.finalize().as_bytes())
    }

    /// The file, piece by piece.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Bytes> + Send + use<> {
        let (header, tile) = (self.model.header.clone(), self.tile.clone());
        let mut left = self.model.bytes - header.len() as u64;
        let values = std::iter::from_fn(move || {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(tile.len());
            left -= piece as u64;
            (piece > 0).then(|| tile.slice(..piece))
        });
        // A header may be longer than what one message should hold.
        let count = header.len().div_ceil(CHUNK_BYTES);
        let slice = move |at: usize| header.slice(at * CHUNK_BYTES..header.len().min((at + 1) * CHUNK_BYTES));
        (0..count).map(slice).chain(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::bench::round::model;

    #[test]
    fn an_update_has_the_models_header_and_other_values() {
        let model = model(100_000).unwrap();
        let file = model.to_safetensors();
        let mut header = Header::default();
        file.chunks(7).for_each(|chunk| header.take(chunk).unwrap());
        let skeleton = Skeleton { header: header.whole().unwrap(), bytes: file.len() as u64 };
        let update = Update::of(skeleton, 7);
        let pieces: Vec<Bytes> = update.pieces().collect();
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= CHUNK_BYTES));
        let sent = pieces.concat();
        let start = model.layout().header().len();
        assert_eq!(sent[..start], file[..start]);
        assert!(sent[start..].chunks_exact(4).all(|value| value == 8e-6_f32.to_le_bytes()));
        assert_eq!(
            (sent.len() as u64, update.digest()),
            (update.bytes(), Digest::blake3(*blake3::hash(&sent).as_bytes()))
        );
    }

    #[test]
    fn a_file_that_ends_in_its_header_is_no_model() {
        let mut header = Header::default();
        header.take(&16_u64.to_le_bytes()).unwrap();
        header.take(b"{}").unwrap();
        assert!(header.whole().is_err());
    }
}
