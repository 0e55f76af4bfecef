//! The object `owner`, which says whose the others are.

use std::fmt;

use object_store::path::Path as Key;
use object_store::{ObjectStore, PutMode};

use super::{Action, Objects, ObjectsError, object_store_says};

const KEY: &str = "owner";
/// What is read of it.
const BYTES_MAX: u64 = 512;

/// A federation, as an object store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Drawn by chance when it got its first object store.
    pub(crate) federation: String,
    /// For people: where its journal was then.
    pub(crate) place: String,
}

impl Owner {
    pub(crate) fn new(place: &str) -> Self {
        Self { federation: format!("{:032x}", rand::random::<u128>()), place: place.to_owned() }
    }

    fn parse(text: &str) -> Self {
        let (federation, place) = text.trim().split_once(' ').unwrap_or((text.trim(), "somewhere"));
        Self { federation: federation.to_owned(), place: place.to_owned() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of `{}`", self.federation, self.place)
    }
}

impl Objects {
    /// Whose the objects are, if anybody's.
    pub(crate) fn owner(&self) -> Result<Option<Owner>, ObjectsError> {
        match self.get(&Key::from(KEY), 0..BYTES_MAX) {
            Ok(found) => Ok(Some(Owner::parse(&String::from_utf8_lossy(&found)))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes them `owner`'s if they are nobody's; gives whose they are now.
    pub(crate) fn claim(&self, owner: &Owner) -> Result<Owner, ObjectsError> {
        let key = Key::from(KEY);
        let text = format!("{} {}\n", owner.federation, owner.place);
        let put = self.ask_to_add(&key, || {
            let (store, at, text) = (self.store.clone(), key.clone(), text.clone());
            async move { store.put_opts(&at, text.into(), PutMode::Create.into()).await }
        });
        match put {
            Ok(_) => {}
            Err(error) if error.is_taken() => {}
            // Not every store knows how to put only what is not there.
            Err(_) => self.put(&key, text.into())?,
        }
        self.owner()?
            .ok_or_else(|| self.error(Action::Read, &key, object_store_says("no owner, who was just put there")))
    }

    /// They are nobody's any more.
    pub(crate) fn disown(&self) -> Result<(), ObjectsError> {
        self.delete(&Key::from(KEY))
    }
}
