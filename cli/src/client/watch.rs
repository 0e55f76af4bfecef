//! A run as it happens: its log from any line on and its workers' progress, across restarts of the coordinator.

use std::time::Duration;

use polder_core::RunId;
use polder_core::effect::Notice;
use polder_proto::v1::watch_run_response::Message;
use polder_proto::v1::{WatchRunRequest, WatchRunResponse, WorkerProgress};
use tokio::time::Instant;
use tonic::Streaming;

use super::error::CallError;
use super::{Client, within};

/// Waits between attempts grow from here …
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// … to here.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// A coordinator that is away for longer than this is gone.
pub const AWAY_MAX: Duration = Duration::from_secs(300);

/// Something about a run.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// A line of its log.
    Line { seq: u64, notice: Notice },
    /// What a worker is doing; only when following, and only the newest matters.
    Progress(WorkerProgress),
    /// The connection was lost and is being made again; for the first loss in a row.
    Interrupted { reason: String },
}

/// The events of one run, in order, each line once.
pub struct Watch {
    client: Client,
    run: RunId,
    /// The last line seen.
    after: u64,
    is_following: bool,
    stream: Option<Streaming<WatchRunResponse>>,
    backoff: Backoff,
}

impl Client {
    /// The log of `run` after the line `after` (0 for all of it): what there is, or, when following, until the run
    /// ends.
    #[must_use]
    pub fn watch(&self, run: &RunId, after: u64, is_following: bool) -> Watch {
        Watch { client: self.clone(), run: run.clone(), after, is_following, stream: None, backoff: Backoff::default() }
    }
}

impl Watch {
    /// The next event; none once the run has ended (or, when not following, after the last line). While following, a
    /// coordinator that is away is waited for, at most [`AWAY_MAX`].
    pub async fn next(&mut self) -> Result<Option<WatchEvent>, CallError> {
        loop {
            match self.step().await {
                Ok(event) => return Ok(event),
                Err(error) if !self.is_following || !error.is_passing() => return Err(error),
                Err(error) => {
                    self.stream = None;
                    let is_first = self.backoff.is_fresh();
                    let Some(wait) = self.backoff.next(Instant::now()) else { return Err(error) };
                    if is_first {
                        return Ok(Some(WatchEvent::Interrupted { reason: error.to_string() }));
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<WatchEvent>, CallError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let request =
                    WatchRunRequest { run: self.run.to_string(), after: self.after, follow: self.is_following };
                let mut service = self.client.service();
                self.stream.insert(within(service.watch_run(request)).await?)
            }
        };
        // No limit on the wait: a run may be quiet for long, and keep-alives notice a dead connection.
        let Some(message) = stream.message().await.map_err(|status| CallError::of_status(&status))? else {
            return Ok(None);
        };
        self.backoff = Backoff::default();
        match message.message {
            Some(Message::Line(line)) => {
                let notice = serde_json::from_str(&line.notice_json).map_err(CallError::answer)?;
                self.after = line.seq;
                Ok(Some(WatchEvent::Line { seq: line.seq, notice }))
            }
            Some(Message::Progress(progress)) => Ok(Some(WatchEvent::Progress(progress))),
            None => Err(CallError::answer("a message of a run is empty")),
        }
    }
}

/// How long to wait before the next attempt.
#[derive(Debug, Default)]
struct Backoff {
    since: Option<Instant>,
    last: Duration,
}

impl Backoff {
    fn is_fresh(&self) -> bool {
        self.since.is_none()
    }

    /// The wait before the next attempt; none when it has been too long.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        self.last = (self.last * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        (now.duration_since(since) < AWAY_MAX).then_some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_fresh());
        let start = Instant::now();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next(start).unwrap().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert!(!backoff.is_fresh());
        assert_eq!(backoff.next(start + AWAY_MAX), None);
    }
}
