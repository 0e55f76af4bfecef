//! What a host asks its policies, each time on a fresh instance. Chunks of tensors are in `chunks`.

use polder_core::policy::{
    AggregationPlan, AggregationQuestion, AggregationTraits, PlacementAnswer, PlacementQuestion, PolicyKind,
    ReleaseAnswer, ReleaseQuestion,
};

use wasmtime::PoolConcurrencyLimitError;
use wasmtime::component::Instance;

use crate::ask::{Question, Usage, refused};
use crate::policy::Exports;
use crate::{Policy, PolicyError, PolicyHost, aggregation, placement, release};

/// An answer and what it took, or why there is none.
pub(crate) type Measured<T> = Result<(T, Usage), PolicyError>;

/// A fresh instance, its store, and where its functions are.
pub(crate) struct Fresh<'a> {
    pub(crate) question: Question<'a>,
    pub(crate) instance: Instance,
    pub(crate) exports: &'a Exports,
}

/// Calls one function of a fresh instance, and takes its failures apart.
macro_rules! ask {
    ($host:ident, $policy:ident, $kind:pat => $indices:expr, $interface:ident.$call:ident($($argument:expr),*)) => {{
        let mut fresh = $host.fresh($policy)?;
        let $kind = fresh.exports else { return Err(lost()) };
        let ask = &mut fresh.question;
        let guest = $indices.load(&mut ask.store, &fresh.instance).map_err(|error| ask.instance_failed(&error))?;
        let answer = guest.$interface().$call(&mut ask.store, $($argument),*);
        let answer = answer.map_err(|error| ask.call_failed(&error))?.map_err(|error| refused(&error))?;
        (answer, ask.usage())
    }};
}

impl PolicyHost {
    /// Asks a placement policy who trains. `parameters` is one JSON object, as text.
    ///
    /// # Errors
    /// Every [`PolicyError`] but [`PolicyError::NotAPolicy`].
    pub fn place(
        &self,
        policy: &Policy,
        parameters: &str,
        question: &PlacementQuestion,
    ) -> Result<PlacementAnswer, PolicyError> {
        self.place_measured(policy, parameters, question).map(|(answer, _)| answer)
    }

    pub(crate) fn place_measured(
        &self,
        policy: &Policy,
        parameters: &str,
        question: &PlacementQuestion,
    ) -> Measured<PlacementAnswer> {
        expect(policy, PolicyKind::Placement)?;
        let asked = placement::to_guest(question)?;
        let (answer, usage) =
            ask!(self, policy, Exports::Placement(it) => it, polder_policy_placer.call_place(&asked, parameters));
        Ok((placement::from_guest(question, &answer)?, usage))
    }

    /// Asks an aggregation policy what it is under these parameters, and so whether it takes them. Asked once for the same parameters:
    /// the answer is a function of them.
    ///
    /// # Errors
    /// Every [`PolicyError`] but [`PolicyError::NotAPolicy`].
    pub fn describe(&self, policy: &Policy, parameters: &str) -> Result<AggregationTraits, PolicyError> {
        expect(policy, PolicyKind::Aggregation)?;
        if let Some(known) = policy.known_traits(parameters) {
            return Ok(known);
        }
        let (traits, _) = self.describe_measured(policy, parameters)?;
        policy.keep_traits(parameters, &traits);
        Ok(traits)
    }

    pub(crate) fn describe_measured(&self, policy: &Policy, parameters: &str) -> Measured<AggregationTraits> {
        expect(policy, PolicyKind::Aggregation)?;
        let (traits, usage) = ask!(self, policy, Exports::Aggregation { questions, .. } => questions, polder_policy_aggregator.call_describe(parameters));
        Ok((aggregation::traits_from_guest(&traits).map_err(crate::Nonsense::from)?, usage))
    }

    /// Asks an aggregation policy how much each update of a round counts. Statistics that it did not want are left out of the question.
    ///
    /// # Errors
    /// Every [`PolicyError`] but [`PolicyError::NotAPolicy`].
    pub fn weigh(
        &self,
        policy: &Policy,
        parameters: &str,
        question: &AggregationQuestion,
    ) -> Result<AggregationPlan, PolicyError> {
        self.weigh_measured(policy, parameters, question).map(|(plan, _)| plan)
    }

