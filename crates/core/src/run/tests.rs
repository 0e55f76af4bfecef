//! What follows a round: another one, an evaluation, or the end of the run.

use super::*;
use crate::digest::Digest;
use crate::round::{AggregateReceipt, RoundEvent, Seat, UpdateReceipt};
use crate::spec::{CohortSpec, Deadlines, EvaluationSpec, ModelSpec, Target, TrainerSpec};

const NOW: Timestamp = Timestamp(1_000);

fn spec(rounds: u32) -> RunSpec {
    let policy = |name: &str| PolicyRef::new(crate::id::PolicyName::new(name).unwrap(), Digest::sha256([1; 32]));
    RunSpec {
        name: "digits".into(),
        model: ModelSpec { digest: Digest::blake3([0; 32]), bytes: 400, parameters: 100 },
        dataset: "digits".into(),
        trainer: TrainerSpec { kind: "mlp".into(), settings: serde_json::json!({}) },
        rounds,
        cohort: CohortSpec { size: 1, over_selection: 0, quorum: 1, staleness_max: 0, standbys: 0 },
        deadlines: Deadlines { selection_ms: 0, round_ms: 1_000 },
        evaluation: None,
        target: None,
        retention: crate::spec::RetentionSpec::default(),
        placement: policy("least-loaded"),
        aggregation: policy("fedavg"),
        seed: 1,
    }
}

fn run(spec: RunSpec) -> Run {
    Run::submit(RunId::new("r").unwrap(), spec, AggregationTraits::default(), NOW)
}

fn with_target(metric: Metric, value: f64) -> RunSpec {
    RunSpec { evaluation: Some(EvaluationSpec { holdout: 0.2 }), target: Some(Target { metric, value }), ..spec(10) }
}

fn metrics(accuracy: f64) -> Evaluation {
    Evaluation { examples: 10, loss: 1.0 - accuracy, accuracy }
}

impl Run {
    fn play(mut self, events: impl IntoIterator<Item = RoundEvent>) -> Self {
        let terms = self.terms();
        for event in events {
            self.round.as_mut().expect("a round is open").apply(NOW, &terms, event).expect("the event fits");
        }
        self.turn_page(NOW);
        self
    }

    /// One round from placement to commit; the cohort found `accuracy` for the round's base model.
    fn commits(self, accuracy: Option<f64>) -> Self {
        let (worker, version) = (crate::id::WorkerName::new("a").unwrap(), self.model.version + 1);
        let evaluation = accuracy.map(metrics);
        let model = Digest::blake3([u8::try_from(version).unwrap(); 32]);
        let update = UpdateReceipt { evaluation, ..UpdateReceipt::new(model, 400, 10) };
        let receipt = AggregateReceipt::new(model, 400, model, vec![1.0], "all of it".into());
        let chosen = vec![(worker.clone(), Seat::new(None, "free".into()))];
        self.play([
            RoundEvent::Placed { chosen, by: Digest::sha256([9; 32]), reason: "chosen".into() },
            RoundEvent::Reported { worker, receipt: update },
            RoundEvent::Aggregated { receipt },
        ])
    }

    fn evaluates(self, accuracy: f64) -> Self {
        let worker = crate::id::WorkerName::new("a").unwrap();
        let chosen = vec![(worker.clone(), Seat::new(None, "free".into()))];
        let placed = RoundEvent::Placed { chosen, by: Digest::sha256([9; 32]), reason: "chosen".into() };
        self.play([placed, RoundEvent::Evaluated { worker, evaluation: metrics(accuracy) }])
    }

    fn abandons(self) -> Self {
        self.play([RoundEvent::Cancelled { reason: "no quorum".into() }])
    }

    #[track_caller]
    fn is(self, status: &str) -> Self {
        assert_eq!(self.status.name(), status, "{:?}", self.status);
        assert_eq!(crate::invariants::check_run(&self), []);
        self
    }

