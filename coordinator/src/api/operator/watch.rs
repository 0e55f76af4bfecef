//! `run log` and `run watch`: the lines that exist, then new ones and the workers' progress until the run ends.

use polder_core::RunId;
use polder_core::Timestamp;
use polder_core::effect::Notice;
use polder_core::federation::Refusal;
use polder_proto::convert::parsed;
use polder_proto::v1::watch_run_response::Message;
use polder_proto::v1::{LogLine, WatchRunRequest, WatchRunResponse};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Answers, document, internal};
use crate::api::Services;
use crate::store::LogEntry;

/// Lines read at a time.
const PAGE: u32 = 500;
/// Messages that may wait for a slow watcher.
const WAITING_MAX: usize = 64;

pub(super) async fn watch(
    services: &Services,
    shutdown: CancellationToken,
    request: WatchRunRequest,
) -> Result<Answers<WatchRunResponse>, Status> {
    let run: RunId = parsed("run", &request.run)?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let mut watcher = Watcher { services: services.clone(), run, after: request.after, sender: sender.clone() };
    // Refuse an unknown run at once, not in the stream.
    watcher.has_ended().await?;
    tokio::spawn(async move {
        let outcome = tokio::select! {
            outcome = watcher.watch(request.follow) => outcome,
            () = shutdown.cancelled() => Err(Status::unavailable("the coordinator is stopping")),
            () = sender.closed() => return,
        };
        if let Err(status) = outcome {
            // The watcher may have left.
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

struct Watcher {
    services: Services,
    run: RunId,
    /// The last line sent.
    after: u64,
    sender: mpsc::Sender<Result<WatchRunResponse, Status>>,
}

impl Watcher {
    async fn watch(&mut self, is_following: bool) -> Result<(), Status> {
        // Subscribed before the first look, so that nothing falls in between.
        let mut changed = self.services.handle.log_lines();
        let mut progress = self.services.sessions.watch_progress();
        loop {
            let has_ended = self.has_ended().await?;
            self.send_lines().await?;
            if has_ended || !is_following {
                return Ok(());
            }
            loop {
                tokio::select! {
                    change = changed.changed() => {
                        change.map_err(|_| Status::unavailable("the coordinator is stopping"))?;
                        break;
                    }
                    report = progress.recv() => match report {
                        Ok((run, report)) if run == self.run.as_str() => self.send(Message::Progress(report)).await?,
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return Ok(()),
                    },
                }
            }
        }
    }

    async fn has_ended(&self) -> Result<bool, Status> {
        let id = self.run.clone();
        let ended = self.services.handle.ask(move |federation| {
            let run = federation.runs.get(&id).ok_or(Refusal::UnknownRun { run: id })?;
            Ok(run.status.ended().is_some())
        });
        ended.await?.map_err(|refusal: Refusal| polder_proto::refused(&refusal))
    }

    async fn send_lines(&mut self) -> Result<(), Status> {
        loop {
            let page = self.services.store.log_lines(Some(&self.run), self.after, PAGE).await.map_err(internal)?;
            let is_last = page.len() < PAGE as usize;
            for LogEntry { seq, line } in page {
                let notice = Notice {
                    at: Timestamp(line.at_ms),
                    run: line.run,
                    round: line.round,
                    worker: line.worker,
                    kind: line.kind,
                    text: line.text,
                };
                self.send(Message::Line(LogLine { seq, notice_json: document(&notice)? })).await?;
                self.after = seq;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn send(&self, message: Message) -> Result<(), Status> {
        let message = WatchRunResponse { message: Some(message) };
        self.sender.send(Ok(message)).await.map_err(|_| Status::cancelled("the watcher left"))
    }
}
