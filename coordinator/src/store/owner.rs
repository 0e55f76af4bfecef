//! Whose an object store is: that of one federation, the one whose journal is in the database. A second one would remove what
//! the first one needs, as each removes what it does not refer to itself; so would a coordinator that looks for a
//! federation's objects in another place.

use super::database::Database;
use super::objects::{Objects, Owner};
use super::{StoreConfig, StoreError, shared};

/// Where the database keeps which federation this is.
const FEDERATION: &str = "federation";
/// Where the database keeps the address of the federation's object store.
const BLOBS: &str = "blobs";

/// Whether what is shared under `key` says where a federation is, and not what it is: no backup has that.
pub(crate) fn is_of_place(key: &str) -> bool {
    [FEDERATION, BLOBS].contains(&key)
}

/// What the database of the federation `owner` says whose objects are at `address`.
pub(crate) fn of_place(owner: &Owner, address: &str) -> [(&'static str, String); 2] {
    [(FEDERATION, owner.federation.clone()), (BLOBS, address.to_owned())]
}

/// Sees to it that `objects` are the federation's whose database it is, and the same for all of its coordinators.
pub(super) async fn own(
    database: &Database,
    config: &StoreConfig,
    objects: Option<&Objects>,
) -> Result<(), StoreError> {
    let Some(objects) = objects else {
        return match shared::get(database, BLOBS).await? {
            Some(address) => Err(StoreError::BlobsElsewhere { dir: config.dir.clone(), address: text(&address) }),
            None => Ok(()),
        };
    };
    let made = Owner::new(database.place());
    let federation = text(&shared::keep(database, FEDERATION, made.federation.as_bytes()).await?);
    let us = Owner { federation, ..made };
    let owner = off_thread(objects, Objects::owner).await?;
    us.expect(owner.as_ref(), objects)?;
    let address = objects.address();
    let kept = text(&shared::keep(database, BLOBS, address.as_bytes()).await?);
    match owner {
        Some(_) if kept == address => Ok(()),
        // It has moved, or has two names.
        Some(_) => shared::put(database, BLOBS, address.as_bytes()).await,
        None if kept == address => {
            let claimer = us.clone();
            let owner = off_thread(objects, move |objects| objects.claim(&claimer)).await?;
            us.expect(Some(&owner), objects)
        }
        None => Err(StoreError::BlobsOfOthers { kept, address: address.to_owned() }),
    }
}

impl Owner {
    /// Refuses objects that another federation owns.
    pub(crate) fn expect(&self, owner: Option<&Self>, objects: &Objects) -> Result<(), StoreError> {
        match owner {
            Some(owner) if owner.federation != self.federation => Err(StoreError::ObjectsOwned {
                address: objects.address().to_owned(),
                owner: owner.to_string(),
                us: self.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn off_thread<T: Send + 'static>(
    objects: &Objects,
    work: impl FnOnce(&Objects) -> Result<T, super::ObjectsError> + Send + 'static,
) -> Result<T, StoreError> {
    let objects = objects.clone();
    Ok(tokio::task::spawn_blocking(move || work(&objects)).await.map_err(|_| StoreError::Stopping)??)
}
