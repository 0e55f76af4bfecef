//! How the coordinator stands: what everybody may know without asking the driver, who may himself wait for the journal.

use std::time::Duration;

use polder_core::Timestamp;
use polder_core::view::IntakeView;
use tokio::sync::watch;

use crate::config::now;

/// How long the journal may take nothing before requests are told so instead of waiting with it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the driver, and those who watch the disk for it, let others know.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// Since when the journal takes nothing, while it does not. Nothing is acted upon and nobody is answered meanwhile.
    pub(crate) stall: Option<Stop>,
    /// Since when the disk is too full to take more on, while it is.
    pub(crate) full: Option<Stop>,
    pub(crate) disk_free_bytes: Option<u64>,
    pub(crate) journal_seq: u64,
    pub(crate) snapshot_seq: u64,
    pub(crate) violations: u64,
}

/// Something that stopped, since when, why, and what ends it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stop {
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
}

impl Stop {
    /// As it was `before`, with today's reason; beginning now if it was not.
    pub(crate) fn go_on(before: Option<&Self>, reason: String) -> Self {
        Self { since: before.map_or_else(now, |before| before.since), reason }
    }
}

impl Standing {
    pub(crate) fn intake(&self) -> IntakeView {
        match self.stall.as_ref().or(self.full.as_ref()) {
            None => IntakeView::default(),
            Some(Stop { since, reason }) => {
                IntakeView { is_open: false, reason: Some(reason.clone()), since: Some(*since) }
            }
        }
    }
}

/// Returns, with the reason, once the journal has taken nothing for longer than a request should wait for it.
pub(crate) async fn stalled(mut standing: watch::Receiver<Standing>) -> String {
    loop {
        let Ok(begun) = standing.wait_for(|standing| standing.stall.is_some()).await.map(|found| found.stall.clone())
        else {
            // The driver is gone, and whoever asked it hears that from the answer that does not come.
            return std::future::pending().await;
        };
        let since = begun.map_or_else(now, |stop| stop.since);
        let waited = Duration::from_millis(now().ms_since(since));
        let ends = standing.wait_for(|standing| standing.stall.is_none());
        let is_over = tokio::time::timeout(PATIENCE.saturating_sub(waited), ends).await.is_ok();
        if !is_over && let Some(Stop { reason, .. }) = &standing.borrow().stall {
            return reason.clone();
        }
    }
}

/// Waits until the disk has room for new work.
pub(crate) async fn room(mut standing: watch::Receiver<Standing>) {
    // Without anybody who watches the disk there is nothing to wait for.
    let _ = standing.wait_for(|standing| standing.full.is_none()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(reason: &str) -> Option<Stop> {
        Some(Stop { since: now(), reason: reason.into() })
    }

    #[tokio::test]
    async fn a_stall_is_told_of_when_it_lasts_and_forgotten_when_it_passes() {
        let (sender, standing) = watch::channel(Standing::default());
        let told = tokio::spawn(stalled(standing.clone()));
        sender.send_modify(|standing| standing.stall = stop("a hiccup"));
        tokio::task::yield_now().await;
        sender.send_modify(|standing| standing.stall = None);
        tokio::task::yield_now().await;
        assert!(!told.is_finished());
        sender.send_modify(|standing| standing.stall = stop("no space left"));
        assert_eq!(told.await.unwrap(), "no space left");
    }

    #[test]
    fn a_stall_says_more_than_a_disk_that_fills_up() {
        let mut standing = Standing::default();
        assert!(standing.intake().is_open);
        standing.full = stop("nearly full");
        assert_eq!(standing.intake().reason.as_deref(), Some("nearly full"));
        standing.stall = stop("the journal takes nothing");
        let intake = standing.intake();
        assert_eq!((intake.is_open, intake.reason.as_deref()), (false, Some("the journal takes nothing")));
    }

    #[test]
    fn what_goes_on_keeps_its_beginning() {
        let first = Stop { since: Timestamp(7), reason: "1 MiB free".into() };
        let second = Stop::go_on(Some(&first), "2 MiB free".into());
        assert_eq!((second.since, second.reason.as_str()), (Timestamp(7), "2 MiB free"));
    }
}
