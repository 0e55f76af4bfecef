//! Three thousand worlds in which everything goes wrong, and what must hold in each.
//!
//! `POLDER_SEEDS=n` lives through the first `n`; `polder sim --seed N --log` prints the log of one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use polder_sim::{Counted, Counts, Faults, Plan, Report, RunReport, explore, model_digest, replay, update_digest};

const SEEDS: u64 = 3_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

/// Lives through the worlds of seeds `0..seeds`; what is wanted of each, in the order of seeds.
fn worlds<T: Send>(seeds: u64, plan: &Plan, wanted: impl Fn(Report) -> T + Sync) -> Vec<T> {
    let done = Mutex::new(BTreeMap::new());
    explore(0..seeds, plan, |result| {
        let report = result.unwrap_or_else(|failure| panic!("{failure}"));
        let (seed, wanted) = (report.seed, wanted(report));
        done.lock().unwrap().insert(seed, wanted);
    });
    done.into_inner().unwrap().into_values().collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever runs it wants to see what it went through")]
fn every_invariant_holds_in_every_world() {
    let plan = Plan::unkind();
    let seeds = number("POLDER_SEEDS").unwrap_or(SEEDS);
    let mut counts = Counts::default();
    let (mut completed, mut runs) = (0, 0);
    for (world, ended) in worlds(seeds, &plan, |report| (report.counts, statuses(&report.runs))) {
        counts.add(&world);
        completed += ended.iter().filter(|status| **status == "completed").count();
        runs += ended.len();
    }
    eprintln!("{seeds} worlds, {runs} runs, {completed} completed: {:?}", counts.numbers());
    if seeds >= SEEDS {
        everything_struck(&counts, seeds);
        assert!(completed * 2 > runs, "most runs complete in spite of it all: {completed} of {runs}");
    }
}

fn statuses(runs: &[RunReport]) -> Vec<&'static str> {
    runs.iter().map(|run| run.status).collect()
}

/// Worlds in which nothing goes wrong would prove nothing: every fault strikes in every phase, and what follows from
/// faults is seen.
fn everything_struck(counts: &Counts, worlds: u64) {
    for fault in Faults::NAMES {
        for phase in ["selection", "configuration", "reporting", "aggregation"] {
            let count = counts.struck.get(&(*fault, phase)).copied().unwrap_or(0);
            assert!(count > 0, "\"{fault}\" never struck a round in {phase}, in {worlds} worlds");
        }
        assert!(counts.of(fault) >= worlds / 50, "\"{fault}\" struck {} times", counts.of(fault));
    }
    for (what, count) in counts.numbers() {
        assert!(count >= worlds / 100, "too little to prove anything: {what} {count} in {worlds} worlds");
    }
}

#[test]
fn a_seed_gives_the_same_world_again_line_for_line() {
    let plan = Plan::unkind();
    for seed in 0..20 {
        assert_eq!(replay(seed, &plan), replay(seed, &plan), "seed {seed}");
    }
    assert_ne!(replay(1, &plan), replay(2, &plan));
}

#[test]
fn without_faults_every_run_completes_and_every_round_commits() {
    for report in worlds(100, &Plan::kind(), |report| report) {
        assert_eq!(report.counts.rounds_abandoned, 0, "seed {}", report.seed);
        assert!(report.runs.iter().all(|run| run.status == "completed"), "seed {}", report.seed);
    }
}

/// What the run's model must be if nothing but its cohorts decided it.
fn undisturbed(run: &RunReport) -> polder_core::Digest {
    let mut models = vec![run.first_model];
    for (round, cohort) in &run.commits {
        let base = models[models.len() - 1];
        let updates: Vec<_> = cohort
            .iter()
            .map(|Counted { worker, round: of, base: from }| {
                let is_possible = if of == round { *from == base } else { of < round && models.contains(from) };
                assert!(is_possible, "round {round} counted an update of round {of} for {from:?}");
                (worker, update_digest(worker, *of, from))
            })
            .collect();
        models.push(model_digest(&base, updates.iter().map(|(worker, update)| (*worker, update))));
    }
    models[models.len() - 1]
}

#[test]
fn faults_change_who_takes_part_and_never_what_comes_of_it() {
    let (kind, unkind) = (worlds(200, &Plan::kind(), |report| report), worlds(200, &Plan::unkind(), |report| report));
    let (mut same_cohorts, mut commits) = (0, 0);
    for (kind, unkind) in kind.into_iter().zip(unkind) {
        for (calm, disturbed) in kind.runs.iter().zip(&unkind.runs) {
            assert_eq!(calm.run, disturbed.run);
            if disturbed.was_lied_to {
                continue;
            }
            commits += disturbed.commits.len();
            assert_eq!(disturbed.model, undisturbed(disturbed), "seed {}, {}", unkind.seed, disturbed.run);
            if calm.commits == disturbed.commits {
                same_cohorts += 1;
                assert_eq!(calm.model, disturbed.model, "seed {}, {}", unkind.seed, disturbed.run);
            }
        }
    }
    assert!(same_cohorts >= 20 && commits >= 200, "{same_cohorts} runs with the same cohorts, {commits} commits");
}
