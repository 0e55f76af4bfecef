//! `polder policy show`

use std::path::Path;

use clap::Args;
use polder_core::policy::{AggregationTraits, Correction, PolicyKind};
use polder_core::view::{LimitView, PolicyDetails, PolicyView};
use polder_core::{Digest, RunId};
use polder_policy::{CONTRACT_VERSION, Limits, PolicyHost};
use serde::Serialize;

use crate::args::Context;
use crate::command::run::show::instant;
use crate::component;
use crate::failure::Ended;
use crate::output::{Table, bytes, plain};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A policy of the coordinator, its newest version where none is named; or a .wasm file here.
    #[arg(value_name = "NAME[@VERSION]|FILE")]
    policy: String,
    /// What it is to describe itself under.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    parameters: String,
}

/// A policy in a file; what only a coordinator knows is not there.
#[derive(Serialize)]
struct InFile {
    file: String,
    kind: PolicyKind,
    digest: Digest,
    bytes: u64,
    contract: String,
    parameters: String,
    traits: Option<AggregationTraits>,
    refuses: Option<String>,
    limits: Vec<LimitView>,
}

impl Show {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let path = Path::new(&self.policy);
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let file = in_file(path, &self.parameters)?;
            if context.output.is_json() {
                return context.output.object(&file);
            }
            context.output.line(&facts_of_file(&file))?;
            context.output.line("")?;
            return context.output.table(&table(&file.limits), "");
        }
        let details = context.client().await?.policy_details(&self.policy, &self.parameters).await?;
        if context.output.is_json() {
            return context.output.line(&details.text);
        }
        context.output.line(&facts(&details))?;
        context.output.line("")?;
        context.output.table(&table(&details.limits), "")
    }
}

fn in_file(path: &Path, parameters: &str) -> anyhow::Result<InFile> {
    let component = component::read(path)?;
    let host = PolicyHost::new(Limits::default(), None)?;
    let policy = host.load(&component).map_err(|error| Ended::usage(error.to_string()))?;
    let described = match policy.kind() {
        PolicyKind::Aggregation => host.describe(&policy, parameters).map(Some),
        _ => host.check_parameters(&policy, parameters).map(|()| None),
    };
    let (traits, refuses) = match described {
        Ok(traits) => (traits, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let limit = |(key, value, about): (&str, u64, &str)| LimitView { key: key.into(), value, about: about.into() };
    Ok(InFile {
        file: path.display().to_string(),
        kind: policy.kind(),
        digest: policy.digest(),
        bytes: policy.component_bytes(),
        contract: CONTRACT_VERSION.into(),
        parameters: parameters.into(),
        traits,
        refuses,
        limits: host.limits().entries().into_iter().map(limit).collect(),
    })
}

fn facts_of_file(file: &InFile) -> String {
    let mut lines = vec![format!("{}: {}", plain(&file.file), file.kind)];
    lines.push(fact("digest", &file.digest.to_string()));
    lines.push(fact("size", &bytes(file.bytes)));
    lines.push(fact("contract", &format!("polder:policy@{}", file.contract)));
    lines.extend(of_itself(&file.parameters, file.traits.as_ref(), file.refuses.as_deref()));
    lines.join("\n")
}

fn facts(details: &PolicyDetails) -> String {
    let PolicyDetails { policy, contract, parameters, traits, refuses, runs, .. } = details;
    let PolicyView { kind, digest, bytes: size, summary, signer, pushed_at, is_builtin, .. } = policy;
    let mut lines = vec![format!("{}: {kind}", policy.id())];
    lines.extend(summary.as_ref().map(|summary| fact("does", summary)));
    lines.push(fact("digest", &digest.to_string()));
    lines.push(fact("size", &bytes(*size)));
    lines.push(fact("contract", &format!("polder:policy@{contract}")));
    let signed = if *is_builtin { "built in" } else { "nobody" };
    lines.push(fact("signed by", signer.as_deref().unwrap_or(signed)));
    lines.extend(pushed_at.map(|at| fact("pushed", &instant(at))));
    let runs: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    lines.push(fact("used by", if runs.is_empty() { "no run".into() } else { runs.join(", ") }.as_str()));
    lines.extend(of_itself(parameters, traits.as_ref(), refuses.as_deref()));
    lines.join("\n")
}

fn fact(name: &str, text: &str) -> String {
    format!("  {name:<12} {}", plain(text))
}

/// What it says of itself under the parameters.
fn of_itself(parameters: &str, traits: Option<&AggregationTraits>, refuses: Option<&str>) -> Vec<String> {
    let mut lines = vec![fact("under", parameters)];
    lines.extend(refuses.map(|why| fact("refuses them", why)));
    let Some(traits) = traits else { return lines };
    let word = serde_json::to_value(traits.shape).ok();
    let shape = word.as_ref().and_then(|word| word.as_str()).unwrap_or("?");
    lines.push(fact("shape", shape));
    let wanted = [(traits.statistics.norms, "norms"), (traits.statistics.products, "inner products")];
    let wanted: Vec<&str> = wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, name)| name).collect();
    if !wanted.is_empty() {
        lines.push(fact("statistics", &wanted.join(", ")));
    }
    lines.push(fact("updates", &format!("{} or more", traits.updates_min)));
    if traits.has_step {
        lines.push(fact("server step", &format!("yes, with {} state tensors", traits.state_tensors)));
    }
    let training = traits.training;
    let correction = training.correction.map(|correction| match correction {
        Correction::ControlVariates { state_tensor } => format!("control variates (c is state tensor {state_tensor})"),
        Correction::DynamicRegularizer { alpha } => format!("a dynamic regularizer, alpha {alpha}"),
    });
    let needs = training.proximal_mu.map(|mu| format!("a proximal term, mu {mu}")).into_iter();
    let needs = needs.chain(correction).chain(training.base_loss.then(|| "the base model's loss".into()));
    let needs: Vec<String> = needs.collect();
    if !needs.is_empty() {
        lines.push(fact("training", &needs.join(", ")));
    }
    lines
}

