//! What the coordinators' store promises, on each database that it can lie in: the same tests on SQLite and on a real
//! PostgreSQL server, which they start themselves.

mod answers;
mod backup;
mod full;
mod journal;
mod lease;
mod objects;
mod place;
mod released;
mod server;
mod snapshot;
