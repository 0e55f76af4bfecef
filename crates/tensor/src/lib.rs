//! Named float32 tensors: what a model is made of, how it lies in a file, and the arithmetic on it.
//!
//! A model and an update are both a safetensors file in one canonical form ([`Layout::header`], then the parameters as
//! little-endian f32 without gaps), so that the same values always have the same digest.
//!
//! | module | holds |
//! | --- | --- |
//! | [`layout`] | which tensors, in which order: the header of the file |
//! | [`parameters`] | a layout and its values in memory |
//! | [`check`] | a received update, checked while it streams in |
//! | [`finite`] | where a value is no number |
//! | [`kernels`] | weighted sums and inner products, the same bits on every machine |
//! | [`reference`](self::reference) | medians, Adam and Krum natively, for the benchmark |

pub mod check;
pub mod finite;
pub mod kernels;
pub mod layout;
pub mod parameters;
pub mod reference;

pub use check::{UpdateCheck, UpdateFault};
pub use finite::NotFinite;
pub use layout::{Layout, LayoutError, TensorSpec};
pub use parameters::{Parameters, ParametersError};

// Files hold little-endian floats and are read straight into memory.
const _: () = assert!(cfg!(target_endian = "little"), "polder runs on little-endian machines only");
