//! A database for one test, and coordinators' stores over it.

use std::time::Duration;

use polder_coordinator::store::{
    ArchivedRound, JournalEntry, LogLine, Member, Recorded, Store, StoreConfig, StoreError, Term,
};
use polder_core::{RunId, WorkerName};
use polder_tests::eventually;
use polder_tests::postgres::Postgres;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;

pub(crate) const TTL: Duration = Duration::from_secs(60);

pub(crate) struct Place {
    dir: TempDir,
    database: Option<String>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), database: None }
    }

    /// None where there is no PostgreSQL.
    pub(crate) fn postgres() -> Option<Self> {
        let database = Postgres::shared()?.database();
        Some(Self::at(database))
    }

    pub(crate) fn at(database: String) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), database: Some(database) }
    }

    /// What the coordinator `name` is told: it has a directory of its own, unless all it has is that.
    pub(crate) fn config(&self, name: &str) -> StoreConfig {
        let dir = if self.database.is_some() { self.dir.path().join(name) } else { self.dir.path().into() };
        StoreConfig { dir, database: self.database.clone(), blobs: None }
    }

    pub(crate) async fn open(&self, name: &str) -> Store {
        Store::open(&self.config(name)).await.unwrap()
    }

    /// A store, and a term of its coordinator.
    pub(crate) async fn leading(&self, name: &str) -> (Store, Term) {
        let store = self.open(name).await;
        let term = store.try_lead(&member(name), TTL).await.unwrap().unwrap();
        (store, term)
    }

    /// Makes a SQLite database of what `dump` says, before there is a store.
    pub(crate) async fn make(&self, dump: &str) {
        let options = SqliteConnectOptions::new().filename(self.dir.path().join("journal.sqlite"));
        let mut connection = options.create_if_missing(true).connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(dump)).execute(&mut connection).await.unwrap();
    }

    /// Does `statement` as somebody would who looks into the database.
    pub(crate) async fn sql(&self, statement: &str) {
        match &self.database {
            None => {
                let options = SqliteConnectOptions::new().filename(self.dir.path().join("journal.sqlite"));
                let mut connection = options.connect().await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
            }
            Some(database) => {
                let mut connection = PgConnection::connect(database).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
            }
        }
    }
}

/// Waits until so many sessions of the database wait for each other.
pub(crate) async fn until_waiting(database: &str, sessions: i64) {
    let mut connection = PgConnection::connect(database).await.unwrap();
    eventually("sessions wait", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut connection).await.unwrap();
        (waiting == sessions).then_some(())
    })
    .await;
}

/// The same test on each database.
macro_rules! on_each_database {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use crate::place::Place;

            #[tokio::test]
            async fn on_sqlite() {
                super::$name(Place::sqlite()).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                if let Some(place) = Place::postgres() {
                    super::$name(place).await;
                }
            }
        }
    )*};
}
pub(crate) use on_each_database;

pub(crate) fn member(name: &str) -> Member {
    Member {
        id: name.into(),
        endpoint: format!("{name}.example:7400"),
        peer: format!("{name}.internal:7400"),
        version: "0.1.0".into(),
    }
}

pub(crate) fn entry(n: u64) -> JournalEntry {
    JournalEntry { at_ms: 1000 + n, kind: "ticked".into(), event_json: format!(r#"{{"n":{n},"text":"it's \"é\""}}"#) }
}

pub(crate) fn entries(numbers: std::ops::RangeInclusive<u64>) -> Vec<JournalEntry> {
    numbers.map(entry).collect()
}

pub(crate) fn line(run: Option<&str>, text: &str) -> LogLine {
    LogLine {
        at_ms: 5,
        run: run.map(|run| RunId::new(run).unwrap()),
        round: run.map(|_| 3),
        worker: run.map(|_| WorkerName::new("eu-west-1").unwrap()),
        kind: "note".into(),
        text: text.into(),
    }
}

pub(crate) fn closed(run: &str, round: u32, json: &str) -> ArchivedRound {
    ArchivedRound { run: RunId::new(run).unwrap(), round, round_json: json.into() }
}

pub(crate) async fn replayed(store: &Store, from_seq: u64) -> Vec<Recorded> {
    let mut all = Vec::new();
    store
        .replay(from_seq, |recorded| {
            all.push(recorded);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    all
}

pub(crate) fn recorded(numbers: std::ops::RangeInclusive<u64>) -> Vec<Recorded> {
    numbers.map(|seq| Recorded { seq, entry: entry(seq) }).collect()
}

/// The texts of all log lines.
pub(crate) async fn told(store: &Store) -> Vec<String> {
    store.log_lines(None, 0, 10_000).await.unwrap().into_iter().map(|entry| entry.line.text).collect()
}
