//! PostgreSQL: one connection a lane, made when it is needed and again when it broke, and a limit to every wait.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::Lane;
use crate::store::StoreError;

/// A connection that wrote a moment ago is not asked whether it lives: appends take one round trip each, and one that
/// fails finds out by itself what became of it.
const IDLE: Duration = Duration::from_secs(1);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A session must not hold the lease's row for longer than its client would wait, nor confirm what is not on disk. What the
/// server remarks (a table that is there already) is no news for whoever reads our log.
const SETTINGS: &str = "SELECT set_config('statement_timeout', $1, false), \
    set_config('idle_in_transaction_session_timeout', $1, false), \
    set_config('client_min_messages', 'warning', false), \
    set_config('synchronous_commit', \
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, \
        false)";

pub(in crate::store) struct Postgres {
    options: PgConnectOptions,
    place: String,
    writer: Mutex<Option<Idle>>,
    reader: Mutex<Option<Idle>>,
    upkeep: Mutex<Option<Idle>>,
    lease: Mutex<Option<Idle>>,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl fmt::Debug for Postgres {
    /// Without the options, which hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.place).finish()
    }
}

impl Postgres {
    /// Nothing is dialled yet.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        let mut options = parse(url)?.disable_statement_logging();
        if options.get_application_name().is_none() {
            options = options.application_name("polder");
        }
        let place = place(&options);
        let [writer, reader, upkeep, lease] = Default::default();
        Ok(Self { options, place, writer, reader, upkeep, lease })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(in crate::store) async fn lane(
        &self,
        lane: Lane,
        action: &'static str,
    ) -> Result<PostgresLane<'_>, StoreError> {
        let slot = match lane {
            Lane::Writer | Lane::Setup => &self.writer,
            Lane::Reader => &self.reader,
            Lane::Upkeep => &self.upkeep,
            Lane::Lease => &self.lease,
        };
        let mut slot = slot.lock().await;
        // Out of its slot while it is in use: if the work fails, or whoever wanted it leaves, it is closed.
        if let Some(Idle { mut connection, since }) = slot.take() {
            let is_fresh = lane == Lane::Writer && since.elapsed() < IDLE;
            if is_fresh || matches!(tokio::time::timeout(lane.limit(), connection.ping()).await, Ok(Ok(()))) {
                return Ok(PostgresLane { slot, connection, is_kept: lane != Lane::Setup });
            }
        }
        let connection = self.bounded_by(CONNECT.min(lane.limit()), action, self.connect(lane)).await?;
        Ok(PostgresLane { slot, connection, is_kept: lane != Lane::Setup })
    }

    async fn connect(&self, lane: Lane) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let limit_ms = lane.limit().as_millis().to_string();
        sqlx::query(SETTINGS).bind(limit_ms).execute(&mut connection).await?;
        Ok(connection)
    }

    pub(in crate::store) async fn bounded<T>(
        &self,
        lane: Lane,
        action: &'static str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        self.bounded_by(lane.limit(), action, work).await
    }

    async fn bounded_by<T>(
        &self,
        limit: Duration,
        action: &'static str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done.map_err(|source| self.fault(action, source)),
            Err(_) => {
                Err(StoreError::DatabaseSilent { database: self.place.clone(), action, seconds: limit.as_secs() })
            }
        }
    }

    /// Tells what passes from what somebody must mend, by the server's own code where it gave one.
    fn fault(&self, action: &'static str, source: sqlx::Error) -> StoreError {
        let database = self.place.clone();
        let code = source.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned);
        let away = matches!(source, sqlx::Error::Io(_) | sqlx::Error::Protocol(_));
        let is_tls = match &source {
            sqlx::Error::Tls(_) => true,
            // A certificate that is not trusted comes so.
            sqlx::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
            _ => false,
        };
        match code.as_deref() {
            None if is_tls => {
                let fix = "its TLS is not what `sslmode` and `sslrootcert` in its address ask for";
                StoreError::DatabaseRefused { database, fix, source }
            }
            None if away => StoreError::DatabaseAway { database, action, source },
            Some("53100") => {
                let what = format!("the journal could not be {action} on the disk of the database `{database}`");
                StoreError::Full { what, source: source.into() }
            }
            Some(code) if passes(code) => StoreError::DatabaseAway { database, action, source },
            Some(code) => match remedy(code) {
                Some(fix) => StoreError::DatabaseRefused { database, fix, source },
                None => StoreError::Database { action, source },
            },
            None => StoreError::Database { action, source },
        }
    }
}

pub(in crate::store) struct PostgresLane<'a> {
    slot: MutexGuard<'a, Option<Idle>>,
    connection: PgConnection,
    is_kept: bool,
}

impl PostgresLane<'_> {
    pub(in crate::store) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// What was asked is done, and the connection is good for the next.
    pub(in crate::store) fn settle(mut self) {
        if self.is_kept {
            *self.slot = Some(Idle { connection: self.connection, since: Instant::now() });
        }
    }
}

/// Whether a server that answers this will answer better later: it starts, stops, is a replica still, has no room for
/// another connection, or ended a statement that took too long or stood in another's way.
fn passes(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    matches!(class, "08" | "53" | "40")
        || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "57014" | "55P03" | "25006" | "25P03" | "25P04")
}

/// What to do about a server that does not let us in.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" => "the password is wrong or missing; put the right one into its address",
        "28000" => "its `pg_hba.conf` has no entry for this user, address and database",
        "3D000" => "there is no such database; make it with `createdb`",
        "42501" => "the user may not do that; make it the owner of the database, or grant it `CREATE` on the schema",
        _ => return None,
    })
}

/// What may stand behind the `?` of an address.
const OPTIONS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Says nothing of the values that it was given: any may be a password.
fn parse(url: &str) -> Result<PgConnectOptions, StoreError> {
    let wrong = |what: &str| StoreError::DatabaseAddress { what: what.into() };
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(wrong("it does not begin with `postgres://`"));
    }
    let options = url.split_once('?').map_or("", |(_, options)| options).split('&').filter(|option| !option.is_empty());
    for name in options.map(|option| option.split('=').next().unwrap_or(option)) {
        // What is not known would be ignored; somebody who asks for something is not to believe that he got it.
        if !OPTIONS.contains(&name) && !name.starts_with("options[") {
            return Err(wrong(&format!(
                "it has an option `{name}`, which is not known; there are {}",
                OPTIONS.join(", ")
            )));
        }
    }
    url.parse().map_err(|_| wrong("it is not a URL, or has an option with a wrong value"))
}

/// The address without user and password.
fn place(options: &PgConnectOptions) -> String {
    let server = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    format!("postgres://{server}/{}", options.get_database().unwrap_or(options.get_username()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let postgres = Postgres::new("postgres://polder:hush@db.example:5433/federation?sslmode=require").unwrap();
        assert_eq!(postgres.place(), "postgres://db.example:5433/federation");
        let postgres = Postgres::new("postgres://polder:hush@localhost/f?host=/run/pg&password=hush").unwrap();
        assert_eq!(postgres.place(), "postgres:///run/pg/f");
        for url in [
            "mysql://a:hush@b/c",
            "postgres://a:hush@b/c?sslmode=hush",
            "postgres://a:hush@b:hush/c",
            "postgres://a@b/c?passwd=hush",
        ] {
            let error = Postgres::new(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
    }
}
