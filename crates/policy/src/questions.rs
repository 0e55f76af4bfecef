//! What a host asks its policies, each time on a fresh instance. Chunks of tensors are in `chunks`.

use polder_core::policy::{
    AggregationPlan, AggregationQuestion, AggregationTraits, PlacementAnswer, PlacementQuestion, PolicyKind,
    ReleaseAnswer, ReleaseQuestion,
};

use crate::ask::{Question, Usage, refused};
use crate::bindings::placement::PlacementPre;
use crate::bindings::release::ReleasePre;
use crate::meter::Meter;
use crate::policy::{AggregationGuest, Guest};
use crate::{Policy, PolicyError, PolicyHost, aggregation, placement, release};

/// An answer and what it took, or why there is none.
pub(crate) type Measured<T> = Result<(T, Usage), PolicyError>;

/// Makes a fresh instance, calls one function of it, and takes its failures apart.
macro_rules! ask {
    ($host:ident, $pre:expr, $interface:ident.$call:ident($($argument:expr),*)) => {{
        let mut ask: Question<'_> = $host.question();
        let guest = $pre.instantiate(&mut ask.store).map_err(|error| ask.instance_failed(&error))?;
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
        let pre = self.placement(policy)?;
        let asked = placement::to_guest(question)?;
        let (answer, usage) = ask!(self, pre, polder_policy_placer.call_place(&asked, parameters));
        Ok((placement::from_guest(question, &answer)?, usage))
    }

    /// Asks an aggregation policy what it is under these parameters, and so whether it takes them. Asked once for the same parameters:
    /// the answer is a function of them.
    ///
    /// # Errors
    /// Every [`PolicyError`] but [`PolicyError::NotAPolicy`].
    pub fn describe(&self, policy: &Policy, parameters: &str) -> Result<AggregationTraits, PolicyError> {
        self.aggregation(policy)?;
        if let Some(known) = policy.known_traits(parameters) {
            return Ok(known);
        }
        let (traits, _) = self.describe_measured(policy, parameters)?;
        policy.keep_traits(parameters, &traits);
        Ok(traits)
    }

    pub(crate) fn describe_measured(&self, policy: &Policy, parameters: &str) -> Measured<AggregationTraits> {
        let pre = &self.aggregation(policy)?.pre;
        let (traits, usage) = ask!(self, pre, polder_policy_aggregator.call_describe(parameters));
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
        let pre = &self.aggregation(policy)?.pre;
        let asked = aggregation::to_guest(question, &traits)?;
        let (plan, usage) = ask!(self, pre, polder_policy_aggregator.call_weigh(&asked, parameters));
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
        let pre = self.release(policy)?;
        let asked = release::to_guest(question)?;
        let (answer, usage) = ask!(self, pre, polder_policy_releaser.call_review(&asked, parameters));
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
                let pre = self.placement(policy)?;
                ask!(self, pre, polder_policy_placer.call_check(parameters));
            }
            PolicyKind::Release => {
                let pre = self.release(policy)?;
                ask!(self, pre, polder_policy_releaser.call_check(parameters));
            }
        }
        Ok(())
    }

    /// Makes a fresh instance and drops it, as every question does before it is put.
    ///
    /// # Errors
    /// Those of a guest that fails while it starts.
    pub fn instantiate(&self, policy: &Policy) -> Result<(), PolicyError> {
        self.check_origin(policy)?;
        let mut ask = self.question();
        let made = policy.inner.guest.pre().instantiate(&mut ask.store).map(drop);
        made.map_err(|error| ask.instance_failed(&error))
    }

    fn placement<'a>(&self, policy: &'a Policy) -> Result<&'a PlacementPre<Meter>, PolicyError> {
        let Guest::Placement(pre) = &policy.inner.guest else { return Err(wrong_kind(policy, PolicyKind::Placement)) };
        self.check_origin(policy)?;
        Ok(pre)
    }

    pub(crate) fn aggregation<'a>(&self, policy: &'a Policy) -> Result<&'a AggregationGuest, PolicyError> {
        let Guest::Aggregation(guest) = &policy.inner.guest else {
            return Err(wrong_kind(policy, PolicyKind::Aggregation));
        };
        self.check_origin(policy)?;
        Ok(guest)
    }

    fn release<'a>(&self, policy: &'a Policy) -> Result<&'a ReleasePre<Meter>, PolicyError> {
        let Guest::Release(pre) = &policy.inner.guest else { return Err(wrong_kind(policy, PolicyKind::Release)) };
        self.check_origin(policy)?;
        Ok(pre)
    }
}

fn wrong_kind(policy: &Policy, asked: PolicyKind) -> PolicyError {
    PolicyError::WrongKind { asked, is: policy.kind() }
}
