//! A model or an update in memory: a layout and one value for each parameter.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use ndarray::ArrayViewD;
use polder_core::Digest;

use crate::finite::{self, NotFinite};
use crate::layout::{Layout, LayoutError};

/// Below this, threads cost more than they bring.
const PARALLEL_HASH_BYTES: usize = 1 << 20;

/// Why something is no model or update.
#[derive(Debug, thiserror::Error)]
pub enum ParametersError {
    #[error("the file does not describe float32 tensors")]
    Layout(#[from] LayoutError),
    #[error("the model has {expected} parameters, but {got} values were given")]
    Count { expected: u64, got: u64 },
    #[error("by its header the file has {expected} bytes of parameters, but there are {got}")]
    Length { expected: u64, got: u64 },
    #[error("the two do not have the same tensors: {difference}")]
    Different { difference: String },
    #[error("could not read the parameters")]
    Read(#[source] std::io::Error),
}

/// The values of a model or an update, all tensors one after the other in the order of the layout.
#[derive(Clone, PartialEq)]
pub struct Parameters {
    layout: Arc<Layout>,
    values: Vec<f32>,
}

impl Parameters {
    /// Takes `values`, one for each parameter of `layout`.
    pub fn new(layout: Arc<Layout>, values: Vec<f32>) -> Result<Self, ParametersError> {
        if values.len() == layout.len() {
            Ok(Self { layout, values })
        } else {
            Err(ParametersError::Count { expected: layout.parameter_count(), got: values.len() as u64 })
        }
    }

    /// All zero. Allocates four bytes a parameter, so bound the layout first where it comes from outside.
    #[must_use]
    pub fn zeros(layout: Arc<Layout>) -> Self {
        let values = vec![0.0; layout.len()];
        Self { layout, values }
    }

    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    #[must_use]
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// The tensor `name` in its shape, if there is one.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        let spec = self.layout.spec(name)?;
        ArrayViewD::from_shape(spec.shape.as_slice(), &self.values[self.layout.span(name)?]).ok()
    }

    /// Reads any safetensors file that has only F32 tensors; see [`Layout::parse`]. Values may be NaN or infinite:
    /// ask [`check_finite`](Self::check_finite).
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ParametersError> {
        Self::read(&mut &*bytes, bytes.len() as u64)
    }

    /// The same from a reader of `file_bytes` bytes, without a second copy in memory. Nothing is allocated for the
    /// values before the header has been found to agree with `file_bytes`.
    pub fn read(reader: &mut impl Read, file_bytes: u64) -> Result<Self, ParametersError> {
        let mut prefix = vec![0; 8];
        reader.read_exact(&mut prefix).map_err(ParametersError::Read)?;
        let length = [0, 1, 2, 3, 4, 5, 6, 7].map(|at| prefix[at]);
        prefix.resize(Layout::prefix_bytes(length)?, 0);
        reader.read_exact(&mut prefix[8..]).map_err(ParametersError::Read)?;
        let layout = Layout::parse(&prefix)?;

        let expected = layout.parameter_count() * 4;
        let got = file_bytes.saturating_sub(prefix.len() as u64);
        if expected != got {
            return Err(ParametersError::Length { expected, got });
        }
        let mut values = vec![0.0; layout.len()];
        reader.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(ParametersError::Read)?;
        Ok(Self { layout: Arc::new(layout), values })
    }

    /// The canonical file.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        [self.layout.header(), self.value_bytes()].concat()
    }

    /// Writes the canonical file, without a copy of it in memory.
    pub fn write(&self, writer: &mut impl Write) -> std::io::Result<()> {
        writer.write_all(self.layout.header())?;
        writer.write_all(self.value_bytes())
    }

    /// BLAKE3 of the canonical file: what a model and an update are called.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.layout.header());
        if self.value_bytes().len() < PARALLEL_HASH_BYTES {
            hasher.update(self.value_bytes());
        } else {
            hasher.update_rayon(self.value_bytes());
        }
        Digest::blake3(*hasher.finalize().as_bytes())
    }

    /// `self - base`: the update of a worker that started at `base` and arrived here.
    pub fn delta(&self, base: &Self) -> Result<Self, ParametersError> {
        if let Some(difference) = base.layout.difference(&self.layout) {
            return Err(ParametersError::Different { difference });
        }
        let values = self.values.iter().zip(&base.values).map(|(local, global)| local - global).collect();
        Ok(Self { layout: Arc::clone(&self.layout), values })
    }

    /// Refuses NaN and infinite values, naming the first.
    pub fn check_finite(&self) -> Result<(), NotFinite> {
        match finite::first_non_finite(&self.values) {
            None => Ok(()),
            Some(parameter) => Err(self.layout.not_finite(parameter)),
        }
    }

    fn value_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.values)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({:?}, {:?})", self.layout, self.digest())
    }
}

#[cfg(test)]
mod tests;
