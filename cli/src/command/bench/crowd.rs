//! Light workers: they speak the whole protocol over mutual TLS, each on connections of its own, and train nothing; an
//! update of theirs is the same small number everywhere, so they hold neither models nor updates in memory.

mod peer;
mod update;

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use polder_core::Region;
use polder_security::{Endpoint, JoinToken};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::peer::Peer;
use crate::client::{Client, TokenFor, enrol_worker};

/// Enrolments under way at once.
const ENROLLING: usize = 16;
const TOKEN_LIFETIME: std::time::Duration = std::time::Duration::from_secs(600);

/// Who is here, as the workers see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attendance {
    /// Workers with a session.
    pub(super) present: u32,
    /// Sessions opened so far.
    pub(super) welcomed: u64,
    /// Why a worker cannot go on, if one cannot.
    pub(super) broken: Option<String>,
}

pub(super) struct Crowd {
    waiting: Vec<Peer>,
    /// Ended with this value.
    running: JoinSet<()>,
    attendance: watch::Sender<Attendance>,
}

impl Crowd {
    /// Gets so many workers their certificates, each in a region of its own.
    pub(super) async fn enrol(client: &Client, workers: u32) -> Result<Self> {
        let enrolling = stream::iter((1..=workers).map(|index| enrol(client, index))).buffer_unordered(ENROLLING);
        let waiting = enrolling.try_collect().await?;
        Ok(Self { waiting, running: JoinSet::new(), attendance: watch::Sender::default() })
    }

    /// Brings workers until `wanted` are connected.
    pub(super) async fn connect(&mut self, endpoint: &str, wanted: u32) -> Result<()> {
        let endpoint: Endpoint = endpoint.parse()?;
        let missing = (wanted as usize).saturating_sub(self.running.len()).min(self.waiting.len());
        for peer in self.waiting.drain(..missing) {
            self.running.spawn(peer.run(endpoint.clone(), self.attendance.clone()));
        }
        self.until_welcomed(0, wanted).await
    }

    pub(super) fn welcomed(&self) -> u64 {
        self.attendance.borrow().welcomed
    }

    /// Waits until `present` are here and `welcomed` sessions were opened since the beginning.
    pub(super) async fn until_welcomed(&mut self, welcomed: u64, present: u32) -> Result<()> {
        let mut attendance = self.attendance.subscribe();
        let here = attendance
            .wait_for(|now| now.broken.is_some() || (now.present >= present && now.welcomed >= welcomed))
            .await
            .context("all workers have ended")?;
        match &here.broken {
            Some(reason) => bail!("a worker cannot go on: {reason}"),
            None => Ok(()),
        }
    }
}

async fn enrol(client: &Client, index: u32) -> Result<Peer> {
    let region = Region::new(format!("region-{index}"))?;
    let token = client.create_token(&TokenFor::Worker(region), TOKEN_LIFETIME).await?.token;
    let token: JoinToken = token.parse()?;
    let name = format!("light-{index}");
    let credentials = enrol_worker(&token, &token.endpoint, &name).await?;
    Peer::new(index, &credentials)
}
