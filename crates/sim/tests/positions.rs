//! A crash at every entry of a journal, before it is written, after, and amid what follows from it; a restart from every
//! entry; a snapshot at every entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use polder_core::invariants;
use polder_core::worker::Capacity;
use polder_core::{AssignmentId, Effect, Event, Federation, RunId, Timestamp, WorkerName};
use polder_sim::{CrashAt, CrashPoint, Plan, Report, explore, run};

const POINTS: [CrashPoint; 5] = [
    CrashPoint::BeforeAppend,
    CrashPoint::AfterEffects(0),
    CrashPoint::AfterEffects(1),
    CrashPoint::AfterEffects(3),
    CrashPoint::AfterAnswers,
];

/// Worlds whose every position is tried.
const WORLDS: u64 = 12;

fn reports(seeds: u64, plan: &Plan) -> Vec<Report> {
    let done = Mutex::new(BTreeMap::new());
    explore(0..seeds, plan, |result| {
        let report = result.unwrap_or_else(|failure| panic!("{failure}"));
        done.lock().unwrap().insert(report.seed, report);
    });
    done.into_inner().unwrap().into_values().collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever runs it wants to see what it went through")]
fn a_crash_at_any_entry_stops_no_run_and_changes_no_model() {
    let calm = reports(WORLDS, &Plan::kind());
    let places: Vec<(&Report, CrashAt)> = calm
        .iter()
        .flat_map(|calm| (1..=calm.journal.len()).map(move |entry| (calm, entry)))
        .flat_map(|(calm, entry)| POINTS.map(|point| (calm, CrashAt { entry, point })))
        .collect();
    let (next, crashes, same) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((calm, at)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let plan = Plan { crash: Some(*at), ..Plan::kind() };
                    let crashed = run(calm.seed, &plan).unwrap_or_else(|failure| panic!("{at:?}: {failure}"));
                    crashes.fetch_add(usize::from(crashed.counts.coordinator_crashes > 0), Ordering::Relaxed);
                    same.fetch_add(compare(calm, &crashed, *at), Ordering::Relaxed);
                }
            });
        }
    });
    let (places, crashes, same) = (places.len(), crashes.into_inner(), same.into_inner());
    eprintln!("{places} places in {WORLDS} journals, {crashes} crashes, {same} runs with the same cohorts");
    assert!(crashes * 10 > places * 8, "{crashes} crashes at {places} places");
    assert!(same * 4 > crashes, "{same} runs with the same cohorts");
}

/// Every run completes, and where the same workers took part its model is the same, bit for bit.
fn compare(calm: &Report, crashed: &Report, at: CrashAt) -> usize {
    let mut same = 0;
    for (before, after) in calm.runs.iter().zip(&crashed.runs) {
        assert_eq!(after.status, "completed", "seed {}, {}, {at:?}", calm.seed, after.run);
        if before.commits == after.commits {
            assert_eq!(before.model, after.model, "seed {}, {}, {at:?}", calm.seed, after.run);
            same += 1;
        }
    }
    same
}

fn read(text: &str) -> Event {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_snapshot_at_any_entry_and_the_entries_after_it_give_the_same_federation() {
    for report in reports(25, &Plan::unkind()) {
        let mut federation = Federation::new();
        let mut snapshots = Vec::new();
        for (seq, (at, text)) in report.journal.iter().enumerate() {
            let state = serde_json::to_string(&federation).unwrap();
            let mut restored: Federation = serde_json::from_str(&state).unwrap();
            assert_eq!(restored, federation, "seed {}, after entry {seq}", report.seed);
            let effects = federation.apply(Timestamp(*at), read(text)).unwrap();
            assert_eq!(restored.apply(Timestamp(*at), read(text)).unwrap(), effects);
            if seq % 16 == 0 {
                snapshots.push((seq, restored));
            }
        }
        for (seq, mut restored) in snapshots {
            for (at, text) in &report.journal[seq + 1..] {
                restored.apply(Timestamp(*at), read(text)).unwrap();
            }
            assert_eq!(restored, federation, "seed {}, from entry {seq} on", report.seed);
        }
    }
}

#[test]
fn after_a_restart_at_any_entry_all_that_was_under_way_is_set_going_again() {
    let mut resent = 0;
    for report in reports(40, &Plan::unkind()) {
        let mut federation = Federation::new();
        for (at, text) in &report.journal {
            federation.apply(Timestamp(*at), read(text)).unwrap();
            resent += restart(&federation, Timestamp(*at), report.seed);
        }
    }
    assert!(resent > 100, "{resent} assignments sent again");
}

/// A new leader asks again for what was being aggregated, and sends what is wanted to workers that come back with
/// nothing.
fn restart(federation: &Federation, at: Timestamp, seed: u64) -> usize {
    let mut restarted = federation.clone();
    let effects = restarted.apply(at, Event::CoordinatorStarted { grace_ms: 1_000 }).unwrap();
    assert_eq!(invariants::check(&restarted), [], "seed {seed}");
    let aggregating = |federation: &Federation| -> BTreeSet<RunId> {
        let open = federation.runs.values().filter_map(|run| Some((run, run.round.as_ref()?)));
        open.filter(|(_, round)| round.phase.name() == "aggregation").map(|(run, _)| run.id.clone()).collect()
    };
    let again = effects.iter().filter_map(|effect| match effect {
        Effect::Aggregate(task) => Some(task.run.clone()),
        _ => None,
    });
    assert_eq!(again.collect::<BTreeSet<_>>(), aggregating(&restarted), "seed {seed}");
    let names: Vec<WorkerName> = restarted.workers.keys().cloned().collect();
    let mut resent = 0;
    for (session, worker) in (1..).zip(names) {
        let wanted = wanted_of(&restarted, &worker);
        let capacity = Capacity {
            slots: 9,
            datasets: BTreeSet::from(["digits".into()]),
            trainers: BTreeSet::from(["mlp".into()]),
        };
        let back = Event::WorkerConnected { worker: worker.clone(), session, capacity, holding: Vec::new() };
        let effects = restarted.apply(at, back).unwrap();
        assert_eq!(invariants::check(&restarted), [], "seed {seed}");
        for assignment in wanted {
            let is_sent = |effect: &Effect| matches!(effect, Effect::SendAssignment(sent) if sent.id == assignment);
            assert!(effects.iter().any(is_sent), "seed {seed}: {assignment} was not sent again");
            resent += 1;
        }
    }
    resent
}

fn wanted_of(federation: &Federation, worker: &WorkerName) -> Vec<AssignmentId> {
    let open = federation.runs.values().filter_map(|run| Some((run, run.round.as_ref()?)));
    let seats = open.filter_map(|(run, round)| {
        let seat = round.seats.get(worker).filter(|seat| seat.is_active())?;
        Some(AssignmentId { run: run.id.clone(), round: round.origin(seat), worker: worker.clone() })
    });
    seats.collect()
}
