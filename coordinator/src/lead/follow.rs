//! A follower: asks for the lease, and meanwhile passes connections on to whoever has it.

use std::time::Duration;

use rand::RngExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::House;
use super::forward::{Forwarding, Leader};
use super::lease::{self, Lease, TTL};
use crate::CoordinatorError;
use crate::driver::chain;
use crate::store::{Store, StoreError};

/// How often the lease is asked for; each time between three quarters and all of it, so that followers spread out.
const TRY: Duration = Duration::from_millis(500);
/// How long somebody who dials waits until a leader answers: as long as a client does for a handshake. The lease of a leader
/// that is gone runs out sooner, and another has it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows until the lease is ours; none if `shutdown` comes first.
pub(super) async fn follow(
    house: &House,
    forwarding: &mut Forwarding,
    shutdown: &CancellationToken,
) -> Result<Option<Lease>, CoordinatorError> {
    let leader = forwarding.leader();
    let lease = tokio::select! {
        lease = ask(house, &leader) => lease?,
        () = forwarding.forward(&house.listener, PATIENCE) => return Ok(None),
        () = shutdown.cancelled() => return Ok(None),
    };
    // Who waits for a leader is passed on to our own port, which is served soon.
    leader.send_replace(Some(Leader { epoch: lease.term().epoch, peer: house.own_address()? }));
    Ok(Some(lease))
}

async fn ask(house: &House, leader: &watch::Sender<Option<Leader>>) -> Result<Lease, CoordinatorError> {
    // Said once: the database may be away for hours, and a newer version may lead for as long as it likes.
    let mut is_said = false;
    loop {
        match ask_once(house).await {
            Ok(Ok(lease)) => return Ok(lease),
            Ok(Err(now)) => {
                is_said = false;
                note(leader, now);
            }
            Err(error) if error.is_passing() || matches!(error, StoreError::Newer { .. }) => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::warn!(
                        error = chain(&error),
                        "this coordinator cannot ask for the lease; it follows and tries on"
                    );
                }
            }
            Err(error) => return Err(error.into()),
        }
        let share = rand::rng().random_range(0.75..=1.0);
        tokio::time::sleep(TRY.mul_f64(share)).await;
    }
}

/// The lease, or who has it.
pub(super) async fn ask_once(house: &House) -> Result<Result<Lease, Option<Leader>>, StoreError> {
    if let Some(other) = other(&house.store, &house.member.id).await? {
        return Ok(Err(Some(other)));
    }
    house.store.refuse_newer().await?;
    let asked_at = lease::clock();
    let term = house.store.try_lead(&house.member, TTL).await?;
    // Without it, another was faster.
    Ok(term.map(|term| Lease::hold(house.store.clone(), term, asked_at)).ok_or(None))
}

/// Who leads, if it is not us: to ourselves nothing is passed on.
async fn other(store: &Store, ours: &str) -> Result<Option<Leader>, StoreError> {
    let leader = store.leader().await?.filter(|leader| leader.member.id != ours);
    Ok(leader.map(|leader| Leader { epoch: leader.epoch, peer: leader.member.peer }))
}

fn note(leader: &watch::Sender<Option<Leader>>, now: Option<Leader>) {
    leader.send_if_modified(|known| {
        if *known == now {
            return false;
        }
        if let Some(now) = &now {
            tracing::info!(leader = now.peer, epoch = now.epoch, "following");
        }
        *known = now;
        true
    });
}
