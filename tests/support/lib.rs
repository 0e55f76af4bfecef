//! The test world: nouns, then an assertion.
//!
//! - [`Coordinator`] is a coordinator in this process, with a directory of its own, that can be stopped and started again.
//! - [`Peer`] is a worker that a test steers message by message, so that it can do what no honest worker would.
//! - [`process`] starts the real program.
//! - [`Postgres`] is a PostgreSQL server of a test's own.
//! - [`s3`] is an S3 server of a test's own.
//! - [`node`], [`proxy`] and [`disk`] are what a test hurts: processes, the lines between them, and a disk to be filled.

pub mod coordinator;
pub mod disk;
pub mod node;
pub mod peer;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod s3;
pub mod update;

pub use coordinator::Coordinator;
pub use peer::{Peer, Session};
pub use postgres::Postgres;
pub use process::{Polder, Running, Said};

/// A parameter count small enough for any test.
pub const PARAMETERS: usize = 12;

/// Waits for something that another task or process brings about, looking again whenever it may have changed; gives up
/// after a minute, which only a failing test ever takes.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never came about: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
