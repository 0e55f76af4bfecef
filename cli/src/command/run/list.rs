//! `polder run list`

use clap::Args;
use polder_core::view::RunView;

use crate::args::Context;
use crate::output::{Table, or_dash, percent};

#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let runs = context.client().await?.runs().await?;
        if context.output.is_json() {
            return runs.iter().try_for_each(|run| context.output.line(&run.text));
        }
        let nothing = "There is no run yet; `polder run submit RUN.toml` starts one.";
        context.output.table(&table(runs.iter().map(|run| &run.view)), nothing)
    }
}

fn table<'a>(runs: impl Iterator<Item = &'a RunView>) -> Table {
    let mut table = Table::new(&["RUN", "STATUS", ">ROUNDS", ">ACCURACY", ">LOSS", "DATA", "SUBMITTED", "WHY"]);
    for run in runs {
        let newest = run.evaluations.last().map(|newest| newest.evaluation);
        table.row([
            run.run.to_string(),
            run.status.clone(),
            format!("{}/{}", run.rounds_committed, run.rounds),
            or_dash(newest.map(|newest| percent(newest.accuracy))),
            or_dash(newest.map(|newest| format!("{:.4}", newest.loss))),
            run.dataset.clone(),
            super::show::instant(run.submitted_at),
            or_dash(run.reason.as_ref().or(run.waiting_for.as_ref())),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::run::show::tests::run;

    #[test]
    fn a_run_under_way_says_what_it_waits_for() {
        assert_eq!(
            table([&run()].into_iter()).render(false),
            "RUN            STATUS   ROUNDS  ACCURACY    LOSS  DATA    SUBMITTED             WHY\n\
             digits-3f9a1c  running    2/20     91.2%  0.3100  digits  2026-11-21T10:00:00Z  one more worker with `digits`\n"
        );
    }
}
