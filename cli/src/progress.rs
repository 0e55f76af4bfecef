//! A run as it happens: log lines on stdout; what each worker does on stderr, as bars for a person at a terminal and as
//! a line for each new stage otherwise. With `--json`, everything is objects on stdout.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use console::Style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use polder_core::effect::Notice;
use polder_proto::v1::WorkerProgress;
use serde::Serialize;

use crate::client::WatchEvent;
use crate::output::{Output, plain, talk};

/// Workers shown at once; more would push the log off the screen.
const BARS_MAX: usize = 16;
/// A bar's length in steps; reports are shares.
const STEPS: u64 = 1000;

/// A log line as `--json` prints it.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) seq: u64,
    #[serde(flatten)]
    pub(crate) notice: &'a Notice,
}

/// An event as `--json` prints it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Object<'a> {
    Line(Line<'a>),
    Progress {
        worker: &'a str,
        region: &'a str,
        round: u32,
        stage: &'a str,
        epoch: u32,
        epochs: u32,
        fraction: f64,
        loss: Option<f64>,
    },
    Interrupted {
        reason: &'a str,
    },
}

impl<'a> Object<'a> {
    fn of(event: &'a WatchEvent) -> Self {
        match event {
            WatchEvent::Line { seq, notice } => Self::Line(Line { seq: *seq, notice }),
            WatchEvent::Interrupted { reason } => Self::Interrupted { reason },
            WatchEvent::Progress(WorkerProgress { worker, region, round, stage, epoch, epochs, fraction, loss }) => {
                Self::Progress {
                    worker,
                    region,
                    round: *round,
                    stage,
                    epoch: *epoch,
                    epochs: *epochs,
                    fraction: *fraction,
                    loss: *loss,
                }
            }
        }
    }
}

/// A log line for people: the time, what kind of thing happened, and the words.
pub(crate) fn text_of(notice: &Notice, is_colored: bool) -> String {
    let style = match notice.kind.as_str() {
        "round-committed" | "run-completed" => Style::new().green(),
        "round-abandoned" | "run-failed" | "run-stopped" | "policy-failed" => Style::new().red(),
        "policy-rolled-back" | "policies-set" => Style::new().yellow(),
        "cohort-chosen" | "model-evaluated" => Style::new().cyan(),
        _ => Style::new(),
    };
    let style = style.force_styling(is_colored);
    let text = plain(&notice.text);
    // Most texts name their round or worker themselves; the others get it in front.
    let worker = notice.worker.as_ref().filter(|worker| !text.contains(worker.as_str()));
    let worker = worker.map(|worker| format!("{worker}: ")).unwrap_or_default();
    let round = notice.round.filter(|round| !text.starts_with(&format!("round {round} ")));
    let round = round.map(|round| format!("round {round}  ")).unwrap_or_default();
    // All times are UTC.
    let time = notice.at.to_string().replace(" UTC", "");
    format!("{time}  {round}{worker}{}", style.apply_to(text))
}

/// Where events are shown.
pub(crate) struct View {
    output: Output,
    bars: Option<MultiProgress>,
    workers: Mutex<BTreeMap<String, Worker>>,
}

/// What is on the screen for one worker.
struct Worker {
    bar: Option<ProgressBar>,
    stage: String,
}

impl View {
    pub(crate) fn new(output: Output) -> Self {
        let is_live = !output.is_json() && std::io::stderr().is_terminal();
        Self { output, bars: is_live.then(MultiProgress::new), workers: Mutex::default() }
    }

    pub(crate) fn show(&self, event: WatchEvent) -> anyhow::Result<()> {
        if self.output.is_json() {
            return self.output.object(&Object::of(&event));
        }
        match event {
            WatchEvent::Line { notice, .. } => self.line(&notice),
            WatchEvent::Progress(progress) => self.progress(&progress),
            WatchEvent::Interrupted { reason } => self.say(&format!("{reason}; trying again")),
        }
    }

    /// Whether a person sees bars move.
    pub(crate) fn is_live(&self) -> bool {
        self.bars.is_some()
    }

    /// Takes the bars off the screen.
    pub(crate) fn close(&self) {
        if let Some(bars) = &self.bars {
            // A terminal that is gone needs no tidying.
            let _ = bars.clear();
        }
    }

    fn line(&self, notice: &Notice) -> anyhow::Result<()> {
        if matches!(notice.kind.as_str(), "round-committed" | "round-abandoned" | "run-completed" | "run-stopped") {
            self.clear_bars();
        }
        let text = text_of(notice, console::colors_enabled());
        self.beside_bars(|| self.output.line(&text))
    }

