//! Models and updates of a few parameters, good and bad.

use std::sync::Arc;

use polder_core::Digest;
use polder_tensor::{Layout, Parameters, TensorSpec};

/// The shape of every test model: two tensors, [`PARAMETERS`](crate::PARAMETERS) values.
pub fn layout() -> Arc<Layout> {
    let specs = vec![TensorSpec::new("weight", [3, 3]), TensorSpec::new("bias", [3])];
    Arc::new(Layout::new(specs).unwrap())
}

/// The model that test runs start from.
pub fn model() -> Parameters {
    filled(0.5)
}

/// An update (or model) with one value everywhere.
pub fn filled(value: f32) -> Parameters {
    Parameters::new(layout(), vec![value; crate::PARAMETERS]).unwrap()
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::blake3(*blake3::hash(bytes).as_bytes())
}
