//! A trainer that does what its settings say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use polder_core::policy::TrainingNeeds;
use polder_core::round::{Evaluation, Task};
use polder_worker::Trainer;
use polder_worker::datasets::DataSet;
use polder_worker::trainer::{Outcome, Progress, Stage, TrainRequest, Trained, TrainerError, Watcher};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What happens in the trainer, and the gate at which `wait` waits.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) open: Mutex<bool>,
    counts: watch::Sender<Counts>,
    /// A training went on from a checkpoint.
    pub(crate) resumed: std::sync::atomic::AtomicBool,
    /// What each training was asked to add.
    pub(crate) given: Mutex<Vec<(TrainingNeeds, Option<Vec<f32>>)>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) started: usize,
    pub(crate) running: usize,
    pub(crate) most_running: usize,
    pub(crate) finished: usize,
    pub(crate) cancelled: usize,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as they should be.
    pub(crate) async fn until(&self, what: &str, is_so: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        *super::soon(what, counts.wait_for(is_so)).await.unwrap()
    }
}

/// `{"do": "add"}` and so on.
pub(crate) struct Scripted(Arc<Gate>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    r#do: Do,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Do {
    /// Every value grows by 0.5.
    Add,
    /// The same, once the gate is open.
    Wait,
    /// The same, but deaf: it does not notice that it was cancelled.
    WaitDeaf,
    Fail,
    /// Fails once the gate is open.
    WaitAndFail,
    Panic,
    /// Panics once; after that, every value grows by 0.5.
    PanicOnce,
    /// Keeps a checkpoint, then waits; with one, every value grows by what it says.
    Checkpoint,
    NotANumber,
}

pub(crate) fn settings(r#do: &str) -> Value {
    json!({ "do": r#do })
}

impl Scripted {
    pub(crate) fn new(gate: &Arc<Gate>) -> Self {
        Self(gate.clone())
    }

    fn wait(&self, watcher: &Watcher, is_deaf: bool) -> Result<(), TrainerError> {
        let step = Duration::from_millis(5);
        while !*self.0.open.lock().unwrap() {
            if is_deaf {
                std::thread::sleep(step);
            } else if let Err(cancelled) = watcher.wait(step) {
                self.0.counts.send_modify(|counts| counts.cancelled += 1);
                return Err(cancelled);
            }
        }
        Ok(())
    }

    fn act(&self, request: &TrainRequest, watcher: &Watcher) -> Result<Outcome, TrainerError> {
        let Settings { r#do } = serde_json::from_value(request.settings.clone()).unwrap();
        for epoch in 1..=2 {
            watcher.report(Progress { stage: Stage::Training, epoch, epochs: 2, fraction: 0.5, loss: Some(1.5) });
        }
        match r#do {
            Do::Add | Do::NotANumber => {}
            Do::PanicOnce if self.0.counts().started == 1 => panic!("the first time"),
            Do::PanicOnce => {}
            Do::Checkpoint => match watcher.checkpoint() {
                Some(mut file) => {
                    let mut text = String::new();
                    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
                    assert_eq!(text, "half way");
                    self.0.resumed.store(true, std::sync::atomic::Ordering::SeqCst);
                }
                None => {
                    assert!(watcher.is_checkpoint_due());
                    watcher.keep_checkpoint(|file| file.write_all(b"half way"));
                    self.wait(watcher, false)?;
                }
            },
            Do::Wait | Do::WaitAndFail => self.wait(watcher, false)?,
            Do::WaitDeaf => self.wait(watcher, true)?,
            Do::Panic => panic!("the script says so"),
            Do::Fail => {}
        }
        if matches!(r#do, Do::Fail | Do::WaitAndFail) {
            return Err(TrainerError::Failed("the script says so".into()));
        }
        if request.task == Task::Evaluate {
            return Ok(Outcome::Evaluated(Evaluation { examples: 7, loss: 0.25, accuracy: 0.75 }));
        }
        let mut parameters = (*request.model).clone();
        parameters.values_mut().iter_mut().for_each(|value| *value += 0.5);
        if r#do == Do::NotANumber {
            parameters.values_mut()[1] = f32::NAN;
        }
        let linear = request.linear.as_ref().map(|linear| linear.to_vec());
        self.0.given.lock().unwrap().push((request.needs, linear));
        let evaluation = (request.holdout > 0.0).then_some(Evaluation { examples: 3, loss: 2.0, accuracy: 0.5 });
        Ok(Outcome::Trained(Trained {
            loss: Some(1.5),
            accuracy: Some(0.5),
            evaluation,
            base_loss: request.needs.base_loss.then_some(2.5),
            steps: Some(4),
            normalizer: Some(3.5),
            learning_rate: Some(0.5),
            ..Trained::plain(parameters, 12)
        }))
    }
}

impl Trainer for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn check(&self, settings: &Value, _: &DataSet) -> Result<(), TrainerError> {
        let read = serde_json::from_value::<Settings>(settings.clone());
        read.map(|_| ()).map_err(|error| TrainerError::Settings(error.into()))
    }

    fn adapts(&self, _: &Value, _: &TrainingNeeds) -> Result<(), TrainerError> {
        Ok(())
    }

    fn run(&self, request: &TrainRequest, watcher: &Watcher) -> Result<Outcome, TrainerError> {
        self.0.counts.send_modify(|counts| {
            counts.started += 1;
            counts.running += 1;
            counts.most_running = counts.most_running.max(counts.running);
        });
        // Counted also when it panics.
        let leave = Leave(&self.0);
        let outcome = self.act(request, watcher);
        drop(leave);
        outcome
    }
}

struct Leave<'a>(&'a Gate);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| {
            counts.running -= 1;
            counts.finished += 1;
        });
    }
}
