//! The `aggregation` world: how the updates of a round become a model.

use serde::de::DeserializeOwned;

use crate::Error;
pub use crate::bindings::aggregation::exports::polder::policy::aggregator::{Plan, Question, Shape, Traits, Update};

/// An aggregation policy. Export it with [`export_aggregation!`](crate::export_aggregation).
pub trait Aggregation {
    /// What a run may set, from its `parameters`. Put `#[serde(deny_unknown_fields)]` on it, so that a mistyped key is an error
    /// that names the key and not a default that nobody asked for.
    type Parameters: DeserializeOwned;

    /// Says what the policy needs to see; also the place to refuse parameters that are out of range.
    fn describe(parameters: Self::Parameters) -> Result<Traits, Error>;

    /// Weighs the updates of one round. Called on a fresh instance every time.
    fn weigh(question: Question, parameters: Self::Parameters) -> Result<Plan, Error>;
}

/// Makes the component's exports of a type that implements [`Aggregation`](aggregation::Aggregation). Once a crate.
#[macro_export]
macro_rules! export_aggregation {
    ($policy:ty) => {
        const _: () = {
            #[allow(dead_code)]
            struct Exported;

            impl $crate::bindings::aggregation::exports::polder::policy::aggregator::Guest for Exported {
                fn describe(
                    parameters: ::std::string::String,
                ) -> ::core::result::Result<$crate::aggregation::Traits, $crate::Error> {
                    <$policy as $crate::aggregation::Aggregation>::describe($crate::export::parse(&parameters)?)
                }

                fn weigh(
                    question: $crate::aggregation::Question,
                    parameters: ::std::string::String,
                ) -> ::core::result::Result<$crate::aggregation::Plan, $crate::Error> {
                    let parameters = $crate::export::parse(&parameters)?;
                    <$policy as $crate::aggregation::Aggregation>::weigh(question, parameters)
                }
            }

            // other targets, on which authors test, have no names for these exports
            #[cfg(target_arch = "wasm32")]
            $crate::export::export_aggregation_bindings! { Exported with_types_in $crate::bindings::aggregation }
        };
    };
}
