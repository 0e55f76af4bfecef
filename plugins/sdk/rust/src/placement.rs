//! The `placement` world: who trains, where, on which GPU.

mod seating;

use serde::de::DeserializeOwned;

pub use self::seating::{Seating, percent, place_in_order};
use crate::Error;
pub use crate::bindings::placement::exports::polder::policy::placer::{
    Answer, Assignment, Declined, Demand, Gpu, Load, Question, Worker,
};

/// A placement policy. Export it with [`export_placement!`](crate::export_placement).
pub trait Placement {
    /// What a run may set, from its `parameters`. Put `#[serde(deny_unknown_fields)]` on it, so that a mistyped key is an error
    /// that names the key and not a default that nobody asked for.
    type Parameters: DeserializeOwned;

    /// Refuses parameters that are out of range. That they are of this type is checked before.
    fn check(parameters: Self::Parameters) -> Result<(), Error> {
        drop(parameters);
        Ok(())
    }

    /// Answers one question. Called on a fresh instance every time: what must last goes into [`Answer::state`].
    fn place(question: Question, parameters: Self::Parameters) -> Result<Answer, Error>;
}

impl Question {
    /// A first question, to test with.
    pub fn new(demands: Vec<Demand>, workers: Vec<Worker>) -> Self {
        Self { seed: 0, demands, workers, state: Vec::new() }
    }
}

impl Demand {
    /// A first round that would like `seats` workers and can go on with `seats_min`, to test with.
    pub fn new(seats: u32, seats_min: u32, candidates: &[u32]) -> Self {
        Self { run: "digits".into(), round: 1, seats, seats_min, candidates: candidates.to_vec() }
    }
}

impl Worker {
    /// An idle worker of a machine without GPUs, to test with.
    pub fn idle(name: &str, slots: u32) -> Self {
        let load = Load { cpu_utilization: 0.0, memory_free_bytes: 1 << 30, gpus: Vec::new() };
        let region = "eu-west".into();
        Self { name: name.into(), region, slots, slots_free: slots, rounds_assigned: 0, latency_ms: None, load }
    }
}

/// Makes the component's exports of a type that implements [`Placement`](placement::Placement). Once a crate.
#[macro_export]
macro_rules! export_placement {
    ($policy:ty) => {
        const _: () = {
            #[allow(dead_code)]
            struct Exported;

            impl $crate::bindings::placement::exports::polder::policy::placer::Guest for Exported {
                fn check(parameters: ::std::string::String) -> ::core::result::Result<(), $crate::Error> {
                    <$policy as $crate::placement::Placement>::check($crate::export::parse(&parameters)?)
                }

                fn place(
                    question: $crate::placement::Question,
                    parameters: ::std::string::String,
                ) -> ::core::result::Result<$crate::placement::Answer, $crate::Error> {
                    let parameters = $crate::export::parse(&parameters)?;
                    <$policy as $crate::placement::Placement>::place(question, parameters)
                }
            }

            // other targets, on which authors test, have no names for these exports
            #[cfg(target_arch = "wasm32")]
            $crate::export::export_placement_bindings! { Exported with_types_in $crate::bindings::placement }
        };
    };
}
