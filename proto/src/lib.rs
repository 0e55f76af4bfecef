//! The wire contract: `polder.v1` in `polder/v1/*.proto`, its Rust types, and their conversion to and from the core,
//! which is where nothing from outside is trusted.

pub mod convert;
mod protocol;
mod status;

/// The generated types; `tests/generated.rs` keeps them the same as the `.proto` files.
#[allow(clippy::all, clippy::pedantic, unreachable_pub, rust_2018_idioms, missing_docs)]
#[rustfmt::skip]
pub mod v1 {
    include!("generated/polder.v1.rs");
}

pub use protocol::{NoCommonProtocol, PROTOCOL_NEWEST, PROTOCOL_OLDEST, negotiate};
pub use status::{refusal_word, refused, unwelcome};

/// Bytes of model or update in one message: large enough that framing costs nothing, small enough that a slow peer
/// holds little memory.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// Largest message either side accepts.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
