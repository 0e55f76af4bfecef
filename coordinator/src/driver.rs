//! The one loop that owns the federation. Five steps for ever: take what is in the inbox, apply it, append it to the
//! journal, act on it, tell those who wait.
//!
//! Everything that waits in the inbox shares one durable transaction (group commit), so a thousand updates a second cost
//! no more syncs than ten. Nothing is acted upon, and nobody is answered, before the transaction is on disk.

mod details;
pub(crate) mod effects;
mod recover;
mod snapshots;
pub(crate) mod standing;
mod sweep;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use polder_core::effect::{Effect, Notice};
use polder_core::federation::Refusal;
use polder_core::{Event, Federation, RunId, Timestamp, invariants};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use details::Details;
pub(crate) use effects::{Performer, blocking, chain};
pub(crate) use snapshots::decode as decode_snapshot;
pub(crate) use standing::Standing;

use self::recover::{Past, archived};
use self::snapshots::Snapshots;
use self::standing::Stop;
use self::sweep::{SharedSweep, sweep_here};
use crate::CoordinatorError;
use crate::config::{Times, advance_to, now};
use crate::disk;
use crate::handle::{CoordinatorHandle, INBOX_MAX, Query, Request};
use crate::meter::{self, Step};
use crate::retention::{Housekeeping, Remover};
use crate::store::{ArchivedRound, JournalEntry, LogLine, Objects, Store, StoreError, Term};

/// Most requests that share a transaction.
const BATCH_MAX: usize = 512;
/// Pauses between attempts to write to a journal that takes nothing for now; they double.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Driver {
    federation: Federation,
    store: Arc<Store>,
    term: Term,
    performer: Performer,
    inbox: mpsc::Receiver<Request>,
    log_lines: watch::Sender<u64>,
    standing: watch::Sender<Standing>,
    /// Never steps back, so that a replay sees the same order of instants.
    clock: Timestamp,
    /// The last entry of the journal.
    seq: u64,
    /// What the journal is still to take.
    unwritten: Unwritten,
    snapshots: Snapshots,
    /// At work as long as the driver is.
    _watching: [AbortOnDropHandle<()>; 3],
}

/// What goes into the journal together.
#[derive(Default)]
struct Unwritten {
    /// Nothing may depend on them yet: then they wait for the next that something does.
    entries: Vec<JournalEntry>,
    lines: Vec<LogLine>,
    rounds: Vec<ArchivedRound>,
}

/// What becomes of an event.
type Applied = Result<(), Refusal>;

/// What one turn of the loop has gathered: to be journaled together, then acted upon.
#[derive(Default)]
struct Batch {
    entries: Vec<JournalEntry>,
    lines: Vec<LogLine>,
    rounds: Vec<ArchivedRound>,
    effects: Vec<Effect>,
    /// Refusals among them: one may rest on an entry of this very batch.
    replies: Vec<(oneshot::Sender<Applied>, Applied)>,
    queries: Vec<Query>,
    touched: Vec<RunId>,
}

impl Batch {
    /// Whether nobody waits for what happened in this batch and nothing follows from it: workers that merely accepted. A
    /// crash before it is journaled is as if their word had been lost on its way, so questions are answered meanwhile.
    fn is_unhurried(&self) -> bool {
        self.effects.is_empty() && self.lines.is_empty() && self.replies.is_empty()
    }
}

