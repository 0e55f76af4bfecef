//! The `release` world: what may leave a region.

use serde::de::DeserializeOwned;

use crate::Error;
pub use crate::bindings::release::exports::polder::policy::releaser::{
    Answer, Budget, Context, Precision, Question, Treatment, Update, Verdict,
};

/// A release policy. Export it with [`export_release!`](crate::export_release).
pub trait Release {
    /// What a region may set. Put `#[serde(deny_unknown_fields)]` on it, so that a mistyped key is an error that names the key and
    /// not a default that nobody asked for.
    type Parameters: DeserializeOwned;

    /// Refuses parameters that are out of range. That they are of this type is checked before.
    fn check(parameters: Self::Parameters) -> Result<(), Error> {
        drop(parameters);
        Ok(())
    }

    /// Decides on one update. Called on a fresh instance every time: what must last goes into [`Answer::state`]. Where this fails,
    /// the update stays.
    fn review(question: Question, parameters: Self::Parameters) -> Result<Answer, Error>;
}

impl Question {
    /// The first update that a region would release, of 1000 values with this L2 norm, to a round of three workers; to test with.
    pub fn new(norm: f64) -> Self {
        let update = Update { parameters: 1000, examples: 100, loss: None, steps: None, norm, max_norm: norm };
        let (run, region) = ("digits".into(), "eu-west".into());
        let context = Context { run, round: 1, region, aggregation: "fedavg@0.2.0".into(), cohort: 3, quorum: 2 };
        Self { seed: 0, update, context, budget: Budget { released: 0, withheld: 0 }, state: Vec::new() }
    }
}

impl Answer {
    /// The update leaves, treated like this.
    pub fn release(treatment: Treatment, reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Release(treatment), state: Vec::new(), reason: reason.into() }
    }

    /// Nothing leaves.
    pub fn withhold(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Withhold, state: Vec::new(), reason: reason.into() }
    }

    /// What the next question of the same run hands back, at most 65,536 bytes.
    pub fn with_state(mut self, state: Vec<u8>) -> Self {
        self.state = state;
        self
    }
}

impl Treatment {
    /// The update leaves as it is.
    pub fn none() -> Self {
        Self { clip: None, noise: None, precision: Precision::Float32 }
    }

    /// Scales the update down to this L2 norm, if it is longer.
    pub fn with_clip(mut self, norm: f64) -> Self {
        self.clip = Some(norm);
        self
    }

    /// Adds Gaussian noise of this standard deviation to every value, after clipping.
    pub fn with_noise(mut self, standard_deviation: f64) -> Self {
        self.noise = Some(standard_deviation);
        self
    }

    /// Rounds every value, after the noise.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }
}

/// Makes the component's exports of a type that implements [`Release`](release::Release). Once a crate.
#[macro_export]
macro_rules! export_release {
    ($policy:ty) => {
        const _: () = {
            #[allow(dead_code)]
            struct Exported;

            impl $crate::bindings::release::exports::polder::policy::releaser::Guest for Exported {
                fn check(parameters: ::std::string::String) -> ::core::result::Result<(), $crate::Error> {
                    <$policy as $crate::release::Release>::check($crate::export::parse(&parameters)?)
                }

                fn review(
                    question: $crate::release::Question,
                    parameters: ::std::string::String,
                ) -> ::core::result::Result<$crate::release::Answer, $crate::Error> {
                    let parameters = $crate::export::parse(&parameters)?;
                    <$policy as $crate::release::Release>::review(question, parameters)
                }
            }

            // other targets, on which authors test, have no names for these exports
            #[cfg(target_arch = "wasm32")]
            $crate::export::export_release_bindings! { Exported with_types_in $crate::bindings::release }
        };
    };
}
