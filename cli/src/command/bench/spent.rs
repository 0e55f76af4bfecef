//! Where a coordinator's time went, of what it counts itself.

use polder_core::view::StepView;
use serde::Serialize;

use crate::output::Table;

/// Steps that follow each other in a round; what is left of it goes to the workers, the network and waiting. The others go
/// on meanwhile.
const IN_TURN: [&str; 5] = ["placement", "journal", "weigh", "sum", "store"];

/// What each step is, for people.
const MEANINGS: [(&str, &str); 9] = [
    ("placement", "policy: who takes part"),
    ("journal", "disk: the journal's transactions"),
    ("tls", "TLS: encryption and sockets"),
    ("read", "copy: models read for workers"),
    ("copy", "copy: updates checked and written"),
    ("spool", "disk: updates made durable"),
    ("weigh", "policy: what each update counts"),
    ("sum", "aggregation: updates summed, model written"),
    ("store", "disk: the model made durable"),
];

/// What one step took in a round, on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Spent {
    pub(super) step: String,
    pub(super) times_a_round: f64,
    /// All its times together; those of several workers may have gone on at once.
    pub(super) ms_a_round: f64,
}

/// What was spent between two counts, by `rounds` rounds.
pub(super) fn between(before: &[StepView], after: &[StepView], rounds: u32) -> Vec<Spent> {
    let rounds = f64::from(rounds.max(1));
    let of = |view: &StepView| {
        let earlier = before.iter().find(|earlier| earlier.step == view.step);
        let (times, micros) = earlier.map_or((0, 0), |earlier| (earlier.times, earlier.micros));
        Spent {
            step: view.step.clone(),
            times_a_round: view.times.saturating_sub(times) as f64 / rounds,
            ms_a_round: view.micros.saturating_sub(micros) as f64 / 1e3 / rounds,
        }
    };
    after.iter().map(of).collect()
}

/// What is left of a round beside the steps that follow each other, in milliseconds.
pub(super) fn elsewhere_ms(steps: &[Spent], round_seconds: f64) -> f64 {
    let in_turn = steps.iter().filter(|spent| IN_TURN.contains(&spent.step.as_str()));
    (round_seconds * 1e3 - in_turn.map(|spent| spent.ms_a_round).sum::<f64>()).max(0.0)
}

/// For people: the steps in turn, then what is left, then what went on meanwhile.
pub(super) fn table(steps: &[Spent], round_seconds: f64) -> String {
    let mut table = Table::new(&["WHERE THE TIME GOES", ">TIMES A ROUND", ">MS A ROUND"]);
    let meaning = |step: &str| {
        MEANINGS.iter().find(|(name, _)| *name == step).map_or(step.to_owned(), |(_, text)| (*text).into())
    };
    let (in_turn, meanwhile): (Vec<_>, Vec<_>) = steps.iter().partition(|spent| IN_TURN.contains(&spent.step.as_str()));
    let mut row = |indent: &str, spent: &Spent| {
        let (times, ms) = (format!("{:.1}", spent.times_a_round), format!("{:.3}", spent.ms_a_round));
        table.row([format!("{indent}{}", meaning(&spent.step)), times, ms]);
    };
    in_turn.into_iter().for_each(|spent| row("", spent));
    let rest = Spent {
        step: "the workers, and waiting for them; meanwhile:".into(),
        times_a_round: 1.0,
        ms_a_round: elsewhere_ms(steps, round_seconds),
    };
    row("", &rest);
    meanwhile.into_iter().for_each(|spent| row("  ", spent));
    table.render(console::colors_enabled()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(step: &str, times: u64, micros: u64) -> StepView {
        StepView { step: step.into(), times, micros }
    }

    #[test]
    fn what_came_before_is_not_counted_and_the_rest_is_what_is_left() {
        let before = [view("journal", 10, 9_000)];
        let after = [view("journal", 20, 29_000), view("tls", 40, 100_000)];
        let steps = between(&before, &after, 5);
        assert_eq!(steps[0], Spent { step: "journal".into(), times_a_round: 2.0, ms_a_round: 4.0 });
        assert_eq!(steps[1].ms_a_round, 20.0);
        // What goes on meanwhile takes nothing away from the rest.
        assert_eq!(elsewhere_ms(&steps, 0.005), 1.0);
        let text = table(&steps, 0.005);
        assert!(text.contains("disk: the journal's transactions"), "{text}");
        assert!(text.contains("  TLS: encryption and sockets"), "{text}");
    }
}
