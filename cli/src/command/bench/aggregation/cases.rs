//! What is measured, in the order of the table.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use polder_coordinator::rehearsal::{Choice, Columns, Rehearsal, Steps};
use polder_policy::{Limits, PolicyHost};
use polder_tensor::reference::{Adam, Network, Width};

use super::timing::{Work, medians, work};
use super::{Bench, Measured, memory, questions};

/// FedAdam's defaults.
const ADAM: Adam = Adam { eta: 0.1, beta_1: 0.9, beta_2: 0.99, tau: 1e-3 };
/// How many of the updates Krum expects to be malicious, and how many trimmed mean cuts at either end, of each ten.
const MALICIOUS_OF_TEN: usize = 2;

/// One thing that is measured.
pub(super) enum Case {
    Sums { k: usize, n: usize, wanted: &'static str },
    Columns { policy: &'static str, k: usize, n: usize },
    Whole { policy: &'static str, k: usize, n: usize },
    Krum { k: usize, n: usize },
    Adam { n: usize },
    Memory { policy: &'static str, k: usize, n: usize },
    Questions,
}

pub(super) fn all() -> Vec<Case> {
    const MILLION: usize = 1_000_000;
    let mut cases = vec![
        Case::Sums { k: 10, n: 25 * MILLION, wanted: "at most 1.3 × read" },
        Case::Sums { k: 100, n: 5 * MILLION / 2, wanted: "at most 1.5 × read" },
        Case::Columns { policy: "trimmed-mean", k: 20, n: 5 * MILLION / 2 },
        Case::Columns { policy: "fedmedian", k: 20, n: 5 * MILLION / 2 },
        Case::Whole { policy: "trimmed-mean", k: 20, n: 5 * MILLION / 2 },
        Case::Krum { k: 20, n: 5 * MILLION / 2 },
        Case::Adam { n: 10 * MILLION },
        Case::Whole { policy: "fedadam", k: 10, n: 10 * MILLION },
    ];
    for policy in ["fedavg", "fedadam", "trimmed-mean"] {
        cases.extend([4, 64].map(|k| Case::Memory { policy, k, n: 25 * MILLION }));
    }
    cases.push(Case::Questions);
    cases
}

impl Case {
    /// Nothing if the bench does not want it.
    pub(super) async fn run(&self, bench: &Bench) -> Result<Vec<Measured>> {
        let measured = match *self {
            Self::Sums { k, n, wanted } if bench.wants("sum", "fedavg") => sums(bench, k, n, wanted).await?,
            Self::Columns { policy, k, n } if bench.wants("combine", policy) => columns(bench, policy, k, n).await?,
            Self::Whole { policy, k, n } if bench.wants("aggregate", policy) => vec![whole(bench, policy, k, n).await?],
            Self::Krum { k, n } if bench.wants("weigh", "krum") => vec![krum(bench, k, n).await?],
            Self::Adam { n } if bench.wants("step", "fedadam") => adam(bench, n).await?,
            Self::Memory { policy, k, n } if bench.wants("memory", policy) => {
                vec![memory::measure(bench, policy, k, n).await?]
            }
            Self::Questions => questions::measure(bench).await?,
            _ => Vec::new(),
        };
        Ok(measured)
    }
}

fn host() -> Result<Arc<PolicyHost>> {
    Ok(Arc::new(PolicyHost::new(Limits::default(), None)?))
}

fn choice(host: &PolicyHost, policy: &str) -> Result<Arc<Choice>> {
    Ok(Arc::new(Choice::of(host, policy, "{}")?))
}

/// A round's files, and a policy to aggregate them.
struct Files {
    host: Arc<PolicyHost>,
    choice: Arc<Choice>,
    round: Arc<Rehearsal>,
    _dir: tempfile::TempDir,
}

impl Files {
    async fn make(bench: &Bench, policy: &str, k: usize, n: usize) -> Result<Self> {
        let (dir, host) = (bench.directory()?, host()?);
        let choice = choice(&host, policy)?;
        let round = Arc::new(Rehearsal::make(dir.path(), k, k, n).await?);
        Ok(Self { host, choice, round, _dir: dir })
    }

    fn work(&self, work: impl Fn(&Rehearsal, &PolicyHost, &Choice) -> Result<()> + Send + Sync + 'static) -> Work {
        let (host, choice, round) = (self.host.clone(), self.choice.clone(), self.round.clone());
        super::timing::work(move || work(&round, &host, &choice))
    }
}

async fn sums(bench: &Bench, k: usize, full: usize, wanted: &'static str) -> Result<Vec<Measured>> {
    let n = bench.parameters(full);
    let files = Files::make(bench, "fedavg", k, n).await?;
    let variants = [
        files.work(|round, host, choice| {
            black_box(round.read(host, choice)?);
            Ok(())
        }),
        files.work(|round, host, choice| {
            black_box(round.sum(host, choice)?);
            Ok(())
        }),
        files.work(|round, host, choice| Ok(round.aggregate(host, choice)?)),
        files.work(|round, _, _| Ok(round.whole_vectors()?)),
    ];
    let [read, sum, aggregate, whole] = medians(bench.repeats, variants).await?;
    let row = |name: &str, seconds, wanted| Measured {
        name: name.into(),
        k,
        n,
        policy: "fedavg".into(),
        seconds,
        read_seconds: Some(read),
        model_bytes: Some(files.round.model_bytes()),
        wanted,
        ..Measured::default()
    };
    Ok(vec![
        row("sum", sum, wanted),
        row("sum, digests, file on disk", aggregate, ""),
        row("NumPy's way, one thread", whole, ""),
    ])
}

async fn columns(bench: &Bench, policy: &str, k: usize, full: usize) -> Result<Vec<Measured>> {
    let (n, host) = (bench.parameters(full), host()?);
    let choice = choice(&host, policy)?;
    let network = match policy {
        "fedmedian" => Network::median(k),
        _ => Network::trimmed_mean(k, MALICIOUS_OF_TEN * k / 10),
    };
    let columns = Arc::new(Mutex::new(Columns::new(k, n)));
    let natively = |width| {
        let (columns, network) = (columns.clone(), network.clone());
        work(move || {
            columns.lock().unwrap_or_else(PoisonError::into_inner).combine_natively(&network, width);
            Ok(())
        })
    };
    let variants = [natively(Width::Baseline), natively(Width::Widest), {
        let columns = columns.clone();
        work(move || Ok(columns.lock().unwrap_or_else(PoisonError::into_inner).combine(&host, &choice)?))
    }];
    let [baseline, widest, sandbox] = medians(bench.repeats, variants).await?;
    let row = |name: &str, seconds, wanted| Measured {
        name: name.into(),
        k,
        n,
        policy: policy.into(),
        seconds,
        native_seconds: Some(baseline),
        wanted,
        ..Measured::default()
    };
    Ok(vec![
        row("combine, sandbox ÷ native 128 bits", sandbox, "at most 1.2 × native"),
        row("combine, native widest ÷ 128 bits", widest, ""),
    ])
}

async fn whole(bench: &Bench, policy: &str, k: usize, full: usize) -> Result<Measured> {
    let n = bench.parameters(full);
    let files = Files::make(bench, policy, k, n).await?;
    let variants = [
        files.work(|round, host, choice| {
            black_box(round.read(host, choice)?);
            Ok(())
        }),
        files.work(|round, host, choice| Ok(round.aggregate(host, choice)?)),
    ];
    let [read, aggregate] = medians(bench.repeats, variants).await?;
    Ok(Measured {
        name: "aggregate, digests, files on disk".into(),
        k,
        n,
        policy: policy.into(),
        seconds: aggregate,
        read_seconds: Some(read),
        model_bytes: Some(files.round.model_bytes()),
        ..Measured::default()
    })
}

async fn krum(bench: &Bench, k: usize, full: usize) -> Result<Measured> {
    let n = bench.parameters(full);
    let files = Files::make(bench, "krum", k, n).await?;
    let variants = [
        files.work(|round, _, choice| {
            black_box(round.krum_natively(choice, 0)?);
            Ok(())
        }),
        files.work(|round, host, choice| {
            black_box(round.decide(host, choice)?);
            Ok(())
        }),
    ];
    let [native, sandbox] = medians(bench.repeats, variants).await?;
    Ok(Measured {
        name: "products, then weigh".into(),
        k,
        n,
        policy: "krum".into(),
        seconds: sandbox,
        native_seconds: Some(native),
        model_bytes: Some(files.round.model_bytes()),
        wanted: "at most 1.3 × native",
        ..Measured::default()
    })
}

async fn adam(bench: &Bench, full: usize) -> Result<Vec<Measured>> {
    let (n, host) = (bench.parameters(full), host()?);
    let choice = choice(&host, "fedadam")?;
    let steps = Arc::new(Mutex::new(Steps::new(n)));
    let natively = |width| {
        let steps = steps.clone();
        work(move || {
            steps.lock().unwrap_or_else(PoisonError::into_inner).step_natively(&ADAM, width);
            Ok(())
        })
    };
    let variants = [natively(Width::Baseline), natively(Width::Widest), {
        let steps = steps.clone();
        work(move || Ok(steps.lock().unwrap_or_else(PoisonError::into_inner).step(&host, &choice)?))
    }];
    let [baseline, widest, sandbox] = medians(bench.repeats, variants).await?;
    let row = |name: &str, seconds, native, wanted| Measured {
        name: name.into(),
        k: 1,
        n,
        policy: "fedadam".into(),
        seconds,
        native_seconds: Some(native),
        wanted,
        ..Measured::default()
    };
    Ok(vec![
        row("step, sandbox ÷ native in place", sandbox, widest, "at most 3 × native"),
        row("step, native 128 bits ÷ widest", baseline, widest, ""),
    ])
}
