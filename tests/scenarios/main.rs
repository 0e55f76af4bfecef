//! A federation lives, is hurt, and goes on. What needs no real training runs in one process with workers that the test
//! steers ([`polder_tests::Peer`]); the rest starts the real program.

mod by_hand;
mod full_disk;
mod kills;
mod library;
mod policies_buffered;
mod policy_names;
mod real_data;
mod released;
mod resume;
mod retention;
mod rounds;
mod scale;
mod standby;
mod start_up;
mod updates;
