//! `polder demo`: the main job on one machine. A coordinator and a worker per region as separate processes, enrolled by
//! join tokens, talking mutual TLS; a federated run on handwritten digits; how it compares with each region alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use polder_core::RunId;
use polder_core::effect::Notice;
use polder_core::policy::PolicyKind;
use polder_core::spec::{CohortSpec, Deadlines, RetentionSpec, TrainerSpec};
use polder_core::view::RunView;
use polder_tensor::Parameters;
use polder_train::{Architecture, DataSet, TrainConfig, evaluate};
use tokio_util::sync::CancellationToken;

use crate::args::Context;
use crate::called::Called;
use crate::client::{Client, WatchEvent};
use crate::command::run::submit::submit;
use crate::demo::baseline::{self, Baselines};
use crate::demo::data::{self, DemoData};
use crate::demo::plot::Point;
use crate::demo::report::{self, PolicyUsed, RegionResult, Report};
use crate::failure::Ended;
use crate::local::LocalFederation;
use crate::output::{Output, talk};
use crate::progress::View;
use crate::run_file::{ModelPlan, PolicyPlan, RunFile};
use crate::shutdown::Signals;

/// The data set's name on the workers.
const DATASET: &str = "demo";
/// Most regions that one machine is asked to play.
const REGIONS_MAX: u32 = 64;

