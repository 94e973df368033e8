//! The objects Countersign reads and writes, wherever they lie.
//!
//! Flows in: objects of the API server (`Kube`) or of a folder of manifests and a data folder (`Folder`). Flows out: for
//! each kind a stream of changes that no malformed object stalls, and calls with a deadline and a typed outcome.

mod answers;
mod error;
pub mod events;
pub mod folder;
mod guarded;
pub mod heartbeat;
mod kube_store;
mod kube_watch;
pub mod layout;
pub mod lease;
pub mod revocations;
pub mod witnesses;

use std::fmt::{self, Debug};
use std::sync::Arc;

use countersign_core::names::{NameError, ObjectRef};
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::{Class, Error};
pub use folder::FolderStore;
pub use guarded::Malformed;
pub use kube_store::{KubeStore, Options};

use crate::runtime::contact::Contact;

/// What a kind must be to be stored here: any type of kube or of the api crate.
pub trait Object:
    kube::Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

impl<K> Object for K where
    K: kube::Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

/// Which object of a kind: `namespace/name`, or `name` where the kind is cluster-scoped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
}

impl Key {
    /// An object in a namespace.
    pub fn namespaced(namespace: &str, name: &str) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    /// An object of the cluster.
    pub fn cluster(name: &str) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// Where this metadata says the object lies.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self { namespace: meta.namespace.as_deref().map(Into::into), name: meta.name.as_deref().unwrap_or("").into() }
    }

    /// The same as core's names say it; an error for a cluster-scoped object.
    pub fn object_ref(&self) -> Result<ObjectRef, NameError> {
        ObjectRef::new(self.namespace.as_deref().unwrap_or(""), &self.name)
    }
}

impl From<&ObjectRef> for Key {
    fn from(object: &ObjectRef) -> Self {
        Self::namespaced(object.namespace.as_str(), object.name.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Which namespaces a watch or list covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    All,
    One(String),
}

/// Which objects of a kind a watch or list covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub namespace: Reach,
    /// Labels the objects carry with these values.
    pub labels: Vec<(String, String)>,
    /// Labels the objects do not carry, whatever the value.
    pub without: Vec<String>,
}

impl Selection {
    /// Every object of the kind.
    pub fn all() -> Self {
        Self { namespace: Reach::All, labels: Vec::new(), without: Vec::new() }
    }

    /// Those of one namespace.
    pub fn namespace(namespace: &str) -> Self {
        Self { namespace: Reach::One(namespace.to_owned()), labels: Vec::new(), without: Vec::new() }
    }

    /// Only those that carry this label, too.
    #[must_use]
    pub fn labelled(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Only those that do not carry this label.
    #[must_use]
    pub fn unlabelled(mut self, name: &str) -> Self {
        self.without.push(name.to_owned());
        self
    }

    fn selector(&self) -> Option<String> {
        let with = self.labels.iter().map(|(name, value)| format!("{name}={value}"));
        let terms: Vec<_> = with.chain(self.without.iter().map(|name| format!("!{name}"))).collect();
        (!terms.is_empty()).then(|| terms.join(","))
    }

    fn covers(&self, meta: &ObjectMeta) -> bool {
        let reached = match &self.namespace {
            Reach::All => true,
            Reach::One(namespace) => meta.namespace.as_deref() == Some(namespace),
        };
        let labels = meta.labels.as_ref();
        reached
            && self.labels.iter().all(|(name, value)| labels.and_then(|l| l.get(name)) == Some(value))
            && !self.without.iter().any(|name| labels.is_some_and(|l| l.contains_key(name)))
    }
}

/// One step of a watch. Applied in order, the steps give the store's content.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// A whole listing: those that can be read, then those that cannot. What is in neither is gone.
    Reset(Vec<K>, Vec<Malformed>),
    Apply(K),
    /// The object went, or no longer fits the selection.
    Delete(Deleted<K>),
    /// The object exists and cannot be read. Whoever takes this in decides what that means for an older version of it.
    Malformed(Malformed),
}

impl<K> Change<K> {
    /// The same step, of what `read` makes of the objects.
    #[must_use]
    pub fn map<V>(self, read: impl Fn(K) -> V) -> Change<V> {
        match self {
            Self::Reset(objects, malformed) => Change::Reset(objects.into_iter().map(read).collect(), malformed),
            Self::Apply(object) => Change::Apply(read(object)),
            Self::Delete(Deleted { key, uid, last }) => Change::Delete(Deleted { key, uid, last: last.map(read) }),
            Self::Malformed(malformed) => Change::Malformed(malformed),
        }
    }
}

/// What is known of an object that went.
#[derive(Clone, Debug)]
pub struct Deleted<K> {
    pub key: Key,
    pub uid: Option<String>,
    /// The object as it last was, where it could be read.
    pub last: Option<K>,
}

/// What must hold of an object for its deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl Preconditions {
    /// The object as it was read, unchanged.
    pub fn exactly(meta: &ObjectMeta) -> Self {
        Self { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() }
    }
}

