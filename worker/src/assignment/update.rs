//! An update, ready to be sent: a header, and a safetensors file that is never copied into one piece.

use std::sync::Arc;

use bytes::Bytes;
use polder_core::AssignmentId;
use polder_core::round::UpdateReceipt;
use polder_proto::CHUNK_BYTES;
use polder_proto::convert::receipt_to_wire;
use polder_proto::v1::{UpdateHeader, UploadUpdateRequest, upload_update_request};
use polder_tensor::Parameters;

use super::work::WorkError;
use crate::correction::Change;
use crate::kept::Sent;
use crate::release::Released;
use crate::trainer::Trained;

pub(super) struct Update {
    receipt: UpdateReceipt,
    /// With an offset of 0.
    header: UpdateHeader,
    /// The file in two parts: the safetensors header, then the values.
    parts: [Bytes; 2],
    values: Values,
}

/// Values as the bytes that the file has (little-endian, as `polder-tensor` makes sure), where training left them.
#[derive(Clone)]
struct Values(Arc<Vec<f32>>);

impl AsRef<[u8]> for Values {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Makes `trained - global` of `trained`, in its own memory.
pub(super) fn subtract(trained: &mut Parameters, global: &Parameters) -> Result<(), WorkError> {
    if let Some(difference) = global.layout().difference(trained.layout()) {
        return Err(WorkError::OtherModel { difference });
    }
    for (local, global) in trained.values_mut().iter_mut().zip(global.values()) {
        *local -= global;
    }
    Ok(trained.check_finite()?)
}

impl Update {
    /// The update that `trained.parameters` hold, checked as the coordinator will check it. There is none that was not released.
    pub(super) fn of(id: &AssignmentId, trained: Trained, _: &Released) -> Result<Self, WorkError> {
        let Trained { parameters, .. } = trained;
        let receipt = UpdateReceipt {
            update: parameters.digest(),
            bytes: parameters.layout().file_bytes(),
            examples: trained.examples,
            loss: trained.loss,
            accuracy: trained.accuracy,
            evaluation: trained.evaluation,
            base_loss: trained.base_loss,
            steps: trained.steps,
            normalizer: trained.normalizer,
            learning_rate: trained.learning_rate,
        };
        receipt.check().map_err(|problem| WorkError::Metrics { problem })?;
        Ok(Self::earlier(id, parameters, receipt))
    }

    /// One that was released and checked before.
    pub(super) fn earlier(id: &AssignmentId, parameters: Parameters, receipt: UpdateReceipt) -> Self {
        let header = receipt_to_wire(id, &receipt);
        let prefix = Bytes::copy_from_slice(parameters.layout().header());
        let values = Values(Arc::new(parameters.into_values()));
        Self { receipt, header, parts: [prefix, Bytes::from_owner(values.clone())], values }
    }

    /// All that is sent, to be kept.
    pub(super) fn sent<'a>(&'a self, released_by: &'a str, change: Option<&'a Change>) -> Sent<'a> {
        Sent { receipt: &self.receipt, released_by, change, parts: [&self.parts[0], &self.parts[1]] }
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values.0
    }

    pub(super) fn bytes(&self) -> u64 {
        self.header.bytes
    }

    pub(super) fn digest(&self) -> &str {
        &self.header.digest
    }

    /// The messages of an upload from `offset` on, each with the share of the file that is sent with it.
    pub(super) fn messages(&self, offset: u64) -> impl Iterator<Item = (UploadUpdateRequest, f64)> + Send + 'static {
        let total = self.header.bytes;
        let header = UpdateHeader { offset, ..self.header.clone() };
        let header = upload_update_request::Message::Header(header);
        let mut sent = offset;
        let data = chunks(self.parts.clone(), offset).map(move |chunk| {
            sent += chunk.len() as u64;
            (upload_update_request::Message::Data(chunk), sent as f64 / total.max(1) as f64)
        });
        let start = offset as f64 / total.max(1) as f64;
        let messages = std::iter::once((header, start)).chain(data);
        messages.map(|(message, share)| (UploadUpdateRequest { message: Some(message) }, share))
    }
}

