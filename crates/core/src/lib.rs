//! Polder's domain: runs, rounds, workers and tokens as plain values.
//!
//! Nothing here reads a clock, a file, a socket or a random number. [`Federation::apply`] takes the time and one
//! [`Event`] and returns [`Effect`]s for the shell (`coordinator::driver`, or `polder-sim`) to carry out. The same events
//! in the same order always give the same state, which is what makes the journal a complete description of a coordinator.
//!
//! | module | holds |
//! | --- | --- |
//! | [`id`], [`digest`], [`time`] | the nouns: names and ids checked when made, content digests, instants handed in |
//! | [`spec`] | what a user asked for: a run, its policies, its deadlines |
//! | [`policy`] | the questions a policy answers, and the answers |
//! | [`worker`], [`enrolment`] | who is here, with what; who may join |
//! | [`run`], [`round`] | the two state machines; a file a phase |
//! | [`federation`] | all of it together: the scheduler and the one entrance, `apply` |
//! | [`event`], [`effect`] | everything that can happen, everything the core can ask for |
//! | [`view`] | what users are shown, reasons included |
//! | [`invariants`] | what is always true, one named predicate each |
//! | [`lease`] | who leads, when several coordinators share a database |

pub mod digest;
pub mod effect;
pub mod enrolment;
pub mod event;
pub mod federation;
pub mod id;
pub mod invariants;
pub mod lease;
pub mod policy;
pub mod round;
pub mod run;
pub mod spec;
pub mod time;
pub mod view;
pub mod worker;

pub use digest::Digest;
pub use effect::Effect;
pub use event::Event;
pub use federation::Federation;
pub use id::{
    AssignmentId, PolicyId, PolicyName, PolicyVersion, QuestionId, Region, RoundNumber, RunId, TokenId, WorkerName,
};
pub use time::Timestamp;
