//! Which tensors a model has: names, shapes and their places in the canonical file.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

use crate::finite::NotFinite;

mod header;

/// Longest tensor name, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Most tensors in a layout.
pub const TENSORS_MAX: usize = 100_000;
/// Most dimensions of a tensor.
pub const RANK_MAX: usize = 32;
/// Longest file prefix (length field and JSON header together), in bytes.
pub const HEADER_BYTES_MAX: usize = 16 << 20;
/// Most parameters in a layout; such a file is 1 TiB.
pub const PARAMETERS_MAX: u64 = 1 << 38;

/// Bytes of the length field that opens a safetensors file.
const LENGTH_BYTES: usize = 8;
const F32_BYTES: u64 = 4;
/// The one key of a safetensors header that is not a tensor.
const METADATA_KEY: &str = "__metadata__";

/// One tensor: its name and its shape. No dimensions at all is a scalar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<usize>,
}

impl TensorSpec {
    #[must_use]
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into() }
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {:?}", self.name, self.shape)
    }
}

/// Why something is no layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("a model needs at least one tensor")]
    Empty,
    #[error("more than {TENSORS_MAX} tensors")]
    TooManyTensors,
    #[error("tensor name `{start}…` has {bytes} bytes; at most {NAME_BYTES_MAX} are allowed")]
    NameTooLong { start: String, bytes: usize },
    #[error("`{METADATA_KEY}` and the empty name cannot name a tensor")]
    NameReserved,
    #[error("tensor `{name}` is named twice")]
    NameTwice { name: String },
    #[error("tensor `{name}` has more than {RANK_MAX} dimensions")]
    RankTooHigh { name: String },
    #[error("tensor {tensor} has no elements; leave it out")]
    NoElements { tensor: TensorSpec },
    #[error("tensor {tensor} takes the model beyond {PARAMETERS_MAX} parameters")]
    TooLarge { tensor: TensorSpec },
    #[error("tensor `{name}` is {dtype}; only F32 is exchanged, so convert it first")]
    NotF32 { name: String, dtype: Dtype },
    #[error("the header would have {bytes} bytes; at most {HEADER_BYTES_MAX} are allowed")]
    HeaderTooLong { bytes: u64 },
    #[error("the file ends inside its header, after {bytes} bytes")]
    HeaderTruncated { bytes: usize },
    #[error("the safetensors header is not valid")]
    Header(#[source] serde_json::Error),
    #[error("the tensors' offsets in the safetensors header leave holes, overlap or do not fit their shapes")]
    Offsets(#[source] safetensors::SafeTensorError),
}

/// Ordered, named f32 tensors, checked and bounded, with the file header that describes them.
///
/// Two layouts are equal when they have the same tensors in the same order; their [`header`](Self::header)s are then
/// the same bytes.
#[derive(Clone)]
pub struct Layout {
    specs: Vec<TensorSpec>,
    /// First parameter of each tensor, and the parameter count at the end.
    starts: Vec<usize>,
    index: HashMap<String, usize>,
    header: Vec<u8>,
}

impl Layout {
    /// Checks `specs` against the bounds of this module and lays them out one after the other.
    pub fn new(specs: Vec<TensorSpec>) -> Result<Self, LayoutError> {
        if specs.is_empty() {
            return Err(LayoutError::Empty);
        }
        if specs.len() > TENSORS_MAX {
            return Err(LayoutError::TooManyTensors);
        }
        let mut starts = Vec::with_capacity(specs.len() + 1);
        let mut index = HashMap::with_capacity(specs.len());
        let mut end = 0;
        starts.push(0);
        for (place, spec) in specs.iter().enumerate() {
            end += elements(spec)?;
            if end > PARAMETERS_MAX {
                return Err(LayoutError::TooLarge { tensor: spec.clone() });
            }
            starts.push(usize::try_from(end).map_err(|_| LayoutError::TooLarge { tensor: spec.clone() })?);
            if index.insert(spec.name.clone(), place).is_some() {
                return Err(LayoutError::NameTwice { name: spec.name.clone() });
            }
        }
        let header = canonical_header(&specs, &starts)?;
        Ok(Self { specs, starts, index, header })
    }

    /// Reads the layout from the first bytes of any safetensors file: the length field, the JSON header, and as much
    /// of the data after it as happens to be there. Keys may come in any order; offsets decide the order of tensors.
    ///
    /// The result describes the canonical file, which need not be the file that was read: that one may carry metadata
    /// or other white space. Only tensors of type F32 are accepted, and only without holes between them.
    pub fn parse(bytes: &[u8]) -> Result<Self, LayoutError> {
        let truncated = || LayoutError::HeaderTruncated { bytes: bytes.len() };
        let length = *bytes.first_chunk::<LENGTH_BYTES>().ok_or_else(truncated)?;
        let json = bytes.get(LENGTH_BYTES..Self::prefix_bytes(length)?).ok_or_else(truncated)?;
        Self::new(header::tensors(json)?)
    }

    /// How many bytes the prefix of a safetensors file has, length field included, from the `length` field itself.
    pub fn prefix_bytes(length: [u8; 8]) -> Result<usize, LayoutError> {
        let bytes = u64::from_le_bytes(length).saturating_add(LENGTH_BYTES as u64);
        match usize::try_from(bytes) {
            Ok(prefix) if prefix <= HEADER_BYTES_MAX => Ok(prefix),
            _ => Err(LayoutError::HeaderTooLong { bytes }),
        }
    }

    #[must_use]
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
    }

    /// How many f32 values all tensors have together.
    #[must_use]
    pub fn parameter_count(&self) -> u64 {
        self.len() as u64
    }

    /// [`parameter_count`](Self::parameter_count) as a length in memory.
    pub(crate) fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The canonical safetensors prefix: eight bytes of length, then JSON with the tensors in order, padded with
    /// spaces to a multiple of eight bytes. The first parameter follows directly.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Where the first parameter lies in the file, in bytes.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        self.header.len() as u64
    }

    /// Size of the whole file, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.data_offset() + F32_BYTES * self.parameter_count()
    }

    /// The parameters that belong to the tensor `name`.
    #[must_use]
    pub fn span(&self, name: &str) -> Option<Range<usize>> {
        let place = *self.index.get(name)?;
        Some(self.starts[place]..self.starts[place + 1])
    }

    /// Every tensor with the parameters that belong to it, in order.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = (&TensorSpec, Range<usize>)> {
        self.specs.iter().zip(self.starts.windows(2).map(|pair| pair[0]..pair[1]))
    }

    /// The tensor that holds `parameter`, with the place in it; `None` beyond the last one.
    #[must_use]
    pub fn locate(&self, parameter: usize) -> Option<(&TensorSpec, usize)> {
        let place = self.starts.partition_point(|start| *start <= parameter).checked_sub(1)?;
        Some((self.specs.get(place)?, parameter - self.starts[place]))
    }

    /// The number of the tensor that holds `parameter`, and the parameters that belong to it; `None` beyond the last one.
    #[must_use]
    pub fn tensor_at(&self, parameter: usize) -> Option<(usize, Range<usize>)> {
        let place = self.starts.partition_point(|start| *start <= parameter).checked_sub(1)?;
        Some((place, self.starts[place]..*self.starts.get(place + 1)?))
    }

    /// Names the place of a `parameter` that was found not to be finite.
    #[must_use]
    pub fn not_finite(&self, parameter: usize) -> NotFinite {
        let (tensor, index) = self.locate(parameter).map_or(("", parameter), |(spec, index)| (&spec.name, index));
        NotFinite { tensor: tensor.to_owned(), index }
    }

    pub(crate) fn spec(&self, name: &str) -> Option<&TensorSpec> {
        self.specs.get(*self.index.get(name)?)
    }

    /// Says in words where `other` first differs from this layout; `None` when they are equal.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        for (place, (ours, theirs)) in self.specs.iter().zip(&other.specs).enumerate() {
            if ours != theirs {
                return Some(format!("tensor {} should be {ours}, but is {theirs}", place + 1));
            }
        }
        match (self.specs.get(other.specs.len()), other.specs.get(self.specs.len())) {
            (Some(missing), _) => Some(format!("tensor {missing} is missing")),
            (None, Some(extra)) => Some(format!("tensor {extra} does not belong there")),
            (None, None) => None,
        }
    }
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.specs == other.specs
    }
}