/// Epochs of a run's training.
const EPOCHS: u32 = 2;
/// The baselines train for as many epochs as all rounds together, and training has a limit of 10,000.
const ROUNDS_MAX: i64 = 10_000 / EPOCHS as i64;

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Regions, each with a worker process of its own.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(REGIONS_MAX)))]
    regions: u32,
    /// Rounds to commit.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=ROUNDS_MAX))]
    rounds: u32,
    /// Decides split, first model and training; the same seed gives the same final model, bit for bit.
    #[arg(long, default_value_t = 4)]
    seed: u64,
    /// Other data: a directory with an IDX pair (as MNIST's), or a CSV file with its schema beside it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where report.json, plot.svg and model.safetensors go.
    #[arg(long, value_name = "DIR", default_value = "polder-demo")]
    report: PathBuf,
    /// How updates become a model: any built-in aggregation policy (`polder policy list --builtin`).
    #[arg(long, value_name = "NAME", default_value = "fedavg")]
    aggregation: Called,
    /// Its parameters.
    #[arg(long, value_name = "JSON", default_value = "{}", visible_alias = "aggregation-parameters")]
    parameters: String,
    /// Who trains: any built-in placement policy.
    #[arg(long, value_name = "NAME", default_value = "least-loaded")]
    placement: Called,
    /// Its parameters.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    placement_parameters: String,
    /// Keep the coordinator's and the workers' directories, to look around in.
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) async fn perform(self, context: &Context) -> Result<()> {
        let mut signals = Signals::listen()?;
        tokio::select! {
            done = self.run(context.output) => done,
            exit = signals.next() => Err(Ended::error(exit, "the demo was interrupted; its processes are stopped")),
        }
    }

    async fn run(&self, output: Output) -> Result<()> {
        let started = Instant::now();
        let dir = tempfile::Builder::new().prefix("polder-demo-").tempdir().context("cannot make a directory")?;
        let data = Arc::new(self.prepare(dir.path()).await?);
        let plan = self.plan(&data, report::prepare_dir(&self.report)?)?;

        let mut federation = LocalFederation::start(dir.path()).await?;
        let client = federation.client().await?;
        talk(&format!("coordinator up on {} after {:.2} s", federation.endpoint(), started.elapsed().as_secs_f64()))?;
        let submitted = submit(&client, &plan.file).await?;
        for region in &data.regions {
            let data = (DATASET, region.path.as_path());
            federation.add_worker(&client, &region.name, data).await?;
        }
        let mut live = Live::new(&client, &submitted.run, &plan, &data.held_out, started)?;
        let ended = federation.during(live.follow()).await?;
        let seconds = started.elapsed().as_secs_f64();
        if ended.status != "completed" {
            bail!("the run {}: {}", ended.status, ended.reason.unwrap_or_default());
        }

        talk("training each region alone, and all data pooled, for comparison")?;
        let first_training = live.first_training.context("no worker reported that it trained")?;
        let (points, bytes_sent) = (live.points, live.bytes_sent);
        let model = live.model;
        let baselines = self.baselines(&plan, &data).await?;
        let report = self.report(&plan, &data, &ended, &points, &baselines, (seconds, first_training, bytes_sent))?;
        report.write(&model, &baselines)?;
        federation.stop().await?;
        if self.keep {
            let kept = dir.keep();
            talk(&format!("kept: {} (start the coordinator again with --dir {0}/coordinator)", kept.display()))?;
        }
        if output.is_json() { output.object(&report) } else { output.line(&report.table()) }
    }

    async fn prepare(&self, dir: &Path) -> Result<DemoData> {
        let (source, regions, seed, dir) = (self.data.clone(), self.regions as usize, self.seed, dir.to_owned());
        let data = tokio::task::spawn_blocking(move || data::prepare(source.as_deref(), regions, seed, &dir)).await??;
        for region in &data.regions {
            let (examples, classes) = (region.data.examples(), region.data.label_counts());
            talk(&format!("{:<12}{examples:>6} examples, by class {classes:?}", region.name))?;
        }
        Ok(data)
    }

    /// The run: FedAvg's two-hidden-layer perceptron on whatever the data's shape is, every region in every round.
    fn plan(&self, data: &DemoData, report_dir: PathBuf) -> Result<Plan> {
        let (inputs, classes) = (data.held_out.feature_count(), data.held_out.classes());
        let architecture = Architecture::Mlp { inputs, hidden: vec![200, 200], classes };
        let train = TrainConfig { epochs: EPOCHS, batch_size: 20, learning_rate: 0.3, ..TrainConfig::default() };
        let policy = |called: &Called, parameters: &str| PolicyPlan {
            parameters: parameters.into(),
            ..PolicyPlan::of_coordinator(called.clone())
        };
        let file = RunFile {
            name: DATASET.into(),
            dataset: DATASET.into(),
            seed: self.seed,
            rounds: self.rounds,
            model: ModelPlan { architecture: architecture.clone(), file: None },
            trainer: TrainerSpec {
                kind: "embedded".into(),
                settings: serde_json::json!({ "model": architecture, "train": train }),
            },
            cohort: CohortSpec {
                size: self.regions,
                over_selection: 0,
                quorum: self.regions,
                staleness_max: 0,
                standbys: 0,
            },
            deadlines: Deadlines { selection_ms: 10_000, round_ms: 600_000 },
            evaluation: None,
            target: None,
            retention: RetentionSpec::default(),
            placement: policy(&self.placement, &self.placement_parameters),
            aggregation: policy(&self.aggregation, &self.parameters),
        };
        Ok(Plan { file, architecture, train, report_dir })
    }

    /// On threads of their own, so that this one hears the signals; they give up when nobody waits for them any more.
    async fn baselines(&self, plan: &Plan, data: &Arc<DemoData>) -> Result<Baselines> {
        let (rounds, seed, data) = (self.rounds, self.seed, data.clone());
        let (architecture, train) = (plan.architecture.clone(), plan.train.clone());
        let start = architecture.initial(seed)?;
        let stop = CancellationToken::new();
        let _given_up = stop.clone().drop_guard();
        let training = move || baseline::train_all(&architecture, &start, &train, rounds, &data, seed, &stop);
        tokio::task::spawn_blocking(training).await?
    }

    fn report(
        &self,
        plan: &Plan,
        data: &DemoData,
        ended: &RunView,
        points: &[Point],
        baselines: &Baselines,
        (seconds, first_training_seconds, bytes_sent): (f64, f64, u64),
    ) -> Result<Report> {
        let last = points.last().context("no round was evaluated")?;
        let (best_region, best) = baselines.best().context("there is no region")?;
        let used = |kind: PolicyKind, policy: &polder_core::policy::PolicyRef| PolicyUsed {
            kind: kind.to_string(),
            name: policy.name.to_string(),
            version: policy.version.as_ref().map(ToString::to_string),
            digest: policy.digest.to_string(),
        };
        let regions = data.regions.iter().zip(&baselines.alone).map(|(region, (_, alone))| RegionResult {
            region: region.name.clone(),
            examples: region.data.examples(),
            classes: region.data.label_counts(),
            accuracy_alone: alone.accuracy,
        });
        ensure!(plan.file.rounds as usize + 1 == points.len(), "a round's model was not evaluated");
        Ok(Report {
            run: ended.run.to_string(),
            rounds: ended.rounds_committed,
            accuracy: last.accuracy,
            loss: last.loss,
            best_region: best_region.clone(),
            best_region_accuracy: best.accuracy,
            pooled_accuracy: baselines.pooled.accuracy,
            seconds,
            first_training_seconds,
            bytes_sent,
            workers: data.regions.len(),
            policies: vec![
                used(PolicyKind::Placement, &ended.placement),
                used(PolicyKind::Aggregation, &ended.aggregation),
            ],
            seed: self.seed,
            data: data.source.clone(),
            held_out_examples: data.held_out.examples(),
            regions: regions.collect(),
            model: ended.model.digest.to_string(),
            by_round: points.to_vec(),
            report_dir: plan.report_dir.clone(),
        })
    }
}

