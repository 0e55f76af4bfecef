//! `polder coordinator show`

use clap::Args;
use polder_core::view::{CoordinatorView, MemberView};

use crate::args::Context;
use crate::output::{Table, bytes, plain};

#[derive(Debug, Args)]
pub(crate) struct Show {}

impl Show {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let coordinator = context.client().await?.coordinator().await?;
        if context.output.is_json() {
            return context.output.line(&coordinator.text);
        }
        context.output.line(&facts(&coordinator))?;
        context.output.table(&members(&coordinator.coordinators), "No coordinator has said that it is there.")
    }
}

fn facts(view: &CoordinatorView) -> String {
    let since = crate::command::run::show::instant(view.leads_since);
    let intake = match &view.intake.reason {
        None => "open".into(),
        Some(reason) => {
            let since = view.intake.since.map(|since| format!(" since {}", crate::command::run::show::instant(since)));
            format!("stopped{}: {}", since.unwrap_or_default(), plain(reason))
        }
    };
    let mut lines = vec![
        format!("{} leads since {since}, term {}", plain(&view.endpoint), view.epoch),
        format!("  intake       {intake}"),
        format!(
            "  database     {}, entry {}, snapshot of entry {}",
            plain(&view.database),
            view.journal_seq,
            view.snapshot_seq
        ),
        format!("  blobs        {}", plain(&view.blobs)),
    ];
    lines.extend(view.disk_free_bytes.map(|free| format!("  disk         {} free", bytes(free))));
    lines.push(format!("  protocol     {} to {}", view.protocol_oldest, view.protocol_newest));
    if view.invariant_violations > 0 {
        lines.push(format!("  invariants   {} violated; please report it, with the log", view.invariant_violations));
    }
    lines.join("\n")
}

fn members(coordinators: &[MemberView]) -> Table {
    let mut table = Table::new(&["COORDINATOR", "VERSION", "ROLE", ">SEEN"]);
    for member in coordinators {
        let role = if member.leads { "leads" } else { "follows" };
        let seen = format!("{:.1} s ago", std::time::Duration::from_millis(member.seen_ms_ago).as_secs_f64());
        table.row([member.endpoint.clone(), member.version.clone(), role.into(), seen]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_intake_says_why() {
        let member = |endpoint: &str, leads| MemberView {
            endpoint: endpoint.into(),
            version: "0.1.0".into(),
            leads,
            seen_ms_ago: 1200,
        };
        let mut view = CoordinatorView { endpoint: "a:7700".into(), epoch: 3, ..CoordinatorView::default() };
        assert!(facts(&view).contains("intake       open"), "{}", facts(&view));
        view.intake.reason = Some("the disk is full".into());
        assert!(facts(&view).contains("stopped: the disk is full"), "{}", facts(&view));
        let table = members(&[member("a:7700", true), member("b:7700", false)]).render(false);
        assert!(table.contains("a:7700       0.1.0    leads    1.2 s ago"), "{table}");
        assert!(table.contains("b:7700       0.1.0    follows"), "{table}");
    }
}
