//! `polder run show`

use std::time::{Duration, UNIX_EPOCH};

use chrono::{Local, TimeZone};
use clap::Args;
use polder_core::view::RunView;
use polder_core::{RunId, Timestamp};

use crate::args::Context;
use crate::command::round;
use crate::output::{percent, plain};

#[derive(Debug, Args)]
pub(crate) struct Show {
    run: RunId,
}

impl Show {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let run = context.client().await?.run(&self.run).await?;
        if context.output.is_json() {
            return context.output.line(&run.text);
        }
        context.output.line(&facts(&run))?;
        match &run.round {
            None => Ok(()),
            Some(newest) => {
                context.output.line("")?;
                round::show::print(context.output, newest)
            }
        }
    }
}

/// The run in a few lines.
pub(crate) fn facts(run: &RunView) -> String {
    let mut lines = vec![format!("{}: {}", run.run, run.status)];
    let mut fact = |name: &str, text: String| lines.push(format!("  {name:<12} {}", plain(&text)));
    if let Some(reason) = &run.reason {
        fact("because", reason.clone());
    }
    if let Some(waiting) = waits(run.waiting_for.as_deref(), run.waiting_since, run.waiting_until, &Local) {
        fact("waits for", waiting);
    }
    let abandoned = match run.rounds_abandoned {
        0 => String::new(),
        some => format!(", {some} abandoned"),
    };
    fact("rounds", format!("{} of {} committed{abandoned}", run.rounds_committed, run.rounds));
    fact("model", format!("version {} ({})", run.model.version, run.model.digest));
    if let Some(newest) = run.evaluations.last() {
        let evaluation = newest.evaluation;
        let (accuracy, loss) = (percent(evaluation.accuracy), evaluation.loss);
        let (version, examples) = (newest.version, evaluation.examples);
        fact("evaluation", format!("accuracy {accuracy}, loss {loss:.4} of version {version} on {examples} examples"));
    }
    fact("data", run.dataset.clone());
    for (kind, policy) in [("placement", &run.placement), ("aggregation", &run.aggregation)] {
        fact(kind, format!("{policy}, on failure: {}", policy.on_failure));
    }
    fact("seed", run.seed.to_string());
    fact("submitted", instant(run.submitted_at));
    if let Some(ended) = run.ended_at {
        let took = Duration::from_millis(ended.ms_since(run.submitted_at));
        fact("ended", format!("{} after {}", instant(ended), humantime::format_duration(took)));
    }
    lines.join("\n")
}

/// What is waited for, since when, and when time alone ends that, by the clock on the wall.
pub(crate) fn waits<Zone: TimeZone>(
    reason: Option<&str>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    zone: &Zone,
) -> Option<String> {
    let mut text = reason?.to_owned();
    for (word, at) in [("since", since), ("until", until)] {
        if let Some(at) = at {
            text += &format!(", {word} {}", on_the_wall(at, since.unwrap_or(at), zone));
        }
    }
    Some(text)
}

/// The time of day, with its date if that is not the day of `beside`.
fn on_the_wall<Zone: TimeZone>(at: Timestamp, beside: Timestamp, zone: &Zone) -> String {
    let local = |at: Timestamp| {
        let moment = zone.timestamp_millis_opt(i64::try_from(at.0).ok()?).single()?;
        Some(moment.naive_local())
    };
    match (local(at), local(beside)) {
        (Some(at), Some(beside)) if at.date() == beside.date() => at.format("%H:%M:%S").to_string(),
        (Some(at), _) => at.format("%Y-%m-%d %H:%M:%S").to_string(),
        _ => instant(at),
    }
}

/// Date and time in UTC.
pub(crate) fn instant(at: Timestamp) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(at.0)) {
        // humantime formats years up to 9999.
        Some(time) if at.0 < 253_402_300_800_000 => humantime::format_rfc3339_seconds(time).to_string(),
        _ => format!("{} ms after 1970", at.0),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use polder_core::Digest;
    use polder_core::policy::{AggregationTraits, PolicyRef};
    use polder_core::round::{Evaluation, ModelVersion};
    use polder_core::view::VersionEvaluation;

    use super::*;

    /// A run under way that waits for a worker.
    pub(crate) fn run() -> RunView {
        let policy = |name: &str| PolicyRef {
            version: Some("2".parse().unwrap()),
            ..PolicyRef::new(name.parse().unwrap(), Digest::sha256([0xab; 32]))
        };
        RunView {
            run: "digits-3f9a1c".parse().unwrap(),
            name: "digits".into(),
            status: "running".into(),
            reason: None,
            waiting_for: Some("one more worker with `digits`".into()),
            waiting_since: None,
            waiting_until: None,
            dataset: "digits".into(),
            rounds: 20,
            rounds_committed: 2,
            rounds_abandoned: 1,
            submitted_at: Timestamp(1_795_255_200_000),
            ended_at: None,
            model: ModelVersion { version: 2, digest: Digest::blake3([1; 32]), bytes: 10 },
            placement: policy("least-loaded"),
            aggregation: policy("fedavg"),
            traits: AggregationTraits::default(),
            seed: 7,
            evaluations: vec![VersionEvaluation {
                version: 2,
                evaluation: Evaluation { examples: 90, loss: 0.31, accuracy: 0.912 },
            }],
            round: None,
        }
    }

    #[test]
    fn a_run_in_a_few_lines() {
        let text = facts(&run());
        for line in [
            "digits-3f9a1c: running",
            "  waits for    one more worker with `digits`",
            "  rounds       2 of 20 committed, 1 abandoned",
            "  evaluation   accuracy 91.2%, loss 0.3100 of version 2 on 90 examples",
            "  aggregation  fedavg@2 (sha256:abababababab), on failure: builtin",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains("ended"));

        let ended = RunView {
            status: "completed".into(),
            reason: Some("all rounds".into()),
            ended_at: Some(Timestamp(1_795_255_262_500)),
            ..run()
        };
        let text = facts(&ended);
        assert!(text.contains("  ended        2026-11-21T10:01:02Z after 1m 2s 500ms"), "{text}");
    }

    #[test]
    fn what_is_waited_for_is_told_by_the_clock_on_the_wall() {
        let zone = chrono::FixedOffset::east_opt(2 * 3600).unwrap();
        let at = |ms: u64| Some(Timestamp(1_795_255_200_000 + ms));
        let told = |since, until| waits(Some("3/5 updates in"), since, until, &zone).unwrap();
        assert_eq!(told(None, None), "3/5 updates in");
        assert_eq!(told(at(0), None), "3/5 updates in, since 12:00:00");
        assert_eq!(told(at(0), at(250_000)), "3/5 updates in, since 12:00:00, until 12:04:10");
        let tomorrow = "3/5 updates in, since 12:00:00, until 2026-11-22 12:00:00";
        assert_eq!(told(at(0), at(24 * 3600 * 1000)), tomorrow);
        assert_eq!(waits(None, at(0), None, &zone), None);
        assert!(told(Some(Timestamp(u64::MAX)), None).ends_with("ms after 1970"));
    }

    #[test]
    fn no_instant_is_too_late_to_print() {
        assert_eq!(instant(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(instant(Timestamp(u64::MAX)), format!("{} ms after 1970", u64::MAX));
        assert_eq!(instant(Timestamp(253_402_300_799_999)), "9999-12-31T23:59:59Z");
    }
}