/// What is to be run, and where its report goes.
struct Plan {
    file: RunFile,
    architecture: Architecture,
    train: TrainConfig,
    report_dir: PathBuf,
}

/// The run as it happens: bars for the workers, a line a round with the new model's accuracy.
struct Live<'demo> {
    client: &'demo Client,
    run: &'demo RunId,
    plan: &'demo Plan,
    held_out: &'demo DataSet,
    started: Instant,
    view: View,
    first_training: Option<f64>,
    bytes_sent: u64,
    points: Vec<Point>,
    model: Parameters,
}

impl<'demo> Live<'demo> {
    fn new(
        client: &'demo Client,
        run: &'demo RunId,
        plan: &'demo Plan,
        held_out: &'demo DataSet,
        started: Instant,
    ) -> Result<Self> {
        // Replaced by the first model as soon as that was pulled.
        let model = Parameters::zeros(Arc::new(plan.architecture.layout()?));
        let view = View::new(Output::new(false));
        let (first_training, bytes_sent, points) = (None, 0, Vec::new());
        Ok(Self { client, run, plan, held_out, started, view, first_training, bytes_sent, points, model })
    }

    async fn follow(&mut self) -> Result<RunView> {
        let first = self.client.run(self.run).await?.model.digest;
        self.evaluate(0, first).await?;
        let mut watch = self.client.watch(self.run, 0, true);
        while let Some(event) = watch.next().await? {
            match event {
                WatchEvent::Line { notice, .. } => self.line(&notice).await?,
                WatchEvent::Progress(progress) => {
                    if progress.stage == "training" {
                        self.training();
                    }
                    // Off a terminal a line a round is enough.
                    if self.view.is_live() {
                        self.view.show(WatchEvent::Progress(progress))?;
                    }
                }
                WatchEvent::Interrupted { .. } => self.view.show(event)?,
            }
        }
        self.view.close();
        Ok(self.client.run(self.run).await?.view)
    }

    fn training(&mut self) {
        let elapsed = self.started.elapsed().as_secs_f64();
        self.first_training.get_or_insert(elapsed);
    }

    async fn line(&mut self, notice: &Notice) -> Result<()> {
        match (notice.kind.as_str(), notice.round) {
            // A region so small that it was done before it said it began.
            ("update-received", _) => self.training(),
            ("round-committed", Some(round)) => self.committed(round).await?,
            ("round-abandoned" | "worker-lost" | "policy-failed" | "policy-rolled-back" | "assignment-failed", _) => {
                self.view.say(&notice.text)?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn committed(&mut self, number: u32) -> Result<()> {
        let round = self.client.round(self.run, number).await?;
        let digest = round.committed.context("a committed round has no model")?;
        self.bytes_sent += report::bytes_of(&round);
        self.evaluate(number, digest).await?;
        self.view.clear_bars();
        let Some(point) = self.points.last() else { return Ok(()) };
        let losses: Vec<String> =
            round.cohort.iter().map(|seat| format!("{} {:.3}", seat.worker, seat.loss.unwrap_or(f64::NAN))).collect();
        self.view.say(&format!(
            "round {number:>3}/{}  accuracy {:.4}  loss {:.4}   training loss: {}",
            self.plan.file.rounds,
            point.accuracy,
            point.loss,
            losses.join("  ")
        ))
    }

    async fn evaluate(&mut self, round: u32, digest: polder_core::Digest) -> Result<()> {
        let mut pull = self.client.pull_model(&digest, 0).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = pull.next().await? {
            bytes.extend_from_slice(&piece);
        }
        let model = Parameters::from_safetensors(&bytes)?;
        ensure!(model.digest() == digest, "the model that came is not the one asked for");
        let held = tokio::task::block_in_place(|| evaluate(&self.plan.architecture, &model, self.held_out))?;
        self.model = model;
        self.points.push(Point { round, accuracy: held.accuracy, loss: held.loss });
        Ok(())
    }
}
