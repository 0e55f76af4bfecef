//! The WebAssembly host for policies: takes components that strangers wrote, asks them questions, and lets them reach nothing.
//!
//! ```no_run
//! # fn main() -> Result<(), polder_policy::PolicyError> {
//! # let question = polder_core::policy::AggregationQuestion::default();
//! use polder_policy::{Limits, PolicyHost};
//!
//! let host = PolicyHost::new(Limits::default(), None)?;
//! let fedavg = host.builtin(polder_core::policy::PolicyKind::Aggregation)?;
//! let plan = host.weigh(&fedavg, "{}", &question)?;
//! # Ok(())
//! # }
//! ```
//!
//! What a policy can do is bounded three times over. It imports no function ([`NotAPolicy`] says which one it wanted), so nothing
//! but its answer leaves it. Every question is put to a fresh instance, so nothing but the state it returns outlives a question.
//! And every question has a budget of time, memory, stack and output ([`Limits`]); using it up is an error like any other
//! ([`PolicyError`]), never a crash of the host. Compiling has its budget too, and in a service a process of its own ([`CompileIn`]).
//!
//! Tensors go through [`Chunks`]: one fresh instance that walks chunks of a model, each with a time budget of its own, all of a round
//! with one that they share ([`RoundBudget`]). Which chunks an instance walks must not depend on the number of threads: an instance can
//! remember what it saw.
//!
//! Answers are checked here for form: lengths, indices, finite numbers. Whether a worker still has the slot is the core's business;
//! whether an aggregate is finite, the pipeline's.
//!
//! All calls block and are short; call them where blocking is fine. [`PolicyHost`] is shared between threads as it is.
//!
//! | module | holds |
//! | --- | --- |
//! | `host`, `policy` | [`PolicyHost`], [`Policy`]: loading, and the policies compiled so far |
//! | `questions` | what a host asks: describe, weigh, place, review |
//! | `chunks`, `floats`, `budget` | combine and step: one copy each way, and whose time it takes |
//! | `placement`, `aggregation`, `release` | the three worlds: questions to the guest's types, answers back, checked |
//! | `contract`, `inspect` | what makes a component a policy: its exports, its version, its lack of imports |
//! | `compile`, `cache` | compiling under limits; the sealed directory that keeps what was compiled |
//! | `engine`, `meter`, `ask` | the sandbox: settings, pool and clock, memory budget, one question to one instance |
//! | `builtin` | the components that ship inside this crate |
//! | [`cases`] | what `polder policy test` runs: recorded cases, and the contract's own checks |

mod aggregation;
mod ask;
mod bindings;
mod budget;
mod builtin;
mod cache;
pub mod cases;
mod chunks;
mod compile;
mod contract;
mod engine;
mod error;
mod floats;
mod host;
mod inspect;
mod limits;
mod meter;
mod placement;
mod policy;
mod questions;
mod release;

pub use ask::Usage;
pub use budget::RoundBudget;
pub use builtin::{Builtin, builtin_named, builtins};
pub use chunks::{ChunkJob, Chunks, Span};
pub use compile::{CompileIn, compiler_main};
pub use contract::CONTRACT_VERSION;
pub use error::{ImpossibleTraits, Nonsense, NotAPolicy, PolicyError};
pub use host::PolicyHost;
pub use inspect::Inspection;
pub use limits::Limits;
pub use policy::Policy;
