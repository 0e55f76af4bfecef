//! Who may do what: every RPC against every kind of caller, and enrolment against every kind of newcomer.

mod authorization;
mod callers;
mod enrolment;
mod silent;
