//! Several coordinators over one PostgreSQL and one directory of blobs: whichever of them is killed, paused or stopped, the
//! federation goes on. Real processes; where there is no PostgreSQL these tests say that they were skipped.

mod lines;
mod panics;
mod rolling;
mod start_up;
mod takeover;
mod world;
