//! A whole worker against a coordinator that does as it is told: over real TLS on loopback, in one process.

mod support;

mod assignments;
mod corrections;
mod enrolment;
mod hostile;
mod regions;
mod resume;
mod sessions;
mod shutdown;
mod trainers;
mod transfers;
