//! The object store that coordinators share: the copy that counts of blobs and of finished updates.
//!
//! Everything here blocks, with memory for a few parts of an object, whatever its size. The requests run on a thread of
//! their own, so that any thread may wait for them: one that aggregates, one that writes an upload, a test's only one.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::error::Elapsed;

mod address;
mod error;
mod leftovers;
mod owner;

pub use address::{AddressError, ObjectStoreUrl};
pub(crate) use error::is_full;
pub use error::{Action, ObjectsError};
pub(crate) use owner::Owner;

/// What is read and sent at a time. S3 wants at least 5 MiB a part, and takes 10,000 of them.
const PART_BYTES: u64 = 8 << 20;
const PARTS_MAX: u64 = 9_000;
/// What S3 removes with one request.
const DELETED_AT_ONCE: usize = 1000;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// How often in a row a folder may go while an object comes to it.
const FOLDERS_LOST_MAX: u32 = 20;
/// The longest that one request may take, all of its retries included; the client gives up earlier by itself.
const REQUEST: Duration = Duration::from_secs(90);

/// A handle on an object store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    address: Arc<str>,
    /// Where its files lie, if it is a directory.
    dir: Option<Arc<Path>>,
    threads: Arc<Threads>,
}

/// The threads that requests run on, ended without waiting: whoever waited for a request has its answer.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A request on its way.
struct Pending<T>(mpsc::Receiver<Result<Result<T, object_store::Error>, Elapsed>>);

impl Objects {
    /// Opens the store at `url`, with credentials from the environment, and finds out whether it takes, gives and forgets
    /// an object.
    pub fn open(url: &ObjectStoreUrl) -> Result<Self, ObjectsError> {
        let address: Arc<str> = url.to_string().into();
        let unusable = |source| ObjectsError::Unusable { address: address.to_string(), source };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("objects")
            .enable_all()
            .build()
            .map_err(|source| unusable(Box::new(source)))?;
        let store = url.connect().map_err(|source| unusable(Box::new(source)))?;
        let objects = Self {
            store,
            address: address.clone(),
            dir: url.path().map(Into::into),
            threads: Arc::new(Threads(Some(runtime))),
        };
        objects.probe().map_err(|source| unusable(Box::new(source)))?;
        Ok(objects)
    }

