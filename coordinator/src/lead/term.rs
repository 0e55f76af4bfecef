//! One term: everything that a leader is made of is made when its term begins, and ends with it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::lease::Lease;
use crate::CoordinatorError;
use crate::api::{Recent, Services, Tenure, Uploads};
use crate::driver::{Driver, Performer};
use crate::handle::CoordinatorHandle;
use crate::house::House;
use crate::layouts::Layouts;
use crate::policies::Policies;
use crate::server::Server;
use crate::sessions::Sessions;

/// How long the driver may take, once told to stop, to journal what is in its inbox.
const LAST_ENTRIES: Duration = Duration::from_secs(10);

/// A leader that is ready to serve: the past is replayed.
pub(crate) struct Term {
    driver: Driver,
    server: Server,
    handle: CoordinatorHandle,
    lease: Lease,
}

/// How a term ended. Nothing of it is left then.
pub(crate) enum Ended {
    /// In order, as it was asked to.
    Stopped,
    /// Another coordinator leads, or may.
    Lost,
    Panicked(String),
    Failed(CoordinatorError),
}

impl Term {
    /// Puts a leader together, in the order in which its parts need each other; none if `shutdown` comes first.
    pub(crate) async fn begin(
        house: &Arc<House>,
        lease: Lease,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, CoordinatorError> {
        let begun = tokio::select! {
            parts = parts(house, &lease) => parts.map(Some),
            () = shutdown.cancelled() => Ok(None),
            () = lease.lost() => Err(crate::store::StoreError::Fenced { epoch: lease.term().epoch }.into()),
        };
        match begun {
            Ok(Some((driver, server, handle))) => {
                tracing::info!(epoch = lease.term().epoch, endpoint = %house.endpoint, "this coordinator leads");
                Ok(Some(Self { driver, server, handle, lease }))
            }
            Ok(None) => {
                lease.step_down().await;
                Ok(None)
            }
            Err(error) => {
                lease.step_down().await;
                Err(error)
            }
        }
    }

    pub(crate) fn handle(&self) -> CoordinatorHandle {
        self.handle.clone()
    }

    /// Leads until `shutdown` or until that is over. However it ends, the lease is free and all connections are closed
    /// afterwards.
    pub(crate) async fn run(self, shutdown: &CancellationToken) -> Ended {
        let Self { driver, server, handle, lease } = self;
        drop(handle);
        let stop = shutdown.child_token();
        let mut serving = pin!(server.run(stop.clone()));
        let mut driving = pin!(drive(driver, lease, stop.clone()));
        let ended = tokio::select! {
            ended = &mut driving => ended,
            served = &mut serving => {
                // It has nobody left to answer.
                stop.cancel();
                return match (served, driving.await) {
                    (Err(error), Ended::Stopped) => Ended::Failed(error),
                    (_, ended) => ended,
                };
            }
        };
        match ended {
            // Streams may end in order. Otherwise they are cut off as `serving` is dropped.
            Ended::Stopped => serving.await.map_or_else(Ended::Failed, |()| Ended::Stopped),
            ended => ended,
        }
    }
}

async fn parts(house: &Arc<House>, lease: &Lease) -> Result<(Driver, Server, CoordinatorHandle), CoordinatorError> {
    let House { config, store, spool, authority, .. } = &**house;
    let policies = Policies::new(house.policy_host.clone(), store.clone(), config.required_signers.clone().into());
    let sessions = Sessions::default();
    let layouts = Layouts::new(store.blobs().clone());
    let performer = Performer::new(store.clone(), spool.clone(), policies.clone(), sessions.clone(), layouts.clone());
    let (driver, handle) =
        Driver::recover(store.clone(), lease.term(), performer, &config.times, config.housekeeping).await?;
    let services = Services {
        handle: handle.clone(),
        store: store.clone(),
        spool: spool.clone(),
        authority: authority.clone(),
        endpoint: house.endpoint.clone(),
        policies,
        sessions,
        layouts,
        uploads: Uploads::default(),
        recent: Recent::default(),
        times: config.times,
        members: house.members.clone(),
        tenure: Tenure { epoch: lease.term().epoch, since: crate::config::now() },
    };
    let server = Server::new(house.listener.clone(), authority, &house.endpoint, services)?;
    Ok((driver, server, handle))
}

/// Drives until `stop`, or until the lease is lost, and gives the lease back.
async fn drive(driver: Driver, lease: Lease, stop: CancellationToken) -> Ended {
    let mut driving = AbortOnDropHandle::new(tokio::spawn(driver.run(stop.clone())));
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_ENTRIES).await;
    };
    let ended = tokio::select! {
        ended = &mut driving => ended,
        () = lease.lost() => {
            // Waited for, so that nothing of it is at work when the next term begins.
            driving.abort();
            let _ = driving.await;
            return Ended::Lost;
        }
        () = overdue => {
            driving.abort();
            tracing::error!("the journal took nothing for {LAST_ENTRIES:?}; stopping without it: nobody was told of what is lost");
            let _ = driving.await;
            Ok(Ok(()))
        }
    };
    lease.step_down().await;
    match ended {
        Ok(Ok(())) => Ended::Stopped,
        Ok(Err(error)) => Ended::Failed(error),
        Err(error) => Ended::Panicked(panicked(error)),
    }
}

/// What a panic said.
fn panicked(error: JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "the task was ended".into() };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".into())
}
