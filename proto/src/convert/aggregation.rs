//! The part of an assignment that an aggregation policy is behind: which policy, what it wants of training, SCAFFOLD's c.

use polder_core::Digest;
use polder_core::policy::{Correction, OnFailure, PolicyRef, PolicySignature, STATE_TENSORS_MAX, TrainingNeeds};
use polder_core::round::StateTensor;

use super::{Malformed, malformed, parsed};
use crate::v1;
use crate::v1::training_needs;

pub(super) fn policy_to_wire(policy: &PolicyRef) -> v1::AggregationPolicy {
    v1::AggregationPolicy {
        name: policy.name.to_string(),
        version: policy.version.as_ref().map(ToString::to_string).unwrap_or_default(),
        digest: policy.digest.to_string(),
        signature: policy
            .signature
            .as_ref()
            .map(|made| v1::PolicySignature { signer: made.signer.clone(), signature: made.signature.clone() }),
    }
}

/// The policy as a worker knows it: what it may do to a round, and with which parameters, is not a worker's business.
pub(super) fn policy(wire: v1::AggregationPolicy) -> Result<PolicyRef, Malformed> {
    let version = Some(wire.version).filter(|version| !version.is_empty());
    Ok(PolicyRef {
        name: parsed("aggregation.name", &wire.name)?,
        version: version.map(|version| parsed("aggregation.version", &version)).transpose()?,
        digest: parsed("aggregation.digest", &wire.digest)?,
        parameters: "{}".into(),
        on_failure: OnFailure::default(),
        signature: wire.signature.map(signature).transpose()?,
    })
}

/// Only its form: whether it holds is for `polder-security` to say.
fn signature(wire: v1::PolicySignature) -> Result<PolicySignature, Malformed> {
    let is_hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !wire.signer.strip_prefix("ed25519:").is_some_and(|key| is_hex(key, 64)) {
        return Err(malformed("aggregation.signature.signer", "is not `ed25519:` and 64 hexadecimal digits"));
    }
    if !is_hex(&wire.signature, 128) {
        return Err(malformed("aggregation.signature.signature", "is not 128 hexadecimal digits"));
    }
    Ok(PolicySignature { signer: wire.signer, signature: wire.signature })
}

pub(super) fn needs_to_wire(needs: &TrainingNeeds) -> v1::TrainingNeeds {
    v1::TrainingNeeds {
        proximal_mu: needs.proximal_mu,
        base_loss: needs.base_loss,
        correction: needs.correction.map(|correction| match correction {
            Correction::ControlVariates { state_tensor } => training_needs::Correction::ControlVariates(state_tensor),
            Correction::DynamicRegularizer { alpha } => training_needs::Correction::DynamicRegularizer(alpha),
        }),
    }
}

pub(super) fn needs(wire: &v1::TrainingNeeds) -> Result<TrainingNeeds, Malformed> {
    let at_least_0 = |field, value: f64| match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(malformed(field, format!("is {value}; expected a finite number, at least 0"))),
    };
    let proximal_mu = wire.proximal_mu.map(|mu| at_least_0("training.proximal_mu", mu)).transpose()?;
    let correction = match wire.correction {
        None => None,
        Some(training_needs::Correction::ControlVariates(state_tensor)) if state_tensor < STATE_TENSORS_MAX => {
            Some(Correction::ControlVariates { state_tensor })
        }
        Some(training_needs::Correction::ControlVariates(state_tensor)) => {
            let problem = format!("is {state_tensor}; a policy has at most {STATE_TENSORS_MAX} state tensors");
            return Err(malformed("training.control_variates", problem));
        }
        Some(training_needs::Correction::DynamicRegularizer(alpha)) => {
            let alpha = at_least_0("training.dynamic_regularizer", alpha)?;
            Some(Correction::DynamicRegularizer { alpha })
        }
    };
    Ok(TrainingNeeds { proximal_mu, correction, base_loss: wire.base_loss })
}

pub(super) fn control_variate_to_wire(tensor: &StateTensor) -> v1::ControlVariate {
    v1::ControlVariate { digest: tensor.digest.to_string(), bytes: tensor.bytes }
}

pub(super) fn control_variate(wire: v1::ControlVariate) -> Result<StateTensor, Malformed> {
    Ok(StateTensor { digest: parsed::<Digest>("control_variate.digest", &wire.digest)?, bytes: wire.bytes })
}