    /// Where it is, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its files lie, if it is a directory.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    fn probe(&self) -> Result<(), ObjectsError> {
        let key = Key::from(format!("probe-{:016x}", rand::random::<u64>()));
        self.put(&key, Bytes::from_static(b"polder"))?;
        let found = self.get(&key, 0..6)?;
        self.delete(&key)?;
        if found == "polder" {
            Ok(())
        } else {
            Err(self.error(Action::Read, &key, object_store_says("another object")))
        }
    }

    /// Stores a small object.
    pub(crate) fn put(&self, key: &Key, bytes: Bytes) -> Result<(), ObjectsError> {
        self.ask_to_add(key, || {
            let (store, at, bytes) = (self.store.clone(), key.clone(), bytes.clone());
            async move { store.put(&at, bytes.into()).await }
        })
        .map(drop)
    }

    /// Stores the first `bytes` bytes of `file`, in parts if it is large. It appears whole or not at all.
    pub(crate) fn put_file(&self, key: &Key, file: &File, bytes: u64) -> Result<(), ObjectsError> {
        let read = |offset: u64, length: u64| -> Result<Bytes, ObjectsError> {
            let mut part = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut part, offset).map_err(|source| ObjectsError::File {
                address: self.address.to_string(),
                key: key.to_string(),
                source,
            })?;
            Ok(part.into())
        };
        if bytes <= PART_BYTES {
            return self.put(key, read(0, bytes)?);
        }
        let mut upload = self.ask_to_add(key, || {
            let (store, at) = (self.store.clone(), key.clone());
            async move { store.put_multipart(&at).await }
        })?;
        match self.put_parts(key, upload.as_mut(), bytes, read) {
            Ok(()) => self.ask(Action::Write, key, async move { upload.complete().await }).map(drop),
            Err(error) => {
                // Parts that stay cost money; where this fails, too, a rule of the bucket's must remove them.
                let _ = self.ask(Action::Write, key, async move { upload.abort().await });
                Err(error)
            }
        }
    }

    fn put_parts(
        &self,
        key: &Key,
        upload: &mut dyn MultipartUpload,
        bytes: u64,
        read: impl Fn(u64, u64) -> Result<Bytes, ObjectsError>,
    ) -> Result<(), ObjectsError> {
        let part_bytes = part_bytes(bytes);
        let mut on_their_way = VecDeque::new();
        let mut offset = 0;
        while offset < bytes || !on_their_way.is_empty() {
            if offset < bytes && on_their_way.len() < PARTS_AT_ONCE {
                let length = part_bytes.min(bytes - offset);
                let part = upload.put_part(read(offset, length)?.into());
                on_their_way.push_back(self.start(part));
                offset += length;
            } else if let Some(part) = on_their_way.pop_front() {
                self.answer(Action::Write, key, part)?;
            }
        }
        Ok(())
    }

    /// A part of an object, cut at its end.
    pub(crate) fn get(&self, key: &Key, range: Range<u64>) -> Result<Bytes, ObjectsError> {
        self.answer(Action::Read, key, self.start_get(key, range))
    }

    fn start_get(&self, key: &Key, range: Range<u64>) -> Pending<Bytes> {
        let (store, at) = (self.store.clone(), key.clone());
        self.start(async move { store.get_range(&at, range).await })
    }

    /// Hands an object of `bytes` bytes to `each`, piece by piece; the next one is on its way meanwhile.
    pub(crate) fn read<E: From<ObjectsError>>(
        &self,
        key: &Key,
        bytes: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = |offset: u64| (offset < bytes).then(|| self.start_get(key, offset..bytes.min(offset + PART_BYTES)));
        let mut offset = 0;
        let mut next = start(0);
        while let Some(pending) = next {
            offset += PART_BYTES;
            next = start(offset);
            each(&self.answer(Action::Read, key, pending)?)?;
        }
        Ok(())
    }

    /// Size of an object; `None` when there is no such object.
    pub(crate) fn size(&self, key: &Key) -> Result<Option<u64>, ObjectsError> {
        let (store, at) = (self.store.clone(), key.clone());
        match self.ask(Action::Read, key, async move { store.head(&at).await }) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects, with their sizes.
    pub(crate) fn list_all(&self) -> Result<Vec<(Key, u64)>, ObjectsError> {
        self.list(&Key::default())
    }

    /// All objects in the folder `prefix`, with their sizes.
    pub(crate) fn list(&self, prefix: &Key) -> Result<Vec<(Key, u64)>, ObjectsError> {
        let (store, at) = (self.store.clone(), prefix.clone());
        self.ask(Action::List, prefix, async move {
            store.list(Some(&at)).map_ok(|meta| (meta.location, meta.size)).try_collect().await
        })
    }

    /// Removes an object, which may be gone already.
    pub(crate) fn delete(&self, key: &Key) -> Result<(), ObjectsError> {
        let (store, at) = (self.store.clone(), key.clone());
        match self.ask(Action::Remove, key, async move { store.delete(&at).await }) {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes all objects in the folder `prefix`, many with one request where the store can do that.
    pub(crate) fn delete_all(&self, prefix: &Key) -> Result<(), ObjectsError> {
        let keys: Vec<Key> = self.list(prefix)?.into_iter().map(|(key, _)| key).collect();
        for keys in keys.chunks(DELETED_AT_ONCE) {
            let (store, keys) = (self.store.clone(), keys.to_vec());
            self.ask(Action::Remove, prefix, async move {
                let mut gone = store.delete_stream(futures_util::stream::iter(keys.into_iter().map(Ok)).boxed());
                while let Some(removed) = gone.next().await {
                    match removed {
                        // Somebody else was first.
                        Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Where folders go with their last object, one may go while another object comes to it: then once more.
    fn ask_to_add<T: Send + 'static, F: Future<Output = Result<T, object_store::Error>> + Send + 'static>(
        &self,
        key: &Key,
        request: impl Fn() -> F,
    ) -> Result<T, ObjectsError> {
        for _ in 0..FOLDERS_LOST_MAX {
            match self.ask(Action::Write, key, request()) {
                Err(error) if self.dir.is_some() && error.lost_its_folder() => {}
                answer => return answer,
            }
        }
        self.ask(Action::Write, key, request())
    }

    fn ask<T: Send + 'static>(
        &self,
        action: Action,
        key: &Key,
        request: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
    ) -> Result<T, ObjectsError> {
        self.answer(action, key, self.start(request))
    }

    /// Sets a request going; every one has a bound.
    fn start<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
    ) -> Pending<T> {
        let (answer, pending) = mpsc::sync_channel(1);
        if let Some(runtime) = &self.threads.0 {
            runtime.spawn(async move {
                // Nobody may be waiting any more.
                let _ = answer.send(tokio::time::timeout(REQUEST, request).await);
            });
        }
        Pending(pending)
    }

    fn answer<T>(&self, action: Action, key: &Key, Pending(answer): Pending<T>) -> Result<T, ObjectsError> {
        match answer.recv() {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(source))) => Err(self.error(action, key, source)),
            Ok(Err(_)) => Err(self.error(action, key, object_store_says("nothing, for too long"))),
            Err(_) => Err(self.error(action, key, object_store_says("nothing: the request ended"))),
        }
    }

    fn error(&self, action: Action, key: &Key, source: object_store::Error) -> ObjectsError {
        let (address, key) = (self.address.to_string(), key.to_string());
        ObjectsError::Request { action, address, key, source: Box::new(source) }
    }
}

fn object_store_says(what: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "the object store", source: format!("it answered {what}").into() }
}

/// Large enough that not too many are needed.
fn part_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(PARTS_MAX).next_multiple_of(1 << 20).max(PART_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_enough_for_the_largest_model() {
        assert_eq!(part_bytes(1), PART_BYTES);
        assert_eq!(part_bytes(PART_BYTES * PARTS_MAX), PART_BYTES);
        for bytes in [64 << 30, (PART_BYTES * PARTS_MAX) + 1, 1 << 40] {
            assert!(bytes.div_ceil(part_bytes(bytes)) <= PARTS_MAX, "{bytes}");
        }
    }
}
