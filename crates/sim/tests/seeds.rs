//! Five hundred worlds in which everything goes wrong, and what must hold in each.
//!
//! `POLDER_SEED=n` lives through one world and prints its log; `POLDER_SEEDS=n` lives through the first `n`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use polder_sim::{Counted, Counts, Failure, Plan, Report, RunReport, model_digest, replay, run, update_digest};

const SEEDS: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

/// Lives through the worlds of seeds `0..seeds`, on all cores; results in the order of seeds.
fn worlds(seeds: u64, plan: &Plan) -> Vec<Result<Report, Failure>> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (next, done) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let result = run(seed, plan);
                    done.lock().unwrap().insert(seed, result);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever replays a seed wants to read its log")]
fn every_invariant_holds_in_every_world() {
    let plan = Plan::unkind();
    if let Some(seed) = number("POLDER_SEED") {
        for line in replay(seed, &plan) {
            eprintln!("{line}");
        }
        run(seed, &plan).unwrap_or_else(|failure| panic!("{failure}"));
        return;
    }
    let seeds = number("POLDER_SEEDS").unwrap_or(SEEDS);
    let mut counts = Counts::default();
    let (mut completed, mut runs) = (0, 0);
    for result in worlds(seeds, &plan) {
        let report = result.unwrap_or_else(|failure| panic!("{failure}"));
        counts.add(&report.counts);
        completed += report.runs.iter().filter(|run| run.status == "completed").count();
        runs += report.runs.len();
    }
    eprintln!("{seeds} worlds, {runs} runs, {completed} completed: {counts:?}");
    if seeds >= SEEDS {
        everything_struck(&counts, seeds);
        assert!(completed * 2 > runs, "most runs complete in spite of it all: {completed} of {runs}");
    }
}

/// Worlds in which nothing goes wrong would prove nothing.
fn everything_struck(counts: &Counts, worlds: u64) {
    let struck = [
        ("refused events", counts.refused),
        ("messages lost", counts.messages_lost),
        ("messages doubled", counts.messages_doubled),
        ("coordinator crashes", counts.coordinator_crashes),
        ("events lost in a crash", counts.events_lost),
        ("worker crashes", counts.worker_crashes),
        ("partitions", counts.partitions),
        ("lies", counts.lies),
        ("policy faults", counts.policy_faults),
        ("swaps of policies", counts.policies_set),
        ("rounds committed", counts.rounds_committed),
        ("rounds abandoned", counts.rounds_abandoned),
    ];
    for (what, count) in struck {
        assert!(count >= worlds / 2, "too few {what} to prove anything: {count} in {worlds} worlds");
    }
    assert!(counts.carried >= worlds / 5, "updates carried over: {} in {worlds} worlds", counts.carried);
    // It takes a swap, a failure after it and a run that wants it so.
    assert!(counts.rolled_back >= worlds / 50, "policies gone back from: {} in {worlds} worlds", counts.rolled_back);
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
    for result in worlds(100, &Plan::kind()) {
        let report = result.unwrap_or_else(|failure| panic!("{failure}"));
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
    let (kind, unkind) = (worlds(200, &Plan::kind()), worlds(200, &Plan::unkind()));
    let (mut same_cohorts, mut commits) = (0, 0);
    for (kind, unkind) in kind.into_iter().zip(unkind) {
        let (kind, unkind) = (kind.unwrap_or_else(|f| panic!("{f}")), unkind.unwrap_or_else(|f| panic!("{f}")));
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