    fn open(&self) -> (RoundNumber, Task, u64) {
        let round = self.round.as_ref().expect("a round is open");
        (round.number, round.task, round.base.version)
    }
}

#[test]
fn a_run_commits_the_rounds_it_was_asked_for() {
    let run = run(spec(2)).commits(None).is("running");
    assert_eq!(run.open(), (2, Task::Train, 1));
    let run = run.commits(None).is("completed");
    assert_eq!(run.model.version, 2);
    assert!(run.round.is_none() && run.waiting_for().is_none());
}

#[test]
fn an_abandoned_round_leaves_the_model_and_another_follows() {
    let run = run(spec(2)).commits(None).abandons().is("running");
    assert_eq!(run.open(), (3, Task::Train, 1));
    let run = run.commits(None).is("completed");
    assert_eq!((run.history.len(), run.model.version), (3, 2));
}

#[test]
fn five_abandoned_rounds_in_a_row_fail_the_run() {
    let mut four = run(spec(2));
    for _ in 0..4 {
        four = four.abandons().is("running");
    }
    let failed = four.clone().abandons().is("failed");
    assert!(failed.status.ended().unwrap().1.contains("no quorum"));
    let mut forgiven = four.commits(None);
    for _ in 0..4 {
        forgiven = forgiven.abandons().is("running");
    }
    forgiven.commits(None).is("completed");
}

#[test]
fn a_run_with_evaluation_ends_with_an_evaluation_round() {
    let run = run(RunSpec { evaluation: Some(EvaluationSpec { holdout: 0.2 }), ..spec(1) });
    let run = run.commits(Some(0.1)).is("running");
    assert_eq!(run.open(), (2, Task::Evaluate, 1));
    let run = run.evaluates(0.8).is("completed");
    let found: Vec<_> = run.evaluations.iter().map(|(version, found)| (*version, found.accuracy)).collect();
    assert_eq!(found, [(0, 0.1), (1, 0.8)]);
}

#[test]
fn an_evaluation_that_fails_does_not_cost_the_run() {
    let run = run(RunSpec { evaluation: Some(EvaluationSpec { holdout: 0.2 }), ..spec(1) });
    let run = run.commits(None).abandons().is("completed");
    assert!(run.status.ended().unwrap().1.contains("not evaluated"));
}

#[test]
fn a_run_stops_early_once_accuracy_reaches_the_target() {
    let run = run(with_target(Metric::Accuracy, 0.9)).commits(Some(0.5)).commits(Some(0.9)).is("running");
    assert_eq!(run.open().1, Task::Evaluate, "the target is reached, one evaluation of the last model is left");
    let run = run.evaluates(0.95).is("completed");
    assert!(run.status.ended().unwrap().1.contains("reached the target: accuracy 0.9500"));
}

#[test]
fn a_loss_target_is_reached_from_above() {
    let run = run(with_target(Metric::Loss, 0.25)).commits(Some(0.5)).is("running");
    assert_eq!(run.open().1, Task::Train);
    assert_eq!(run.commits(Some(0.75)).open().1, Task::Evaluate);
}

#[test]
fn every_round_is_found_by_its_number() {
    let run = run(spec(3)).commits(None).abandons();
    for number in 1..=3 {
        assert_eq!(run.round(number).map(|round| round.number), Some(number));
    }
    assert!(run.round(0).is_none() && run.round(4).is_none());
}

#[test]
fn a_stopped_run_files_its_round() {
    let mut run = run(spec(3));
    let terms = run.terms();
    let cancelled = RoundEvent::Cancelled { reason: "stopped".into() };
    run.round.as_mut().unwrap().apply(NOW, &terms, cancelled).unwrap();
    run.stop(NOW, "enough for today".into());
    assert_eq!(run.history.len(), 1);
    assert_eq!(run.is("stopped").status.ended(), Some((NOW, "enough for today")));
}
