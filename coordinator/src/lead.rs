//! Turns: a coordinator follows until the lease is its own, leads until it loses it, and follows again.
//!
//! | module | holds |
//! | --- | --- |
//! | [`lease`] | the lease while it is held |
//! | [`follow`] | asking for the lease |
//! | [`forward`] | what a follower does with connections: bytes both ways to the leader |
//! | [`term`] | one term: what a leader is made of, and how it ends |
//! | [`members`] | which coordinators there are |
//!
//! That two never write is not decided here: every write carries its term, and the database refuses what is not of the newest
//! one. What is here makes sure that somebody leads soon, and that who lost the lease says nothing more.

mod follow;
pub(crate) mod forward;
pub(crate) mod lease;
pub(crate) mod members;
mod term;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub(crate) use self::term::Term;

use self::follow::{ask_once, follow};
use self::forward::Forwarding;
use self::term::Ended;
use crate::CoordinatorError;
use crate::driver::chain;
use crate::house::House;
use crate::store::StoreError;

/// A term that broke is followed by a pause, longer each time, so that what breaks every term does not do it in a loop.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A term that lasted this long was a good one, however it ended.
const GOOD: Duration = Duration::from_secs(60);

/// A term, if nobody else leads.
pub(crate) async fn lead_at_once(house: &Arc<House>) -> Result<Option<Term>, CoordinatorError> {
    match ask_once(house).await? {
        Ok(lease) => Term::begin(house, lease, &CancellationToken::new()).await,
        Err(_) => Ok(None),
    }
}

/// Takes turns until `shutdown`, or until something is wrong that another turn would not mend.
pub(crate) async fn take_turns(
    house: Arc<House>,
    first: Option<Term>,
    shutdown: CancellationToken,
) -> Result<(), CoordinatorError> {
    let mut next = first;
    let mut forwarding = Forwarding::new();
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        let ended = match turn(&house, next.take(), &mut forwarding, &shutdown).await {
            Ok(Some(ended)) => ended,
            Ok(None) => return Ok(()),
            Err(error) => Ended::Failed(error),
        };
        match ended {
            Ended::Stopped => return Ok(()),
            Ended::Lost | Ended::Failed(CoordinatorError::Store(StoreError::Fenced { .. })) => {
                tracing::warn!("this coordinator leads no more; it follows");
                continue;
            }
            Ended::Panicked(said) => tracing::error!(said, "the driver panicked; this is a bug, please report it"),
            Ended::Failed(error) if error.is_passing() => {
                tracing::warn!(error = chain(&error), "this coordinator could not go on leading; it tries again");
            }
            Ended::Failed(error) => return Err(error),
        }
        pause = if began.elapsed() > GOOD { PAUSE_MIN } else { PAUSE_MAX.min(pause * 2) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// One term, `first` if it has begun already; none if `shutdown` comes before it.
async fn turn(
    house: &Arc<House>,
    first: Option<Term>,
    forwarding: &mut Forwarding,
    shutdown: &CancellationToken,
) -> Result<Option<Ended>, CoordinatorError> {
    let term = match first {
        Some(term) => term,
        None => {
            let Some(lease) = follow(house, forwarding, shutdown).await? else { return Ok(None) };
            let Some(term) = Term::begin(house, lease, shutdown).await? else { return Ok(None) };
            term
        }
    };
    Ok(Some(term.run(shutdown).await))
}
