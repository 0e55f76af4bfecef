//! The `aggregation` world: how the updates of a round become a model.

use serde::de::DeserializeOwned;

use crate::Error;
pub use crate::bindings::aggregation::exports::polder::policy::aggregator::{
    Chunk, Correction, Plan, Question, Shape, Statistics, StatisticsWanted, Stepped, Tensor, Training, Traits, Update,
};

/// An aggregation policy. Export it with [`export_aggregation!`](crate::export_aggregation).
pub trait Aggregation {
    /// What a run may set, from its `parameters`. Put `#[serde(deny_unknown_fields)]` on it, so that a mistyped key is an error
    /// that names the key and not a default that nobody asked for.
    type Parameters: DeserializeOwned;

    /// Says what the policy needs to see; also the place to refuse parameters that are out of range.
    fn describe(parameters: Self::Parameters) -> Result<Traits, Error>;

    /// Weighs the updates of one round. Called on a fresh instance every time.
    fn weigh(question: Question, parameters: Self::Parameters) -> Result<Plan, Error>;

    /// The aggregate of a chunk: `rows` holds the values of every update whose weight is above 0, one row an update, all of one
    /// length, and `weights` their weights. For [`Traits::columns`] only.
    fn combine(
        chunk: Chunk,
        rows: Vec<Vec<f32>>,
        weights: Vec<f32>,
        parameters: Self::Parameters,
    ) -> Result<Vec<f32>, Error> {
        drop((chunk, rows, weights, parameters));
        Err(Error::Question("this policy is not one of columns: it combines nothing".into()))
    }

    /// The next model's values of a chunk, and the state's. For [`Traits::with_step`] only.
    fn step(chunk: Chunk, part: Part, parameters: Self::Parameters) -> Result<Stepped, Error> {
        drop((chunk, part, parameters));
        Err(Error::Question("this policy has no step".into()))
    }
}

/// What a step starts from, in lists of one length. Change `model` and `state` in place and return [`Part::stepped`].
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The model of the round's start.
    pub model: Vec<f32>,
    /// What the updates became: adding it to the model is plain averaging.
    pub aggregate: Vec<f32>,
    /// One weighted sum for each of [`Plan::extra_weights`].
    pub extra: Vec<Vec<f32>>,
    /// The state tensors, all zero in the first round.
    pub state: Vec<Vec<f32>>,
}

impl Part {
    /// The model and the state as they are now, as the step's answer.
    pub fn stepped(self) -> Stepped {
        Stepped { model: self.model, state: self.state }
    }
}

impl Update {
    /// An update of a synchronous round of which nothing else is known.
    pub fn new(examples: u64) -> Self {
        Self { examples, loss: None, base_loss: None, staleness: 0, steps: None, normalizer: None, learning_rate: None }
    }
}

impl Question {
    /// The first round of a model without tensors, to test with.
    pub fn new(updates: Vec<Update>) -> Self {
        Self {
            round: 1,
            seed: 0,
            model_parameters: 0,
            tensors: Vec::new(),
            population: updates.len() as u32,
            updates,
            statistics: Statistics { norms: Vec::new(), products: Vec::new() },
            state: Vec::new(),
        }
    }
}

impl Traits {
    /// Only weights matter, and they follow from what updates say of themselves.
    pub fn sums() -> Self {
        Self {
            shape: Shape::Sums,
            statistics: StatisticsWanted::empty(),
            updates_min: 1,
            has_step: false,
            state_tensors: 0,
            training: Training { proximal_mu: None, correction: None, base_loss: false },
        }
    }

    /// [`combine`](Aggregation::combine) gets every update's values.
    pub fn columns() -> Self {
        Self { shape: Shape::Columns, ..Self::sums() }
    }

    /// Only weights matter, and they follow from these statistics.
    pub fn geometry(statistics: StatisticsWanted) -> Self {
        Self { shape: Shape::Geometry, statistics, ..Self::sums() }
    }

    /// [`weigh`](Aggregation::weigh) gets these statistics. Not for [`sums`](Self::sums).
    pub fn with_statistics(mut self, statistics: StatisticsWanted) -> Self {
        self.statistics = statistics;
        self
    }

    /// [`step`](Aggregation::step) makes the next model, with this many state tensors, at most 4.
    pub fn with_step(mut self, state_tensors: u32) -> Self {
        self.has_step = true;
        self.state_tensors = state_tensors;
        self
    }

    /// Fewest updates the policy can work with.
    pub fn with_updates_min(mut self, updates: u32) -> Self {
        self.updates_min = updates;
        self
    }

    /// Local training adds `mu / 2 * |w - w_base|^2` to its loss.
    pub fn with_proximal_mu(mut self, mu: f64) -> Self {
        self.training.proximal_mu = Some(mu);
        self
    }

    /// Local training corrects its gradients.
    pub fn with_correction(mut self, correction: Correction) -> Self {
        self.training.correction = Some(correction);
        self
    }

    /// Updates tell the loss of the model they started from.
    pub fn with_base_loss(mut self) -> Self {
        self.training.base_loss = true;
        self
    }
}

impl Plan {
    /// One weight an update, and one sentence for users.
    pub fn new(weights: Vec<f32>, reason: impl Into<String>) -> Self {
        Self {
            weights,
            extra_weights: Vec::new(),
            memo: Vec::new(),
            state: Vec::new(),
            notes: Vec::new(),
            reason: reason.into(),
        }
    }

    /// One more weighted sum, for [`step`](Aggregation::step) as the next of [`Part::extra`]; at most two.
    pub fn with_extra(mut self, weights: Vec<f32>) -> Self {
        self.extra_weights.push(weights);
        self
    }

    /// What this round's chunks carry, at most 65,536 bytes.
    pub fn with_memo(mut self, memo: Vec<u8>) -> Self {
        self.memo = memo;
        self
    }

    /// What the next round's question hands back, at most 65,536 bytes.
    pub fn with_state(mut self, state: Vec<u8>) -> Self {
        self.state = state;
        self
    }

    /// Why each update counts as it does; an empty text says nothing.
    pub fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }
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

                fn combine(
                    chunk: $crate::aggregation::Chunk,
                    rows: ::std::vec::Vec<::std::vec::Vec<f32>>,
                    weights: ::std::vec::Vec<f32>,
                    parameters: ::std::string::String,
                ) -> ::core::result::Result<::std::vec::Vec<f32>, $crate::Error> {
                    let parameters = $crate::export::parse(&parameters)?;
                    <$policy as $crate::aggregation::Aggregation>::combine(chunk, rows, weights, parameters)
                }

                fn step(
                    chunk: $crate::aggregation::Chunk,
                    model: ::std::vec::Vec<f32>,
                    aggregate: ::std::vec::Vec<f32>,
                    extra: ::std::vec::Vec<::std::vec::Vec<f32>>,
                    state: ::std::vec::Vec<::std::vec::Vec<f32>>,
                    parameters: ::std::string::String,
                ) -> ::core::result::Result<$crate::aggregation::Stepped, $crate::Error> {
                    let parameters = $crate::export::parse(&parameters)?;
                    let part = $crate::aggregation::Part { model, aggregate, extra, state };
                    <$policy as $crate::aggregation::Aggregation>::step(chunk, part, parameters)
                }
            }

            // other targets, on which authors test, have no names for these exports
            #[cfg(target_arch = "wasm32")]
            $crate::export::export_aggregation_bindings! { Exported with_types_in $crate::bindings::aggregation }
        };
    };
}
