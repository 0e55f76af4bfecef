//! The lease of a coordinator that is alone: only the count of terms is kept on disk.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Leader, Member, MemberSeen, Term};
use crate::store::StoreError;
use crate::store::database::{Lane, Sqlite};

/// The one coordinator, as far as it has said of itself.
#[derive(Debug, Default)]
pub(in crate::store) struct Alone(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    member: Option<(Member, Instant)>,
    /// The term that goes on, and since when.
    term: Option<(Term, u64)>,
}

impl Alone {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn announce(&self, member: &Member) {
        self.known().member = Some((member.clone(), Instant::now()));
    }

    pub(super) fn members(&self) -> Vec<MemberSeen> {
        let known = self.known();
        let seen = known.member.iter().map(|(member, at)| MemberSeen {
            member: member.clone(),
            seen_ms_ago: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
            leads: known.term.is_some(),
        });
        seen.collect()
    }

    pub(super) fn holds(&self, term: Term) -> bool {
        self.known().term.is_some_and(|(held, _)| held == term)
    }

    pub(super) fn leader(&self) -> Option<Leader> {
        let known = self.known();
        let ((member, _), (term, since_ms)) = (known.member.as_ref()?, known.term?);
        Some(Leader { member: member.clone(), epoch: term.epoch, since_ms })
    }
}

pub(super) async fn lead(database: &Sqlite, member: &Member) -> Result<Term, StoreError> {
    let mut lane = database.lane(Lane::Writer, "written").await?;
    let next = sqlx::query_scalar("UPDATE lease SET epoch = epoch + 1 RETURNING epoch").fetch_one(lane.connection());
    let epoch: i64 = database.bounded(Lane::Writer, "written", next).await?;
    lane.settle();
    let term = Term { epoch: epoch.cast_unsigned() };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut known = database.alone.known();
    known.member = Some((member.clone(), Instant::now()));
    known.term = Some((term, u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    Ok(term)
}

pub(super) async fn step_down(database: &Sqlite, term: Term) -> Result<(), StoreError> {
    {
        let mut known = database.alone.known();
        if known.term.is_some_and(|(held, _)| held == term) {
            known.term = None;
        }
    }
    let mut lane = database.lane(Lane::Writer, "written").await?;
    let end = sqlx::query("UPDATE lease SET epoch = epoch + 1 WHERE epoch = $1")
        .bind(term.stored())
        .execute(lane.connection());
    database.bounded(Lane::Writer, "written", end).await?;
    lane.settle();
    Ok(())
}