fn table(limits: &[LimitView]) -> Table {
    let mut table = Table::new(&["LIMIT", ">VALUE", "WHAT IT BOUNDS"]);
    for limit in limits {
        table.row([limit.key.clone(), limit.value.to_string(), limit.about.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use polder_core::Timestamp;
    use polder_core::policy::{AggregationShape, StatisticsWanted, TrainingNeeds};

    use super::*;

    fn details() -> PolicyDetails {
        PolicyDetails {
            policy: PolicyView {
                name: "mine".parse().unwrap(),
                version: "2".parse().unwrap(),
                kind: PolicyKind::Aggregation,
                digest: Digest::sha256([0xab; 32]),
                bytes: 2048,
                is_builtin: false,
                summary: None,
                signer: Some("ed25519:cd".into()),
                pushed_at: Some(Timestamp(1_795_255_200_000)),
            },
            contract: "0.2.0".into(),
            parameters: "{}".into(),
            traits: Some(AggregationTraits {
                shape: AggregationShape::Geometry,
                statistics: StatisticsWanted { norms: true, products: true },
                updates_min: 3,
                has_step: true,
                state_tensors: 1,
                training: TrainingNeeds { proximal_mu: Some(0.1), correction: None, base_loss: true },
            }),
            refuses: None,
            runs: vec!["digits-3f9a1c".parse().unwrap()],
            limits: Vec::new(),
        }
    }

    #[test]
    fn everything_there_is_to_know() {
        let text = facts(&details());
        for line in [
            "mine@2: aggregation",
            "  signed by    ed25519:cd",
            "  pushed       2026-11-21T10:00:00Z",
            "  used by      digits-3f9a1c",
            "  shape        geometry",
            "  statistics   norms, inner products",
            "  updates      3 or more",
            "  server step  yes, with 1 state tensors",
            "  training     a proximal term, mu 0.1, the base model's loss",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        let refuses = PolicyDetails { traits: None, refuses: Some("no `x`\u{1b}[2J".into()), ..details() };
        assert!(facts(&refuses).contains("  refuses them no `x` [2J"), "{}", facts(&refuses));
    }

    #[test]
    fn a_file_needs_no_coordinator() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.wasm");
        let fedavg = polder_policy::builtin_named("fedavg", None).unwrap();
        std::fs::write(&path, fedavg.bytes).unwrap();
        let file = in_file(&path, "{}").unwrap();
        assert_eq!((file.kind, file.digest), (PolicyKind::Aggregation, fedavg.digest()));
        assert!(file.traits.is_some() && file.limits.len() > 10);
        let refused = in_file(&path, r#"{"no_such_key": 1}"#).unwrap();
        assert!(refused.refuses.unwrap().contains("no_such_key"));
    }
}
