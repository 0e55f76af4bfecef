//! Small things that all coordinators of a federation have in common, such as its sealed certificate authority.

use super::database::{Database, Lane, on_lane};
use super::{Store, StoreError};

impl Store {
    pub async fn meta_get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        get(&self.database, key).await
    }

    /// Keeps `value` for `key` if nobody was first; gives what is kept now.
    pub async fn meta_put_if_absent(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        put_if_absent(&self.database, key, value).await
    }

    /// Everything that is kept so, by key.
    pub async fn meta_all(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        on_lane!(&self.database, Lane::Reader, "read", |connection| {
            sqlx::query_as("SELECT key, value FROM shared ORDER BY key").fetch_all(connection).await
        })
    }
}

pub(super) async fn get(database: &Database, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    on_lane!(database, Lane::Reader, "read", |connection| {
        sqlx::query_scalar("SELECT value FROM shared WHERE key = $1").bind(key).fetch_optional(connection).await
    })
}

async fn put_if_absent(database: &Database, key: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
    on_lane!(database, Lane::Writer, "written", |connection| {
        sqlx::query("INSERT INTO shared (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
            .bind(key)
            .bind(value)
            .execute(&mut *connection)
            .await?;
        sqlx::query_scalar("SELECT value FROM shared WHERE key = $1").bind(key).fetch_one(connection).await
    })
}

/// The same, and writes nothing where there is nothing to write.
pub(super) async fn keep(database: &Database, key: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
    match get(database, key).await? {
        Some(kept) => Ok(kept),
        None => put_if_absent(database, key, value).await,
    }
}

pub(super) async fn put(database: &Database, key: &str, value: &[u8]) -> Result<(), StoreError> {
    on_lane!(database, Lane::Writer, "written", |connection| {
        sqlx::query(
            "INSERT INTO shared (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(connection)
        .await
        .map(|_| ())
    })
}
