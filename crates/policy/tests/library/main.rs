//! Every aggregation policy that ships, run as a component in the sandbox for whole rounds, against references that are written
//! from the papers, in plain float64 over whole vectors, and share no code with the policies.

mod close;
mod columns;
mod drift;
mod federation;
mod inputs;
mod means;
mod optimizers;
mod parameters;
mod robust;
mod vector;