/// Where objects lie. A clone is another handle to the same store.
#[derive(Clone)]
pub enum Objects {
    Kube(KubeStore),
    Folder(FolderStore),
}

macro_rules! either {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Self::Kube($store) => $call,
            Self::Folder($store) => $call,
        }
    };
}

impl Objects {
    /// The same store; writes name this field manager.
    #[must_use]
    pub fn managed_by(&self, manager: &str) -> Self {
        match self {
            Self::Kube(store) => Self::Kube(store.managed_by(manager)),
            Self::Folder(store) => Self::Folder(store.managed_by(manager)),
        }
    }

    /// The changes of a kind, from a first whole listing on, without end. Each watch backs off by itself.
    pub fn watch<K: Object>(&self, selection: Selection) -> BoxStream<'static, Change<K>> {
        self.watch_as(selection, std::convert::identity)
    }

    /// The same of what `read` makes of each object as it arrives: of an API server's listing no more than a page is held as it came.
    pub fn watch_as<K: Object, V: Send + 'static>(
        &self,
        selection: Selection,
        read: impl Fn(K) -> V + Clone + Send + 'static,
    ) -> BoxStream<'static, Change<V>> {
        match self {
            Self::Kube(store) => store.watch(&selection, read),
            Self::Folder(store) => store.watch(selection).map(move |change| change.map(&read)).boxed(),
        }
    }

    /// Whether there may be objects of this kind: an API server has its definition.
    pub async fn serves<K: Object>(&self) -> Result<bool, Error> {
        match self {
            Self::Kube(store) => store.serves::<K>().await,
            Self::Folder(_) => Ok(true),
        }
    }

    /// The object, or `None` where there is none.
    pub async fn get<K: Object>(&self, key: &Key) -> Result<Option<K>, Error> {
        either!(self, store => store.get(key).await)
    }

    /// Creates the object; `AlreadyExists` is a normal outcome.
    pub async fn create<K: Object>(&self, object: &K) -> Result<K, Error> {
        either!(self, store => store.create(object).await)
    }

    /// Replaces the object if it still has the resourceVersion this one carries, else `Conflict`.
    pub async fn replace<K: Object>(&self, object: &K) -> Result<K, Error> {
        require_version(object)?;
        either!(self, store => store.replace(object).await)
    }

    /// Server-side apply, forced: fields this manager set before and that are not in `intent` go. Only for objects the
    /// caller knows to be its own.
    pub async fn apply<K: Object>(&self, key: &Key, intent: &(impl Serialize + Debug + Sync)) -> Result<K, Error> {
        either!(self, store => store.apply(key, intent).await)
    }

    /// Replaces the status if the object still has the resourceVersion this one carries, else `Conflict`.
    pub async fn replace_status<K: Object>(&self, object: &K) -> Result<K, Error> {
        require_version(object)?;
        either!(self, store => store.replace_status(object).await)
    }

    /// Merges `status` (JSON merge patch) into the status; with `version`, only if the object still has it.
    pub async fn patch_status<K: Object>(
        &self,
        key: &Key,
        version: Option<&str>,
        status: &(impl Serialize + Sync),
    ) -> Result<K, Error> {
        either!(self, store => store.patch_status(key, version, status).await)
    }

    /// Deletes the object; `false` where there was none. `Conflict` where a precondition does not hold.
    pub async fn delete<K: Object>(&self, key: &Key, preconditions: &Preconditions) -> Result<bool, Error> {
        either!(self, store => store.delete::<K>(key, preconditions).await)
    }

    /// Tells people what happened to an object; repeats fold into one. Never worth failing for: a failure is logged.
    pub async fn event(&self, event: events::Event) {
        either!(self, store => store.event(event).await);
    }

    /// When the store last answered.
    pub fn contact(&self) -> &Contact {
        either!(self, store => store.contact())
    }
}

fn require_version<K: Object>(object: &K) -> Result<(), Error> {
    if object.meta().resource_version.is_some() {
        return Ok(());
    }
    let message = "a replacement must carry the resourceVersion it was decided on".to_owned();
    Err(Error::Malformed { kind: K::kind(&()).into_owned(), key: Key::of(object.meta()), message })
}
