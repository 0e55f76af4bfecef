//! The `placement` world: who trains, where, on which GPU.

use serde::de::DeserializeOwned;

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
