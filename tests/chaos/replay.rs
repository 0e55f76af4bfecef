//! The same runs without a single fault: a fresh coordinator and fresh workers, each of which trains again what its namesake
//! delivered, and fails where that did not. Nothing is taken over but the models that the runs began with: every update and every
//! model comes about anew, and must have the same bits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use polder_coordinator::store::{Store, StoreConfig};
use polder_core::enrolment::Grant;
use polder_core::policy::TrainingNeeds;
use polder_core::{AssignmentId, Region, RoundNumber, RunId, WorkerName};
use polder_tests::{Coordinator, eventually};
use polder_worker::config::Config;
use polder_worker::datasets::DataSet;
use polder_worker::telemetry::NoGpus;
use polder_worker::trainer::{Embedded, Outcome, Synthetic, TrainRequest, TrainerError, Watcher};
use polder_worker::{Parts, State, Trainer, Trainers, Worker};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::past::{Committed, Past, RunPast};
use crate::world::{DATASET, REGIONS, WORKERS};

/// Does what `inner` does, in the rounds in which this worker's update counted.
struct Scripted<T> {
    inner: T,
    script: Script,
}

/// In which rounds of the run under way a worker delivers. A seed is as good as the name of a round and a worker.
type Script = Arc<Mutex<BTreeSet<u64>>>;

impl<T: Trainer> Trainer for Scripted<T> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn check(&self, settings: &Value, data: &DataSet) -> Result<(), TrainerError> {
        self.inner.check(settings, data)
    }

    fn adapts(&self, settings: &Value, needs: &TrainingNeeds) -> Result<(), TrainerError> {
        self.inner.adapts(settings, needs)
    }

    fn run(&self, request: &TrainRequest, watcher: &Watcher) -> Result<Outcome, TrainerError> {
        let takes_part = self.script.lock().unwrap_or_else(PoisonError::into_inner).contains(&request.seed);
        if takes_part {
            return self.inner.run(request, watcher);
        }
        Err(TrainerError::Failed("this update did not take part".into()))
    }
}

/// A run as it was, and as it has to come about again.
struct Again<'a> {
    past: &'a RunPast,
    was: RunId,
    model: Vec<u8>,
    is: Option<RunId>,
}

/// Runs everything in `past` again, with the data sets in `home` and the first models from `store`. What was not the same
/// is an error; else how many rounds and updates were compared.
pub(crate) async fn without_faults(past: &Past, home: &Path, store: &StoreConfig) -> Result<(usize, usize), String> {
    let mut again = first_models(past, store).await;
    let coordinator = Coordinator::start().await;
    let stop = CancellationToken::new();
    let (mut workers, mut scripts) = (Vec::new(), Vec::new());
    for (name, region) in WORKERS {
        let script = Script::default();
        let worker = worker(name, REGIONS[region], script.clone(), home, &coordinator).await;
        let mut state = worker.state();
        workers.push(tokio::spawn(worker.run(stop.clone())));
        state.wait_for(|state| matches!(state, State::Connected { .. })).await.unwrap();
        scripts.push((WorkerName::new(name).unwrap(), script));
    }
    // One after the other: runs that were submitted twice, because the answer was lost, have the same seeds.
    for one in &mut again {
        for (worker, script) in &scripts {
            *script.lock().unwrap_or_else(PoisonError::into_inner) = delivered(past, &one.was, worker);
        }
        coordinator.upload_model(std::mem::take(&mut one.model)).await.unwrap();
        let mut spec = one.past.spec.clone();
        spec.rounds = u32::try_from(one.past.committed.len()).unwrap();
        if spec.trainer.kind == "synthetic" {
            spec.trainer.settings = serde_json::json!({});
        }
        one.is = Some(coordinator.submit(&spec).await.unwrap());
        completed(&coordinator, one).await?;
    }
    stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    let dir = coordinator.stop().await;
    let second = Past::read(&StoreConfig::local(dir.path())).await;
    let (mut rounds, mut updates) = (0, 0);
    for one in &again {
        let found = &second.runs[one.is.as_ref().unwrap()];
        compare(one.past, found)?;
        rounds += found.committed.len();
        updates += found.committed.values().map(|committed| committed.updates.len()).sum::<usize>();
    }
    Ok((rounds, updates))
}