impl Eq for Layout {}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layout({} tensors, {} parameters)", self.specs.len(), self.parameter_count())
    }
}

/// Checks one tensor by itself and counts its elements.
fn elements(spec: &TensorSpec) -> Result<u64, LayoutError> {
    if spec.name.is_empty() || spec.name == METADATA_KEY {
        return Err(LayoutError::NameReserved);
    }
    if spec.name.len() > NAME_BYTES_MAX {
        return Err(LayoutError::NameTooLong { start: spec.name.chars().take(40).collect(), bytes: spec.name.len() });
    }
    if spec.shape.len() > RANK_MAX {
        return Err(LayoutError::RankTooHigh { name: spec.name.clone() });
    }
    // An empty tensor would share its offset with its neighbour, and the order of the two would be lost in a file.
    if spec.shape.contains(&0) {
        return Err(LayoutError::NoElements { tensor: spec.clone() });
    }
    spec.shape
        .iter()
        .try_fold(1_u64, |product, size| product.checked_mul(*size as u64))
        .filter(|product| *product <= PARAMETERS_MAX)
        .ok_or_else(|| LayoutError::TooLarge { tensor: spec.clone() })
}

fn canonical_header(specs: &[TensorSpec], starts: &[usize]) -> Result<Vec<u8>, LayoutError> {
    let bytes_of = |parameter: usize| parameter * F32_BYTES as usize;
    let tensors = specs.iter().zip(starts.windows(2)).map(|(spec, pair)| {
        let data_offsets = (bytes_of(pair[0]), bytes_of(pair[1]));
        (spec.name.clone(), TensorInfo { dtype: Dtype::F32, shape: spec.shape.clone(), data_offsets })
    });
    let metadata = Metadata::new(None, tensors.collect()).map_err(LayoutError::Offsets)?;
    let mut header = vec![0; LENGTH_BYTES];
    serde_json::to_writer(&mut header, &metadata).map_err(LayoutError::Header)?;
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
    if header.len() > HEADER_BYTES_MAX {
        return Err(LayoutError::HeaderTooLong { bytes: header.len() as u64 });
    }
    let json_bytes = (header.len() - LENGTH_BYTES) as u64;
    header[..LENGTH_BYTES].copy_from_slice(&json_bytes.to_le_bytes());
    Ok(header)
}

#[cfg(test)]
mod tests;