impl Driver {
    /// Takes up the past and notes that a coordinator started; the effects of that set going what was under way.
    pub(crate) async fn recover(
        store: Arc<Store>,
        term: Term,
        mut performer: Performer,
        times: &Times,
        housekeeping: Housekeeping,
    ) -> Result<(Self, CoordinatorHandle), CoordinatorError> {
        let past = Past::read(&store).await?;
        advance_to(past.clock);
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let (log_lines, changed) = watch::channel(0);
        let (standing, stands) =
            watch::channel(Standing { journal_seq: past.seq, snapshot_seq: past.snapshot_seq, ..Standing::default() });
        let handle = CoordinatorHandle::new(sender, changed, stands);
        snapshots::check(&past.federation, &standing);
        let remover = Remover::new(store.clone(), term, handle.clone());
        performer.attach(handle.clone(), remover.clone());
        let spool = performer.spool().clone();
        let shared = SharedSweep { spool: spool.clone(), store: store.clone(), term, handle: handle.clone() };

        let objects = store.blobs().objects().and_then(Objects::dir).map(Path::to_path_buf);
        let watching_disk =
            disk::watch(store.dir().to_path_buf(), objects, housekeeping.disk_reserve_bytes, standing.clone());
        let watching =
            [tokio::spawn(watching_disk), tokio::spawn(remover.sweep_for_ever()), tokio::spawn(shared.run())];
        let mut snapshots = Snapshots::new(store.clone(), term, housekeeping, standing.clone());
        snapshots.count(past.replayed, past.bytes);
        let mut driver = Self {
            federation: past.federation,
            store,
            term,
            performer,
            inbox,
            log_lines,
            standing,
            clock: past.clock,
            seq: past.seq,
            unwritten: Unwritten { rounds: past.closed, ..Unwritten::default() },
            snapshots,
            _watching: watching.map(AbortOnDropHandle::new),
        };
        let mut batch = Batch::default();
        let started = Box::new(Event::CoordinatorStarted { grace_ms: millis(times.return_after_restart) });
        driver.take(Request::Event { event: started, reply: None }, &mut batch);
        driver.finish(batch).await?;
        // Only now is it certain that nobody else led since the past was read.
        sweep_here(&spool, &driver.federation).await;
        let (runs, snapshot) = (driver.federation.runs.len(), past.snapshot_seq);
        tracing::info!(snapshot, events = past.replayed, runs, "recovered from snapshot and journal");
        Ok((driver, handle))
    }

