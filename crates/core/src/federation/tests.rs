//! The whole federation, one entrance: a small world in which tests name workers, say what happened and what is true.

mod buffered;
mod enrolment;
mod membership;
mod memory;
mod placement;
mod policies;
mod restart;
mod rounds;
mod standby;
mod waits;
mod world;