/// The file from `offset` on, in slices of what is there.
fn chunks(parts: [Bytes; 2], offset: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    let mut skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let parts = parts.map(|mut part| {
        let skipped = skip.min(part.len());
        skip -= skipped;
        part.split_off(skipped)
    });
    parts.into_iter().flat_map(|mut part| {
        std::iter::from_fn(move || {
            let chunk = part.split_to(CHUNK_BYTES.min(part.len()));
            (!chunk.is_empty()).then_some(chunk)
        })
    })
}

#[cfg(test)]
mod tests {
    use polder_core::{RunId, WorkerName};
    use polder_tensor::{Layout, TensorSpec};

    use super::*;

    fn parameters(value: f32) -> Parameters {
        let layout = Layout::new(vec![TensorSpec::new("a", [200_000]), TensorSpec::new("b", [3])]).unwrap();
        let mut parameters = Parameters::zeros(Arc::new(layout));
        parameters.values_mut().fill(value);
        parameters
    }

    fn id() -> AssignmentId {
        AssignmentId { run: RunId::new("r").unwrap(), round: 1, worker: WorkerName::new("w").unwrap() }
    }

    fn trained(parameters: Parameters) -> Trained {
        Trained { loss: Some(0.5), ..Trained::plain(parameters, 4) }
    }

    fn update(mut trained: Trained, global: &Parameters) -> Result<Update, WorkError> {
        subtract(&mut trained.parameters, global)?;
        Update::of(&id(), trained, &Released::for_test())
    }

    fn refusal(trained: Trained, global: &Parameters) -> String {
        match update(trained, global) {
            Ok(_) => panic!("it was taken"),
            Err(error) => crate::channel::chain(&error),
        }
    }

    #[test]
    fn the_file_is_the_delta_from_any_offset() {
        let (global, local) = (parameters(1.0), parameters(1.5));
        let file = local.delta(&global).unwrap().to_safetensors();
        let update = update(trained(local), &global).unwrap();
        assert!(update.values().iter().all(|value| *value == 0.5));
        assert_eq!(update.bytes(), file.len() as u64);
        assert_eq!(update.digest(), polder_core::Digest::blake3(*blake3::hash(&file).as_bytes()).to_string());
        let header = update.parts[0].len() as u64;
        for offset in [0, 1, header - 1, header, header + 5, 300_000, update.bytes() - 1, update.bytes()] {
            let (mut sent, mut shares) = (Vec::new(), Vec::new());
            for (message, share) in update.messages(offset) {
                shares.push(share);
                match message.message.unwrap() {
                    upload_update_request::Message::Header(header) => assert_eq!(header.offset, offset),
                    upload_update_request::Message::Data(data) => {
                        assert!(!data.is_empty() && data.len() <= CHUNK_BYTES);
                        sent.extend_from_slice(&data);
                    }
                }
            }
            assert_eq!(sent, file[offset as usize..], "from {offset}");
            assert_eq!(*shares.last().unwrap(), 1.0);
        }
    }

    #[test]
    fn what_the_coordinator_would_refuse_is_not_sent() {
        let global = parameters(1.0);
        let mut nan = parameters(1.0);
        nan.values_mut()[200_001] = f32::NAN;
        assert!(refusal(trained(nan), &global).contains("no finite number: "));
        let nobody = Trained { examples: 0, ..trained(parameters(1.0)) };
        assert!(refusal(nobody, &global).contains("examples is 0"));
        let layout = Layout::new(vec![TensorSpec::new("a", [200_003])]).unwrap();
        let other = Parameters::zeros(Arc::new(layout));
        assert!(refusal(trained(other), &global).contains("tensor 1 should be"));
    }
}