    /// Runs until `shutdown`, then journals what is still in the inbox.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), CoordinatorError> {
        loop {
            let wake = self.federation.next_wake();
            let sleep = wake.map(|wake| Duration::from_millis(wake.ms_since(now()).max(1)));
            let first = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                request = self.inbox.recv() => request,
                () = sleep_or_forever(sleep) => Some(Request::Event { event: Box::new(Event::TimePassed), reply: None }),
            };
            let Some(first) = first else { break };
            let mut batch = Batch::default();
            self.take(first, &mut batch);
            while batch.entries.len() + batch.queries.len() < BATCH_MAX {
                let Ok(request) = self.inbox.try_recv() else { break };
                self.take(request, &mut batch);
            }
            self.finish(batch).await?;
        }
        self.inbox.close();
        let mut batch = Batch::default();
        while let Some(request) = self.inbox.recv().await {
            self.take(request, &mut batch);
        }
        self.finish(batch).await?;
        // So that nothing is left behind.
        self.write().await?;
        self.snapshots.finish(self.federation, self.clock, self.seq).await;
        Ok(())
    }

    fn tick(&mut self) -> Timestamp {
        self.clock = self.clock.max(now());
        self.clock
    }

    fn take(&mut self, request: Request, batch: &mut Batch) {
        let (event, reply) = match request {
            Request::Query(query) => return batch.queries.push(query),
            Request::Event { event, reply } => (*event, reply),
        };
        let at = self.tick();
        let kind = event.kind();
        let touched = touched_run(&event).cloned();
        let event_json = match serde_json::to_string(&event) {
            Ok(event_json) => event_json,
            Err(error) => {
                // What cannot be journaled must not happen. Ours all can, so this is a bug, and to be seen.
                tracing::error!(event = kind, %error, "an event cannot be written and is dropped");
                return;
            }
        };
        match self.federation.apply(at, event) {
            Ok(effects) => {
                batch.entries.push(JournalEntry { at_ms: at.0, kind: kind.into(), event_json });
                batch.lines.extend(effects.iter().filter_map(log_line));
                // As they are now: the run may forget them with what comes next.
                batch.rounds.extend(archived(&self.federation, &effects));
                batch.effects.extend(effects);
                batch.replies.extend(reply.map(|reply| (reply, Ok(()))));
                batch.touched.extend(touched);
            }
            Err(refusal) => {
                tracing::debug!(event = kind, %refusal, "event refused");
                batch.replies.extend(reply.map(|reply| (reply, Err(refusal))));
            }
        }
    }

    /// Journals the batch, acts on it, answers.
    async fn finish(&mut self, mut batch: Batch) -> Result<(), CoordinatorError> {
        let is_unhurried = batch.is_unhurried();
        let has_lines = !batch.lines.is_empty();
        self.unwritten.entries.append(&mut batch.entries);
        self.unwritten.lines.append(&mut batch.lines);
        self.unwritten.rounds.append(&mut batch.rounds);
        if !is_unhurried || self.unwritten.entries.len() >= BATCH_MAX {
            self.write().await?;
        }
        for effect in batch.effects {
            self.performer.perform(effect);
        }
        if has_lines {
            self.log_lines.send_modify(|changes| *changes += 1);
        }
        for (reply, answer) in batch.replies {
            // Whoever asked may have left.
            let _ = reply.send(answer);
        }
        for query in batch.queries {
            query(&self.federation);
        }
        for run in batch.touched.iter().filter_map(|id| self.federation.runs.get(id)) {
            snapshots::report(&invariants::check_run(run), &self.standing);
        }
        Ok(())
    }

    /// Brings what waits for the journal there, however long it takes: what passes by itself is waited for. Meanwhile nothing
    /// is acted upon and nobody is answered; who asks is told why.
    async fn write(&mut self) -> Result<(), CoordinatorError> {
        if self.unwritten.entries.is_empty() {
            return Ok(());
        }
        let taking = meter::taking(Step::Journal);
        let mut pause = PAUSE_MIN;
        loop {
            let Unwritten { entries, lines, rounds } = &self.unwritten;
            match self.store.append(self.term, entries, lines, rounds).await {
                Ok(seq) => {
                    drop(taking);
                    self.written(seq);
                    return Ok(());
                }
                Err(error) if error.is_passing() => self.stall(&error),
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    fn stall(&self, error: &StoreError) {
        if matches!(error, StoreError::Full { .. }) {
            // A little room was kept for this.
            disk::give_up_reserve(self.store.dir());
        }
        let reason = format!("the journal takes nothing: {}; it goes on by itself when it can", chain(error));
        self.standing.send_modify(|standing| {
            if standing.stall.is_none() {
                tracing::error!("intake stopped: {reason}");
            }
            standing.stall = Some(Stop::go_on(standing.stall.as_ref(), reason));
        });
    }

    /// The journal has everything, up to entry `seq`.
    fn written(&mut self, seq: u64) {
        let Unwritten { entries, .. } = std::mem::take(&mut self.unwritten);
        self.seq = seq;
        self.standing.send_if_modified(|standing| {
            standing.journal_seq = seq;
            let ended = standing.stall.take();
            if let Some(Stop { since, .. }) = &ended {
                tracing::info!(after_ms = now().ms_since(*since), "the journal takes entries again");
            }
            // A number that rises is no news worth waking everybody for.
            ended.is_some()
        });
        let bytes = entries.iter().map(|entry| entry.event_json.len() as u64).sum();
        self.snapshots.count(entries.len() as u64, bytes);
        self.snapshots.begin_if_due(&self.federation, self.clock, seq);
    }
}

/// The run whose page an event may turn; only then are its invariants worth another look.
fn touched_run(event: &Event) -> Option<&RunId> {
    match event {
        Event::RunSubmitted { run, .. }
        | Event::RunStopped { run, .. }
        | Event::Aggregated { run, .. }
        | Event::AggregationFailed { run, .. }
        | Event::AggregationImpossible { run, .. } => Some(run),
        _ => None,
    }
}

fn log_line(effect: &Effect) -> Option<LogLine> {
    let Effect::Announce(Notice { at, run, round, worker, kind, text }) = effect else { return None };
    Some(LogLine {
        at_ms: at.0,
        run: run.clone(),
        round: *round,
        worker: worker.clone(),
        kind: kind.clone(),
        text: text.clone(),
    })
}

async fn sleep_or_forever(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