/// The runs that committed anything, each with the model it was submitted with.
async fn first_models<'a>(past: &'a Past, store: &StoreConfig) -> Vec<Again<'a>> {
    let store = Store::open(store).await.unwrap();
    let mut again = Vec::new();
    for (id, run) in past.runs.iter().filter(|(_, run)| !run.committed.is_empty()) {
        let model = store.blobs().get(&run.spec.model.digest).await.unwrap();
        again.push(Again { past: run, was: id.clone(), model: model.to_vec(), is: None });
    }
    again
}

/// The seeds of the updates of `worker` that became part of the run's models.
fn delivered(past: &Past, run: &RunId, worker: &WorkerName) -> BTreeSet<u64> {
    let committed = past.runs[run].committed.iter();
    let took_part = committed.filter(|(_, committed)| committed.updates.contains_key(worker));
    let assignment = |round| AssignmentId { run: run.clone(), round, worker: worker.clone() };
    took_part.map(|(round, _)| past.seeds[&assignment(*round)]).collect()
}

async fn worker(name: &str, region: &str, script: Script, home: &Path, coordinator: &Coordinator) -> Worker {
    let grant = Grant::Worker { region: Region::new(region).unwrap() };
    let token = coordinator.token(grant, 600_000).await;
    let config = Config {
        join: Some(token),
        name: Some(WorkerName::new(name).unwrap()),
        datasets: BTreeMap::from([(DATASET.to_owned(), Some(home.join(format!("{region}.csv"))))]),
        slots: 3,
        ..Config::new(coordinator.path().join("workers").join(name))
    };
    let trainers = Trainers::default()
        .with(Scripted { inner: Embedded::probe(), script: script.clone() })
        .with(Scripted { inner: Synthetic, script });
    let parts = Parts { trainers, gpus: Box::new(NoGpus) };
    tokio::task::spawn_blocking(move || Worker::build_with(config, parts)).await.unwrap().unwrap()
}

/// Waits for the end of the run, for as long as it gets on.
async fn completed(coordinator: &Coordinator, again: &Again<'_>) -> Result<(), String> {
    let run = again.is.as_ref().unwrap();
    loop {
        let before = coordinator.run(run).await;
        match before.status.as_str() {
            "completed" => return Ok(()),
            "running" => {}
            other => return Err(format!("without faults {run} is {other}: {:?}", before.reason)),
        }
        let has_moved = |now: &polder_core::view::RunView| {
            let numbers = (now.rounds_committed, now.rounds_abandoned);
            numbers != (before.rounds_committed, before.rounds_abandoned) || now.status != before.status
        };
        eventually("the run gets on without faults", async || Some(coordinator.run(run).await).filter(has_moved)).await;
    }
}

fn compare(past: &RunPast, found: &RunPast) -> Result<(), String> {
    for ((number, was), (again, is)) in past.committed.iter().zip(&found.committed) {
        compare_round(*number, was, *again, is)
            .map_err(|difference| format!("round {number} of {}: {difference}", past.spec.name))?;
    }
    let (were, are) = (past.committed.len(), found.committed.len());
    if were == are { Ok(()) } else { Err(format!("{were} rounds of {} are {are} without faults", past.spec.name)) }
}

fn compare_round(number: RoundNumber, was: &Committed, again: RoundNumber, is: &Committed) -> Result<(), String> {
    if number != again {
        return Err(format!("without faults round {again} committed in its place"));
    }
    if was.updates != is.updates {
        return Err(format!("its updates were {:?}, and are {:?} without faults", was.updates, is.updates));
    }
    if (was.base, was.model) != (is.base, is.model) {
        return Err(format!("it made {} of {}, and {} of {} without faults", was.model, was.base, is.model, is.base));
    }
    Ok(())
}
