//! The release world: the core's question in the guest's types, and the guest's answer checked and back.

use polder_core::policy::{
    Precision, ReleaseAnswer, ReleaseQuestion, ReleaseVerdict, STATE_BYTES_MAX, Treatment, UpdateNumbers,
};

use crate::ask::reason;
use crate::bindings::release::exports::polder::policy::releaser;
use crate::{Nonsense, PolicyError};

/// The question as the guest reads it.
///
/// # Errors
/// [`PolicyError::Question`] if the update's norms are not finite: such an update is not worth a policy's answer.
pub(crate) fn to_guest(question: &ReleaseQuestion) -> Result<releaser::Question, PolicyError> {
    let (context, budget) = (&question.context, question.budget);
    Ok(releaser::Question {
        seed: question.seed,
        update: update_to_guest(&question.update)?,
        context: releaser::Context {
            run: context.run.clone(),
            round: context.round,
            region: context.region.clone(),
            aggregation: context.aggregation.clone(),
            cohort: context.cohort,
            quorum: context.quorum,
        },
        budget: releaser::Budget { released: budget.released, withheld: budget.withheld },
        state: question.state.clone(),
    })
}

fn update_to_guest(update: &UpdateNumbers) -> Result<releaser::Update, PolicyError> {
    for (what, norm) in [("norm", update.norm), ("largest value", update.max_norm)] {
        if !norm.is_finite() {
            return Err(PolicyError::Question { reason: format!("the update's {what} is {norm}") });
        }
    }
    Ok(releaser::Update {
        parameters: update.parameters,
        examples: update.examples,
        loss: update.loss.filter(|loss| loss.is_finite()),
        steps: update.steps,
        norm: update.norm,
        max_norm: update.max_norm,
    })
}

/// The answer in the core's types.
///
/// # Errors
/// [`Nonsense`] if the treatment cannot be applied or the state is too large.
pub(crate) fn from_guest(answer: releaser::Answer) -> Result<ReleaseAnswer, Nonsense> {
    if answer.state.len() > STATE_BYTES_MAX {
        return Err(Nonsense::State { bytes: answer.state.len() });
    }
    let verdict = match answer.verdict {
        releaser::Verdict::Release(treatment) => ReleaseVerdict::Release(treatment_from_guest(&treatment)?),
        releaser::Verdict::Withhold => ReleaseVerdict::Withhold,
    };
    Ok(ReleaseAnswer { verdict, state: answer.state, reason: reason(&answer.reason) })
}

fn treatment_from_guest(treatment: &releaser::Treatment) -> Result<Treatment, Nonsense> {
    if let Some(value) = treatment.clip.filter(|clip| !clip.is_finite() || *clip <= 0.0) {
        return Err(Nonsense::Clip { value });
    }
    if let Some(value) = treatment.noise.filter(|noise| !noise.is_finite() || *noise < 0.0) {
        return Err(Nonsense::Noise { value });
    }
    Ok(Treatment {
        clip: treatment.clip,
        // -0 is not negative; as 0 it has one spelling in the journal
        noise: treatment.noise.map(|noise| noise + 0.0),
        precision: match treatment.precision {
            releaser::Precision::Float32 => Precision::Float32,
            releaser::Precision::Float16 => Precision::Float16,
            releaser::Precision::Bfloat16 => Precision::Bfloat16,
        },
    })
}
