//! `polder round show`

use chrono::Local;
use clap::Args;
use polder_core::view::{RoundView, SeatView};
use polder_core::{RoundNumber, RunId};

use crate::args::Context;
use crate::command::run::show::waits;
use crate::output::{Output, Table, bytes, or_dash, percent, plain};

#[derive(Debug, Args)]
pub(crate) struct Show {
    run: RunId,
    /// The round's number, from 1.
    round: RoundNumber,
}

impl Show {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let round = context.client().await?.round(&self.run, self.round).await?;
        if context.output.is_json() { context.output.line(&round.text) } else { print(context.output, &round) }
    }
}

/// The round, its cohort and its reasons.
pub(crate) fn print(output: Output, round: &RoundView) -> anyhow::Result<()> {
    output.line(&facts(round))?;
    output.table(&cohort(&round.cohort), "Nobody was chosen yet.")?;
    for reason in &round.reasons {
        output.line(&format!("- {}", plain(reason)))?;
    }
    Ok(())
}

fn facts(round: &RoundView) -> String {
    let mut lines = vec![format!("Round {} of {}: {}", round.round, round.run, round.phase)];
    let waiting = waits(round.waiting_for.as_deref(), round.waiting_since, round.waiting_until, &Local);
    lines.extend(waiting.map(|waiting| format!("  waits for    {}", plain(&waiting))));
    lines.push(format!("  from model   version {} ({})", round.base.version, round.base.digest.short()));
    lines.extend(round.committed.map(|digest| format!("  committed    {digest}")));
    let by = |digest: Option<polder_core::Digest>| digest.map(|by| format!(", decided by {by}")).unwrap_or_default();
    lines.push(format!("  placement    {}{}", plain(&round.placement), by(round.placement_policy)));
    lines.push(format!("  aggregation  {}{}", plain(&round.aggregation), by(round.aggregation_policy)));
    lines.extend(round.evaluation.map(|evaluation| {
        let (loss, examples) = (evaluation.loss, evaluation.examples);
        format!("  evaluation   accuracy {}, loss {loss:.4} on {examples} examples", percent(evaluation.accuracy))
    }));
    lines.join("\n")
}

fn cohort(seats: &[SeatView]) -> Table {
    let headings =
        ["WORKER", "REGION", "STATE", ">EXAMPLES", ">LOSS", ">ACCURACY", ">WEIGHT", ">UPDATE", "CHOSEN BECAUSE"];
    let mut table = Table::new(&headings);
    for seat in seats {
        let why = match &seat.reason {
            Some(reason) => format!("{}; {}: {reason}", seat.chosen_because, seat.state),
            None => seat.chosen_because.clone(),
        };
        let why = match seat.assigned_in {
            Some(round) => format!("{why}; carried over from round {round}, {} versions behind", seat.staleness),
            None => why,
        };
        let why = match &seat.note {
            Some(note) => format!("{why}; {note}"),
            None => why,
        };
        table.row([
            seat.worker.to_string(),
            or_dash(seat.region.as_ref()),
            seat.state.clone(),
            or_dash(seat.examples),
            or_dash(seat.loss.map(|loss| format!("{loss:.4}"))),
            or_dash(seat.accuracy.map(percent)),
            or_dash(seat.weight.map(|weight| format!("{weight:.3}"))),
            or_dash(seat.update_bytes.map(bytes)),
            why,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_reported_and_one_that_was_lost() {
        let reported = SeatView {
            worker: "eu-west-1".parse().unwrap(),
            region: Some("eu-west".parse().unwrap()),
            gpu: None,
            chosen_because: "least loaded".into(),
            state: "reported".into(),
            reason: None,
            examples: Some(480),
            loss: Some(0.25),
            accuracy: Some(0.9),
            update: None,
            update_bytes: Some(2048),
            weight: Some(1.0),
            note: Some("kept".into()),
            staleness: 0,
            assigned_in: None,
        };
        let lost = SeatView {
            worker: "x".parse().unwrap(),
            region: None,
            state: "lost".into(),
            reason: Some("its stream broke".into()),
            examples: None,
            loss: None,
            accuracy: None,
            update_bytes: None,
            weight: None,
            note: None,
            ..reported.clone()
        };
        assert_eq!(
            cohort(&[reported, lost]).render(false),
            "WORKER     REGION   STATE     EXAMPLES    LOSS  ACCURACY  WEIGHT    UPDATE  CHOSEN BECAUSE\n\
             eu-west-1  eu-west  reported       480  0.2500     90.0%   1.000  2.00 KiB  least loaded; kept\n\
             x          -        lost             -       -         -       -         -  least loaded; lost: its stream broke\n"
        );
    }
}
