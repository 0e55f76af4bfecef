//! What a Polder policy in Rust needs: the questions and answers of `polder:policy` as Rust types, a trait and an export macro
//! for each world, parameters parsed by serde, and the allocator.
//!
//! A policy is a crate of type `cdylib`, built for `wasm32-unknown-unknown` (no WASI: a host refuses a component that imports a
//! function) and wrapped into a component:
//!
//! ```
//! use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, Traits};
//! use polder_policy_sdk::{Error, export_aggregation};
//!
//! /// Every update counts the same.
//! struct Mean;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Parameters {}
//!
//! impl Aggregation for Mean {
//!     type Parameters = Parameters;
//!
//!     fn describe(_: Parameters) -> Result<Traits, Error> {
//!         Ok(Traits::sums())
//!     }
//!
//!     fn weigh(question: Question, _: Parameters) -> Result<Plan, Error> {
//!         let count = question.updates.len();
//!         Ok(Plan::new(vec![1.0 / count as f32; count], format!("the mean of {count} updates")))
//!     }
//! }
//!
//! export_aggregation!(Mean);
//! ```
//!
//! A policy that panics traps; the host then does what the run's `on_failure` says. Prefer [`Error`], whose text users see.

pub mod aggregation;
#[cfg(any(target_arch = "wasm32", test))]
mod alloc;
pub mod columns;
pub mod elementwise;
mod figures;
pub mod geometry;
mod parameters;
pub mod placement;
pub mod release;
pub mod weights;

pub use bindings::placement::polder::policy::types::Error;
pub use figures::figure;
pub use parameters::require;

/// Generated from `plugins/wit`; the modules [`placement`], [`aggregation`] and [`release`] re-export what an author needs.
#[doc(hidden)]
#[allow(unsafe_code, unused_qualifications, clippy::all, missing_docs)]
pub mod bindings {
    pub mod placement {
        wit_bindgen::generate!({
            path: "../../wit",
            world: "placement",
            pub_export_macro: true,
            export_macro_name: "export_placement_bindings",
            default_bindings_module: "polder_policy_sdk::bindings::placement",
            additional_derives: [PartialEq],
        });
    }

    pub mod aggregation {
        wit_bindgen::generate!({
            path: "../../wit",
            world: "aggregation",
            pub_export_macro: true,
            export_macro_name: "export_aggregation_bindings",
            default_bindings_module: "polder_policy_sdk::bindings::aggregation",
            with: { "polder:policy/types@0.2.0": crate::bindings::placement::polder::policy::types },
            additional_derives: [PartialEq],
        });
    }

    pub mod release {
        wit_bindgen::generate!({
            path: "../../wit",
            world: "release",
            pub_export_macro: true,
            export_macro_name: "export_release_bindings",
            default_bindings_module: "polder_policy_sdk::bindings::release",
            with: { "polder:policy/types@0.2.0": crate::bindings::placement::polder::policy::types },
            additional_derives: [PartialEq],
        });
    }
}

/// What the export macros expand to; not for authors.
#[doc(hidden)]
pub mod export {
    pub use crate::bindings::aggregation::export_aggregation_bindings;
    pub use crate::bindings::placement::export_placement_bindings;
    pub use crate::bindings::release::export_release_bindings;
    pub use crate::parameters::parse;
}

/// Holds the examples of `plugins/README.md` to this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
