//! Who leads: of all coordinators that share a database, one, for as long as it renews its lease. Each term has a greater
//! number (epoch) than those before it, and every write carries its own: so a leader that lost its lease without
//! knowing it writes nothing.
//!
//! A SQLite database belongs to one process, by its directory's lock; there that process leads whenever it wants to.

mod postgres;
mod sqlite;

use std::time::Duration;

pub(super) use sqlite::Alone;

use super::database::Database;
use super::{Store, StoreError};

/// The right to write, for as long as no later term has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub epoch: u64,
}

impl Term {
    pub(super) fn stored(self) -> i64 {
        i64::try_from(self.epoch).unwrap_or(i64::MAX)
    }
}

/// A coordinator, as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// What workers and operators dial.
    pub endpoint: String,
    /// What other coordinators dial.
    pub peer: String,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSeen {
    pub member: Member,
    pub seen_ms_ago: u64,
    pub leads: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub member: Member,
    pub epoch: u64,
    /// Milliseconds since the Unix epoch, by the database's clock.
    pub since_ms: u64,
}

impl Store {
    /// Says that `member` is there; the others believe it for ten minutes.
    pub async fn announce(&self, member: &Member) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(database) => {
                database.alone.announce(member);
                Ok(())
            }
            Database::Postgres(database) => postgres::announce(database, member).await,
        }
    }

    /// The coordinators that were there in the last ten minutes, by id.
    pub async fn members(&self) -> Result<Vec<MemberSeen>, StoreError> {
        match &self.database {
            Database::Sqlite(database) => Ok(database.alone.members()),
            Database::Postgres(database) => postgres::members(database).await,
        }
    }

    /// Refuses a database that a newer version has brought to its format since it was opened: what that version writes
    /// must not be led by this one.
    pub async fn refuse_newer(&self) -> Result<(), StoreError> {
        self.database.require_ours().await
    }

    /// Begins a term of `member` if nobody else holds the lease, which then lasts for `ttl` by the database's clock. A
    /// write of an earlier term that is under way is finished first; later ones write nothing.
    pub async fn try_lead(&self, member: &Member, ttl: Duration) -> Result<Option<Term>, StoreError> {
        match &self.database {
            Database::Sqlite(database) => sqlite::lead(database, member).await.map(Some),
            Database::Postgres(database) => postgres::try_lead(database, member, ttl).await,
        }
    }

    /// Makes the lease last for `ttl` from now. `false`: another term has begun; this one is over for good.
    pub async fn renew(&self, term: Term, ttl: Duration) -> Result<bool, StoreError> {
        match &self.database {
            Database::Sqlite(database) => Ok(database.alone.holds(term)),
            Database::Postgres(database) => postgres::renew(database, term, ttl).await,
        }
    }

    /// Whether no other term has begun. It holds for the moment at which it is asked: what is not written to the database,
    /// and so not fenced by it, asks right before it is done.
    pub async fn still_leads(&self, term: Term) -> Result<bool, StoreError> {
        match &self.database {
            Database::Sqlite(database) => Ok(database.alone.holds(term)),
            Database::Postgres(database) => postgres::still_leads(database, term).await,
        }
    }

    /// Ends the term: nothing more is written in it, and another can begin at once.
    pub async fn step_down(&self, term: Term) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(database) => sqlite::step_down(database, term).await,
            Database::Postgres(database) => postgres::step_down(database, term).await,
        }
    }

    /// Who holds the lease.
    pub async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        match &self.database {
            Database::Sqlite(database) => Ok(database.alone.leader()),
            Database::Postgres(database) => postgres::leader(database).await,
        }
    }
}