    pub(crate) fn weigh_measured(
        &self,
        policy: &Policy,
        parameters: &str,
        question: &AggregationQuestion,
    ) -> Measured<AggregationPlan> {
        let traits = self.describe(policy, parameters)?;
        let asked = aggregation::to_guest(question, &traits)?;
        let (plan, usage) = ask!(self, policy, Exports::Aggregation { questions, .. } => questions, polder_policy_aggregator.call_weigh(&asked, parameters));
        Ok((aggregation::plan_from_guest(question, &traits, plan)?, usage))
    }

    /// Asks a release policy what of an update may leave the region.
    ///
    /// # Errors
    /// Every [`PolicyError`] but [`PolicyError::NotAPolicy`].
    pub fn review(
        &self,
        policy: &Policy,
        parameters: &str,
        question: &ReleaseQuestion,
    ) -> Result<ReleaseAnswer, PolicyError> {
        self.review_measured(policy, parameters, question).map(|(answer, _)| answer)
    }

    pub(crate) fn review_measured(
        &self,
        policy: &Policy,
        parameters: &str,
        question: &ReleaseQuestion,
    ) -> Measured<ReleaseAnswer> {
        expect(policy, PolicyKind::Release)?;
        let asked = release::to_guest(question)?;
        let (answer, usage) =
            ask!(self, policy, Exports::Release(it) => it, polder_policy_releaser.call_review(&asked, parameters));
        Ok((release::from_guest(answer)?, usage))
    }

    /// Tries `parameters` on a policy without a round.
    ///
    /// # Errors
    /// [`PolicyError::Parameters`] with the policy's own words, or any other but [`PolicyError::NotAPolicy`].
    pub fn check_parameters(&self, policy: &Policy, parameters: &str) -> Result<(), PolicyError> {
        match policy.kind() {
            PolicyKind::Aggregation => {
                self.describe(policy, parameters)?;
            }
            PolicyKind::Placement => {
                ask!(self, policy, Exports::Placement(it) => it, polder_policy_placer.call_check(parameters));
            }
            PolicyKind::Release => {
                ask!(self, policy, Exports::Release(it) => it, polder_policy_releaser.call_check(parameters));
            }
        }
        Ok(())
    }

    /// Makes a fresh instance and drops it, as every question does before it is put.
    ///
    /// # Errors
    /// Those of a guest that fails while it starts.
    pub fn instantiate(&self, policy: &Policy) -> Result<(), PolicyError> {
        self.fresh(policy).map(drop)
    }

    /// A fresh instance: from the pool where the policy fits and there is one left, made on demand otherwise.
    pub(crate) fn fresh<'a>(&'a self, policy: &'a Policy) -> Result<Fresh<'a>, PolicyError> {
        self.check_origin(policy)?;
        let inner = &policy.inner;
        if let Some(guest) = &inner.pooled {
            let mut question = self.question(guest);
            match guest.pre.instantiate(&mut question.store) {
                Ok(instance) => return Ok(Fresh { question, instance, exports: &guest.exports }),
                Err(error) if error.is::<PoolConcurrencyLimitError>() => {}
                Err(error) => return Err(question.instance_failed(&error)),
            }
        }
        let mut question = self.question(&inner.guest);
        let made = inner.guest.pre.instantiate(&mut question.store);
        let instance = made.map_err(|error| question.instance_failed(&error))?;
        Ok(Fresh { question, instance, exports: &inner.guest.exports })
    }
}

pub(crate) fn expect(policy: &Policy, asked: PolicyKind) -> Result<(), PolicyError> {
    let is = policy.kind();
    if is == asked { Ok(()) } else { Err(PolicyError::WrongKind { asked, is }) }
}

/// Of no policy that was admitted.
pub(crate) fn lost() -> PolicyError {
    PolicyError::Host { reason: "an instance lacks what its component exports".into() }
}
