//! Objects of a folder: read-only manifests, and a data folder for what Countersign writes.
//!
//! ```text
//!  --manifests DIR ──► manifests ──► reload ──┐
//!                                             ▼
//!  calls ────────────────────────────────► state ──► watches
//!                                             ▲
//!  --data DIR ◄──────────────────► disk ──────┘
//! ```
//! It behaves like a small API server (resourceVersions, compare-and-swap, UIDs, generations), so it is also the fake of
//! fast tests: `in_memory` keeps nothing.

mod disk;
pub mod documents;
#[cfg(test)]
mod edit_tests;
mod files;
pub mod manifests;
mod reload;
mod state;
#[cfg(test)]
mod tests;
mod watch;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch as wake;

use self::disk::Disk;
use self::state::{Kind, Stamp, State, Stored, Write};
use super::kube_store::name_object;
use super::{Change, Error, Key, Object, Preconditions, Selection, events};
use crate::runtime::clock::Clock;
use crate::runtime::contact::Contact;
use crate::runtime::random;

/// Where the folders lie.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Read-only YAML; none: only what is written through the store exists.
    pub manifests: Option<PathBuf>,
    /// Everything Countersign writes; none: kept in memory only.
    pub data: Option<PathBuf>,
    /// Namespaces whose Secrets are Countersign's own rather than files for people.
    pub internal_namespaces: Vec<String>,
    /// How often the manifests are looked at.
    pub period: Duration,
}

impl Settings {
    /// The usual period, no folders.
    pub fn new(internal_namespaces: Vec<String>) -> Self {
        Self { manifests: None, data: None, internal_namespaces, period: Duration::from_millis(200) }
    }
}

/// A store over folders, or over nothing.
#[derive(Clone)]
pub struct FolderStore {
    inner: Arc<Inner>,
    manager: Arc<str>,
}

struct Inner {
    state: Mutex<State>,
    disk: Option<Disk>,
    settings: Settings,
    clock: Clock,
    contact: Contact,
    /// Why the manifests last read are not in force, if they are not.
    problem: wake::Sender<Option<Arc<manifests::Unreadable>>>,
}

/// What Countersign writes must not be read as manifests.
fn keep_apart(settings: &Settings) -> Result<(), Error> {
    let (Some(manifests), Some(data)) = (&settings.manifests, &settings.data) else { return Ok(()) };
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if whole(data).starts_with(whole(manifests)) {
        return Err(Error::UnsafePath {
            path: data.clone(),
            reason: "the data folder must not lie in the folder of manifests",
        });
    }
    Ok(())
}

// === impl FolderStore ===

impl FolderStore {
    /// Reads both folders. Fails where a manifest cannot be read, the data folder is unsafe, or another process has it.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, Error> {
        let internal = settings.internal_namespaces.clone();
        keep_apart(&settings)?;
        let disk = settings.data.as_deref().map(|data| Disk::open(data, internal)).transpose()?;
        let mut state = State::default();
        for (table, key, stored) in disk.as_ref().map(Disk::load).transpose()?.unwrap_or_default() {
            state.restore(&table, key, stored);
        }
        let inner = Inner {
            state: Mutex::new(state),
            disk,
            settings,
            clock,
            contact: Contact::never(),
            problem: wake::Sender::new(None),
        };
        inner.contact.touch(inner.clock.now());
        reload::first(&inner)?;
        Ok(Self { inner: Arc::new(inner), manager: "countersign".into() })
    }

    /// A store of its own that forgets everything: the API server of fast tests and of `check` and `explain`.
    pub fn in_memory(clock: Clock) -> Result<Self, Error> {
        Self::open(Settings::new(Vec::new()), clock)
    }

    /// Follows the folders until dropped; a task of its own.
    pub async fn follow(&self) {
        reload::follow(Arc::clone(&self.inner)).await;
    }

    /// Why the newest manifests are not in force; the last good set is then.
    pub fn problem(&self) -> wake::Receiver<Option<Arc<manifests::Unreadable>>> {
        self.inner.problem.subscribe()
    }

    pub(super) fn managed_by(&self, manager: &str) -> Self {
        Self { inner: Arc::clone(&self.inner), manager: manager.into() }
    }

    pub(super) fn contact(&self) -> &Contact {
        &self.inner.contact
    }

    pub(super) fn watch<K: Object>(&self, selection: Selection) -> BoxStream<'static, Change<K>> {
        watch::watch(Arc::clone(&self.inner), selection)
    }

    #[expect(clippy::unused_async, reason = "the same face as the API server's")]
    pub(super) async fn get<K: Object>(&self, key: &Key) -> Result<Option<K>, Error> {
        let stored = self.inner.state().get(&Kind::of::<K>(), key);
        stored.map(|stored| typed::<K>(key, stored.object.clone())).transpose()
    }

    pub(super) async fn create<K: Object>(&self, object: &K) -> Result<K, Error> {
        let key = Key::of(object.meta());
        let value = untyped::<K>(&key, object)?;
        self.write::<K>(key, move |write| write.create(value, state::Origin::Written).map(Some)).await
    }

    pub(super) async fn replace<K: Object>(&self, object: &K) -> Result<K, Error> {
        let key = Key::of(object.meta());
        let value = untyped::<K>(&key, object)?;
        self.write::<K>(key, move |write| write.replace(value)).await
    }

    pub(super) async fn apply<K: Object>(&self, key: &Key, intent: &impl Serialize) -> Result<K, Error> {
        let mut value = untyped::<K>(key, intent)?;
        name_object::<K>(&mut value, key);
        let manager = Arc::clone(&self.manager);
        self.write::<K>(key.clone(), move |write| write.apply(&manager, value)).await
    }

    pub(super) async fn replace_status<K: Object>(&self, object: &K) -> Result<K, Error> {
        let key = Key::of(object.meta());
        let mut value = untyped::<K>(&key, object)?;
        let version = object.meta().resource_version.clone();
        let status = value.get_mut("status").map_or(Value::Null, Value::take);
        self.write::<K>(key, move |write| write.status(version.as_deref(), status, false)).await
    }

    pub(super) async fn patch_status<K: Object>(
        &self,
        key: &Key,
        version: Option<&str>,
        status: &impl Serialize,
    ) -> Result<K, Error> {
        let value = untyped::<K>(key, status)?;
        let version = version.map(str::to_owned);
        self.write::<K>(key.clone(), move |write| write.status(version.as_deref(), value, true)).await
    }

    pub(super) async fn delete<K: Object>(&self, key: &Key, preconditions: &Preconditions) -> Result<bool, Error> {
        let (kind, key, preconditions) = (Kind::of::<K>(), key.clone(), preconditions.clone());
        self.inner.run(move |inner| inner.delete(&kind, &key, &preconditions)).await
    }

    #[expect(clippy::unused_async, reason = "the same face as the API server's")]
    pub(super) async fn event(&self, event: events::Event) {
        let events::Event { regarding, severity, reason, action, note } = event;
        let (kind, namespace, name) = (regarding.kind, regarding.namespace, regarding.name);
        tracing::info!(?severity, reason, action, kind, namespace, name, note, "event");
    }

    async fn write<K: Object>(
        &self,
        key: Key,
        decide: impl FnOnce(&Write<'_>) -> Result<Option<Stored>, Error> + Send + 'static,
    ) -> Result<K, Error> {
        let (kind, about) = (Kind::of::<K>(), key.clone());
        let stored = self.inner.run(move |inner| inner.write(&kind, &key, decide)).await?;
        typed::<K>(&about, stored.object.clone())
    }
}

