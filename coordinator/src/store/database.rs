//! The two databases that a store may lie in, and the lanes to them: a write never waits behind a long read, nor the lease
//! behind either.

use std::time::Duration;

mod migrations;
mod postgres;
mod sqlite;
mod wal;

pub(super) use postgres::Postgres;
pub(super) use sqlite::Sqlite;

use super::{StoreConfig, StoreError};

#[derive(Debug)]
pub(super) enum Database {
    Sqlite(Box<Sqlite>),
    Postgres(Box<Postgres>),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Writer,
    Reader,
    /// Large writes that nobody waits for.
    Upkeep,
    Lease,
    /// Brings the database to our format, which may take its time.
    Setup,
}

impl Lane {
    /// How long a database on the network may take for one answer.
    pub(super) fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Lease => 2,
            Self::Writer => 20,
            Self::Reader => 30,
            Self::Upkeep => 120,
            Self::Setup => 600,
        })
    }
}

/// Does `$body` with a connection, whichever database it is: the same lines, and the same SQL, as both know `$1`.
macro_rules! on_lane {
    ($database:expr, $lane:expr, $action:expr, |$connection:ident| $body:expr) => {
        match $database {
            $crate::store::database::Database::Sqlite(database) => {
                $crate::store::database::on_lane!(@one database, $lane, $action, |$connection| $body)
            }
            $crate::store::database::Database::Postgres(database) => {
                $crate::store::database::on_lane!(@one database, $lane, $action, |$connection| $body)
            }
        }
    };
    (@one $database:expr, $lane:expr, $action:expr, |$connection:ident| $body:expr) => {
        async {
            let mut held = $database.lane($lane, $action).await?;
            let $connection = held.connection();
            let done = $database.bounded($lane, $action, async { $body }).await?;
            held.settle();
            Ok::<_, $crate::store::StoreError>(done)
        }
        .await
    };
}
pub(super) use on_lane;

impl Database {
    /// Opens the database, or makes it, and brings it to this version's format.
    pub(super) async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let database = match &config.database {
            None => Self::Sqlite(Sqlite::open(&config.dir).await?.into()),
            Some(url) => Self::Postgres(Postgres::new(url)?.into()),
        };
        migrations::bring_up(&database).await?;
        if let Self::Sqlite(_) = &database {
            wal::make_room(&config.dir);
        }
        Ok(database)
    }

    /// Opens a database that is there and has this version's format, beside whoever uses it; for reading only.
    pub(super) async fn attach(config: &StoreConfig) -> Result<Self, StoreError> {
        let database = match &config.database {
            None => Self::Sqlite(Sqlite::attach(&config.dir).await?.into()),
            Some(url) => Self::Postgres(Postgres::new(url)?.into()),
        };
        migrations::require(&database).await?;
        Ok(database)
    }

    /// Refuses a database that has not this version's format any more.
    pub(super) async fn require_ours(&self) -> Result<(), StoreError> {
        migrations::require(self).await
    }

    /// For people; holds no secret.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Sqlite(database) => database.place(),
            Self::Postgres(database) => database.place(),
        }
    }
}
