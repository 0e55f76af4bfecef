//! `polder policy list`

use clap::Args;
use polder_core::view::PolicyView;
use polder_policy::{Builtin, builtins};

use crate::args::Context;
use crate::output::{Table, bytes, or_dash};

/// Of a signer's key, for tables.
const SIGNER_CHARS: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those that ship with this program; needs no coordinator.
    #[arg(long)]
    builtin: bool,
}

impl List {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        if self.builtin {
            let views = builtins().iter().map(builtin_view).collect::<anyhow::Result<Vec<_>>>()?;
            return match context.output.is_json() {
                true => views.iter().try_for_each(|view| context.output.object(view)),
                false => context.output.table(&table(views.iter()), "No policy ships with this program."),
            };
        }
        let policies = context.client().await?.policies().await?;
        if context.output.is_json() {
            return policies.iter().try_for_each(|policy| context.output.line(&policy.text));
        }
        context.output.table(&table(policies.iter().map(|policy| &policy.view)), "There is no policy.")
    }
}

/// What a coordinator says of a policy that ships.
pub(super) fn builtin_view(builtin: &Builtin) -> anyhow::Result<PolicyView> {
    Ok(PolicyView {
        name: builtin.name.parse()?,
        version: builtin.version.parse()?,
        kind: builtin.kind,
        digest: builtin.digest(),
        bytes: builtin.bytes.len() as u64,
        is_builtin: true,
        summary: Some(builtin.summary.into()),
        signer: None,
        pushed_at: None,
    })
}

fn table<'a>(policies: impl Iterator<Item = &'a PolicyView>) -> Table {
    let mut table = Table::new(&["POLICY", "KIND", ">SIZE", "SIGNED BY", "DIGEST", "WHAT IT DOES"]);
    for policy in policies {
        let signer = policy.signer.as_ref().map(|signer| signer.chars().take(SIGNER_CHARS).collect::<String>());
        table.row([
            policy.id().to_string(),
            policy.kind.to_string(),
            bytes(policy.bytes),
            if policy.is_builtin { "built in".into() } else { or_dash(signer) },
            policy.digest.short(),
            or_dash(policy.summary.as_ref()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use polder_core::Digest;
    use polder_core::policy::PolicyKind;

    use super::*;

    #[test]
    fn a_policy_of_ours_and_one_that_somebody_signed() {
        let ours = PolicyView {
            name: "krum".parse().unwrap(),
            version: "0.2.0".parse().unwrap(),
            kind: PolicyKind::Aggregation,
            digest: Digest::sha256([0xab; 32]),
            bytes: 2048,
            is_builtin: true,
            summary: Some("one update".into()),
            signer: None,
            pushed_at: None,
        };
        let theirs = PolicyView {
            name: "mine".parse().unwrap(),
            version: "3".parse().unwrap(),
            is_builtin: false,
            summary: None,
            signer: Some(format!("ed25519:{}", "cd".repeat(32))),
            ..ours.clone()
        };
        assert_eq!(
            table([&ours, &theirs].into_iter()).render(false),
            "POLICY      KIND             SIZE  SIGNED BY             DIGEST               WHAT IT DOES\n\
             krum@0.2.0  aggregation  2.00 KiB  built in              sha256:abababababab  one update\n\
             mine@3      aggregation  2.00 KiB  ed25519:cdcdcdcdcdcd  sha256:abababababab  -\n"
        );
    }

    #[test]
    fn what_ships_can_be_listed() {
        for builtin in builtins() {
            assert_eq!(builtin_view(builtin).unwrap().name.as_str(), builtin.name);
        }
    }
}