// === impl Inner ===

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a write where blocking on a disk hurts nobody.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        write: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if self.disk.is_none() {
            return write(self);
        }
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || write(&inner)).await.map_err(|_| Error::Closed)?
    }

    /// Decides under the lock, stores on disk, then commits; a failed disk changes nothing.
    fn write(
        &self,
        kind: &Kind,
        key: &Key,
        decide: impl FnOnce(&Write<'_>) -> Result<Option<Stored>, Error>,
    ) -> Result<Arc<Stored>, Error> {
        let stamp = self.stamp()?;
        let mut state = self.state();
        let old = state.get(kind, key);
        let write = Write { kind, key, old: old.as_deref(), stamp: &stamp };
        match (decide(&write)?, old) {
            (Some(mut new), _) => {
                state.number(&mut new);
                if let Some(disk) = &self.disk {
                    disk.write(kind, key, &new)?;
                }
                Ok(state.commit(kind, key, new))
            }
            (None, Some(old)) => Ok(old),
            (None, None) => Err(Error::NotFound { kind: kind.name.clone(), key: key.clone() }),
        }
    }

    fn delete(&self, kind: &Kind, key: &Key, preconditions: &Preconditions) -> Result<bool, Error> {
        let stamp = self.stamp()?;
        let mut state = self.state();
        let Some(old) = state.get(kind, key) else { return Ok(false) };
        Write { kind, key, old: Some(&old), stamp: &stamp }.delete(preconditions)?;
        self.drop_object(&mut state, kind, key)?;
        Ok(true)
    }

    fn drop_object(&self, state: &mut State, kind: &Kind, key: &Key) -> Result<(), Error> {
        if let Some(disk) = &self.disk {
            disk.remove(kind, key)?;
        }
        state.remove(kind, key);
        Ok(())
    }

    fn stamp(&self) -> Result<Stamp, Error> {
        let mut bytes = random::bytes::<16>().map_err(|_| Error::Closed)?;
        // The version and variant of a random UUID (RFC 9562 section 5.4).
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        let parts: Vec<_> =
            [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().filter_map(|part| hex.get(part)).collect();
        Ok(Stamp { now: self.clock.now(), uid: parts.join("-") })
    }
}

fn typed<K: DeserializeOwned + Object>(key: &Key, value: Value) -> Result<K, Error> {
    serde_json::from_value(value).map_err(|error| malformed::<K>(key, &error))
}

fn untyped<K: Object>(key: &Key, content: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(content).map_err(|error| malformed::<K>(key, &error))
}

fn malformed<K: Object>(key: &Key, error: &serde_json::Error) -> Error {
    let message = format!("{:?} error", error.classify());
    Error::Malformed { kind: K::kind(&()).into_owned(), key: key.clone(), message }
}
