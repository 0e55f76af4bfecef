//! The lease of coordinators that share a database. All instants are the server's, so that their own clocks do not matter.

use std::time::Duration;

use super::{Leader, Member, MemberSeen, Term};
use crate::store::StoreError;
use crate::store::database::{Lane, Postgres};

/// The server's clock in milliseconds, at the moment at which a row is looked at.
macro_rules! now_ms {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

/// Also forgets those that have not been there for a day.
const ANNOUNCE: &str = concat!(
    "WITH gone AS (DELETE FROM member WHERE id <> $1 AND seen_ms < ",
    now_ms!(),
    " - 86400000) INSERT INTO member (id, endpoint, peer, version, seen_ms) VALUES ($1, $2, $3, $4, ",
    now_ms!(),
    ") ON CONFLICT (id) DO UPDATE SET endpoint = excluded.endpoint, peer = excluded.peer, version = excluded.version, \
     seen_ms = excluded.seen_ms"
);

const MEMBERS: &str = concat!(
    "SELECT member.id, endpoint, peer, version, greatest(",
    now_ms!(),
    " - seen_ms, 0), holder = member.id AND expires_ms > ",
    now_ms!(),
    " FROM member, lease WHERE seen_ms > ",
    now_ms!(),
    " - 600000 ORDER BY member.id LIMIT 100"
);

/// Waits for a write that is under way, as that holds the row, and then looks again. A lease that ends far from now was
/// given before the server's clock was set back, and is as good as over: what keeps two from writing is the number.
const LEAD: &str = concat!(
    "WITH led AS (UPDATE lease SET epoch = epoch + 1, holder = $1, since_ms = ",
    now_ms!(),
    ", expires_ms = ",
    now_ms!(),
    " + $5 WHERE id = 1 AND (expires_ms <= ",
    now_ms!(),
    " OR expires_ms > ",
    now_ms!(),
    " + 600000 OR holder = $1) RETURNING epoch), \
     known AS (INSERT INTO member (id, endpoint, peer, version, seen_ms) SELECT $1, $2, $3, $4, ",
    now_ms!(),
    " FROM led ON CONFLICT (id) DO UPDATE SET endpoint = excluded.endpoint, peer = excluded.peer, \
     version = excluded.version, seen_ms = excluded.seen_ms) \
     SELECT epoch FROM led"
);

const RENEW: &str = concat!("UPDATE lease SET expires_ms = ", now_ms!(), " + $2 WHERE id = 1 AND epoch = $1");

const STILL_LEADS: &str = "SELECT count(*) FROM lease WHERE id = 1 AND epoch = $1";

const STEP_DOWN: &str = "UPDATE lease SET epoch = epoch + 1, holder = '', expires_ms = 0 WHERE id = 1 AND epoch = $1";

const LEADER: &str = concat!(
    "SELECT member.id, endpoint, peer, version, epoch, since_ms \
     FROM lease JOIN member ON member.id = holder WHERE lease.id = 1 AND expires_ms > ",
    now_ms!(),
    " AND expires_ms <= ",
    now_ms!(),
    " + 600000"
);

pub(super) async fn announce(database: &Postgres, member: &Member) -> Result<(), StoreError> {
    let Member { id, endpoint, peer, version } = member;
    let mut lane = database.lane(Lane::Lease, "written").await?;
    let query = sqlx::query(ANNOUNCE).bind(id).bind(endpoint).bind(peer).bind(version);
    database.bounded(Lane::Lease, "written", query.execute(lane.connection())).await?;
    lane.settle();
    Ok(())
}

pub(super) async fn members(database: &Postgres) -> Result<Vec<MemberSeen>, StoreError> {
    let mut lane = database.lane(Lane::Lease, "read").await?;
    let query = sqlx::query_as::<_, (String, String, String, String, i64, bool)>(MEMBERS);
    let found = database.bounded(Lane::Lease, "read", query.fetch_all(lane.connection())).await?;
    lane.settle();
    let seen = found.into_iter().map(|(id, endpoint, peer, version, seen_ms_ago, leads)| MemberSeen {
        member: Member { id, endpoint, peer, version },
        seen_ms_ago: seen_ms_ago.cast_unsigned(),
        leads,
    });
    Ok(seen.collect())
}

pub(super) async fn try_lead(database: &Postgres, member: &Member, ttl: Duration) -> Result<Option<Term>, StoreError> {
    let Member { id, endpoint, peer, version } = member;
    let mut lane = database.lane(Lane::Lease, "written").await?;
    let query = sqlx::query_scalar(LEAD).bind(id).bind(endpoint).bind(peer).bind(version).bind(millis(ttl));
    let epoch: Option<i64> = database.bounded(Lane::Lease, "written", query.fetch_optional(lane.connection())).await?;
    lane.settle();
    Ok(epoch.map(|epoch| Term { epoch: epoch.cast_unsigned() }))
}

pub(super) async fn renew(database: &Postgres, term: Term, ttl: Duration) -> Result<bool, StoreError> {
    let mut lane = database.lane(Lane::Lease, "written").await?;
    let query = sqlx::query(RENEW).bind(term.stored()).bind(millis(ttl));
    let done = database.bounded(Lane::Lease, "written", query.execute(lane.connection())).await?;
    lane.settle();
    Ok(done.rows_affected() == 1)
}

pub(super) async fn still_leads(database: &Postgres, term: Term) -> Result<bool, StoreError> {
    let mut lane = database.lane(Lane::Lease, "read").await?;
    let query = sqlx::query_scalar(STILL_LEADS).bind(term.stored());
    let found: i64 = database.bounded(Lane::Lease, "read", query.fetch_one(lane.connection())).await?;
    lane.settle();
    Ok(found == 1)
}

pub(super) async fn step_down(database: &Postgres, term: Term) -> Result<(), StoreError> {
    let mut lane = database.lane(Lane::Lease, "written").await?;
    let query = sqlx::query(STEP_DOWN).bind(term.stored());
    database.bounded(Lane::Lease, "written", query.execute(lane.connection())).await?;
    lane.settle();
    Ok(())
}

pub(super) async fn leader(database: &Postgres) -> Result<Option<Leader>, StoreError> {
    let mut lane = database.lane(Lane::Lease, "read").await?;
    let query = sqlx::query_as::<_, (String, String, String, String, i64, i64)>(LEADER);
    let found = database.bounded(Lane::Lease, "read", query.fetch_optional(lane.connection())).await?;
    lane.settle();
    Ok(found.map(|(id, endpoint, peer, version, epoch, since_ms)| Leader {
        member: Member { id, endpoint, peer, version },
        epoch: epoch.cast_unsigned(),
        since_ms: since_ms.cast_unsigned(),
    }))
}

fn millis(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)
}
