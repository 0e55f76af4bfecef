//! Reads a safetensors header that may have been written to hurt.
//!
//! `safetensors` deserialises it through a map of buffered JSON values, in which a key may be repeated and sixteen
//! megabytes of header grow to hundreds. Its types are used here one tensor at a time instead, and its `Metadata`
//! checks the offsets.

use std::fmt;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{LayoutError, METADATA_KEY, TENSORS_MAX, TensorSpec};

/// The tensors that the JSON of a header describes, in the order of their offsets.
pub(super) fn tensors(json: &[u8]) -> Result<Vec<TensorSpec>, LayoutError> {
    let Header(mut tensors) = serde_json::from_slice(json).map_err(LayoutError::Header)?;
    if let Some((name, info)) = tensors.iter().find(|(_, info)| info.dtype != Dtype::F32) {
        return Err(LayoutError::NotF32 { name: name.clone(), dtype: info.dtype });
    }
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let specs = tensors.iter().map(|(name, info)| TensorSpec::new(name.as_str(), info.shape.as_slice())).collect();
    Metadata::new(None, tensors).map_err(LayoutError::Offsets)?;
    Ok(specs)
}

struct Header(Vec<(String, TensorInfo)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a safetensors header: an object with one entry a tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA_KEY {
                map.next_value::<IgnoredAny>()?;
            } else if tensors.len() == TENSORS_MAX {
                return Err(A::Error::custom(format_args!("more than {TENSORS_MAX} tensors")));
            } else {
                tensors.push((name, map.next_value()?));
            }
        }
        Ok(Header(tensors))
    }
}