    /// Says something on stderr, above the bars.
    pub(crate) fn say(&self, text: &str) -> anyhow::Result<()> {
        self.beside_bars(|| talk(text))
    }

    /// A round is over: its bars have nothing more to show.
    pub(crate) fn clear_bars(&self) {
        self.workers().retain(|_, worker| worker.bar.as_ref().map(ProgressBar::finish_and_clear).is_none());
    }

    fn beside_bars<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn progress(&self, progress: &WorkerProgress) -> anyhow::Result<()> {
        let stage = format!("round {} {}", progress.round, progress.stage);
        let name = format!("{} ({})", plain(&progress.worker), plain(&progress.region));
        let mut workers = self.workers();
        let shown = workers.values().filter(|worker| worker.bar.is_some()).count();
        let worker = workers.entry(progress.worker.clone()).or_insert_with(|| {
            let bar = self.bars.as_ref().filter(|_| shown < BARS_MAX).map(|bars| {
                let bar = bars.add(ProgressBar::new(STEPS).with_style(style()));
                bar.set_prefix(name.clone());
                bar
            });
            Worker { bar, stage: String::new() }
        });
        let is_new = worker.stage != stage;
        worker.stage.clone_from(&stage);
        match &worker.bar {
            Some(bar) => {
                bar.set_position((progress.fraction.clamp(0.0, 1.0) * STEPS as f64) as u64);
                bar.set_message(message(progress));
                Ok(())
            }
            None if is_new && self.bars.is_none() => talk(&format!("{name}: {stage}")),
            None => Ok(()),
        }
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(progress: &WorkerProgress) -> String {
    let epoch = if progress.epochs > 0 { format!(" {}/{}", progress.epoch, progress.epochs) } else { String::new() };
    let loss = progress.loss.map(|loss| format!(", loss {loss:.4}")).unwrap_or_default();
    format!("{}{epoch}{loss}", plain(&progress.stage))
}

fn style() -> ProgressStyle {
    // The template is ours; were it wrong, the default style would do.
    ProgressStyle::with_template("  {prefix:24} {bar:30.cyan/dim} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
}

#[cfg(test)]
mod tests {
    use polder_core::Timestamp;

    use super::*;

    fn notice() -> Notice {
        Notice {
            at: Timestamp(36_610_000),
            run: Some("digits-3f9a1c".parse().unwrap()),
            round: Some(3),
            worker: Some("eu-west-1".parse().unwrap()),
            kind: "update-received".into(),
            text: "update of 480 examples\u{1b}[2J".into(),
        }
    }

    fn report(fraction: f64) -> WorkerProgress {
        WorkerProgress {
            worker: "eu-west-1".into(),
            region: "eu-west".into(),
            round: 3,
            stage: "training".into(),
            epoch: 1,
            epochs: 2,
            fraction,
            loss: Some(0.5),
        }
    }

    #[test]
    fn a_line_says_when_where_and_what() {
        assert_eq!(text_of(&notice(), false), "10:10:10  round 3  eu-west-1: update of 480 examples [2J");
        let named = Notice { text: "eu-west-1 sent its update".into(), ..notice() };
        assert_eq!(text_of(&named, false), "10:10:10  round 3  eu-west-1 sent its update");
        let committed = Notice { text: "round 3 committed".into(), worker: None, ..notice() };
        assert_eq!(text_of(&committed, false), "10:10:10  round 3 committed");
        let of_the_run = Notice { round: None, worker: None, ..notice() };
        assert_eq!(text_of(&of_the_run, false), "10:10:10  update of 480 examples [2J");
    }

    #[test]
    fn objects_have_a_type_and_flat_fields() {
        let json = |event: WatchEvent| serde_json::to_value(Object::of(&event)).unwrap();
        let line = json(WatchEvent::Line { seq: 9, notice: notice() });
        assert_eq!((&line["type"], &line["seq"], &line["worker"]), (&"line".into(), &9.into(), &"eu-west-1".into()));
        let progress = json(WatchEvent::Progress(report(0.25)));
        assert_eq!((&progress["type"], &progress["fraction"]), (&"progress".into(), &0.25.into()));
        let interrupted = json(WatchEvent::Interrupted { reason: "gone".into() });
        assert_eq!(interrupted, serde_json::json!({ "type": "interrupted", "reason": "gone" }));
    }

    #[test]
    fn a_bar_says_stage_epoch_and_loss() {
        assert_eq!(message(&report(0.5)), "training 1/2, loss 0.5000");
        assert_eq!(message(&WorkerProgress { epochs: 0, loss: None, ..report(0.5) }), "training");
    }
}
