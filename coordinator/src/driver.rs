//! The one loop that owns the federation. Five steps for ever: take what is in the inbox, apply it, append it to the
//! journal, act on it, tell those who wait.
//!
//! Everything that waits in the inbox shares one durable transaction (group commit), so a thousand updates a second cost
//! no more syncs than ten. Nothing is acted upon, and nobody is answered, before the transaction is on disk.

pub(crate) mod effects;

use std::sync::Arc;
use std::time::Duration;

use polder_core::effect::{Effect, Notice};
use polder_core::federation::Refusal;
use polder_core::{Event, Federation, RunId, Timestamp, invariants};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use effects::{Performer, blocking, chain};

use crate::CoordinatorError;
use crate::config::{Times, advance_to, now};
use crate::handle::{CoordinatorHandle, INBOX_MAX, Query, Request};
use crate::meter::{self, Step};
use crate::store::{JournalEntry, LogLine, Store, Term};

/// Most requests that share a transaction.
const BATCH_MAX: usize = 512;

pub(crate) struct Driver {
    federation: Federation,
    store: Arc<Store>,
    term: Term,
    performer: Performer,
    inbox: mpsc::Receiver<Request>,
    log_lines: watch::Sender<u64>,
    /// Never steps back, so that a replay sees the same order of instants.
    clock: Timestamp,
    /// Entries that nothing depends on yet: they are journaled with the next that something does.
    unhurried: Vec<JournalEntry>,
}

/// What becomes of an event.
type Applied = Result<(), Refusal>;

/// What one turn of the loop has gathered: to be journaled together, then acted upon.
#[derive(Default)]
struct Batch {
    entries: Vec<JournalEntry>,
    lines: Vec<LogLine>,
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
    /// Replays the journal and notes that a coordinator started; the effects of that set going what was under way.
    pub(crate) async fn recover(
        store: Arc<Store>,
        term: Term,
        performer: Performer,
        times: &Times,
    ) -> Result<(Self, CoordinatorHandle), CoordinatorError> {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let (log_lines, changed) = watch::channel(0);
        let handle = CoordinatorHandle { inbox: sender, log_lines: changed };
        let mut driver = Self {
            federation: Federation::new(),
            store: store.clone(),
            term,
            performer,
            inbox,
            log_lines,
            clock: Timestamp(0),
            unhurried: Vec::new(),
        };
        let mut replayed = 0_u64;
        store
            .replay(1, |recorded| {
                let seq = recorded.seq;
                let event: Event = serde_json::from_str(&recorded.entry.event_json)
                    .map_err(|source| CoordinatorError::JournalEntry { seq, source })?;
                driver.clock = Timestamp(recorded.entry.at_ms);
                let applied = driver.federation.apply(driver.clock, event);
                applied.map_err(|refusal| CoordinatorError::JournalRefused { seq, source: Box::new(refusal) })?;
                replayed = seq;
                Ok::<(), CoordinatorError>(())
            })
            .await?;
        advance_to(driver.clock);
        driver.performer.sweep(&driver.federation)?;
        driver.performer.attach(handle.clone());
        let grace_ms = millis(times.return_after_restart);
        let mut batch = Batch::default();
        let started = Box::new(Event::CoordinatorStarted { grace_ms });
        driver.take(Request::Event { event: started, reply: None }, &mut batch);
        driver.finish(batch).await?;
        tracing::info!(events = replayed, runs = driver.federation.runs.len(), "journal replayed");
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
        self.append(&[]).await
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
        self.unhurried.append(&mut batch.entries);
        if !batch.is_unhurried() || self.unhurried.len() >= BATCH_MAX {
            self.append(&batch.lines).await?;
        }
        for effect in batch.effects {
            self.performer.perform(effect);
        }
        if !batch.lines.is_empty() {
            self.log_lines.send_modify(|changes| *changes += 1);
        }
        for (reply, answer) in batch.replies {
            // Whoever asked may have left.
            let _ = reply.send(answer);
        }
        for query in batch.queries {
            query(&self.federation);
        }
        self.check(&batch.touched);
        Ok(())
    }

    /// Brings what waits for the journal there, with the `lines` that belong to it.
    async fn append(&mut self, lines: &[LogLine]) -> Result<(), CoordinatorError> {
        if !self.unhurried.is_empty() {
            let _taking = meter::taking(Step::Journal);
            self.store.append(self.term, &self.unhurried, lines, &[]).await?;
            self.unhurried.clear();
        }
        Ok(())
    }

    /// The same predicates that the simulation checks; here a violation is counted by the log, and rounds go on.
    fn check(&self, touched: &[RunId]) {
        for run in touched.iter().filter_map(|id| self.federation.runs.get(id)) {
            for violation in invariants::check_run(run) {
                tracing::error!(run = %run.id, invariant = violation.invariant, found = violation.found, "invariant violated");
            }
        }
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
