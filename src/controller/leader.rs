//! Whether this process may write, asked before each write.
//!
//! Flows in: the elector's word, or a plain yes where there is but one process. Flows out: `Writer`, through which every
//! write of the controller goes, so that none can forget to ask.

use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::Serialize;

use crate::objects::events::Event;
use crate::objects::lease::Leadership;
use crate::objects::{Error, Key, Object, Objects, Preconditions};

/// Says whether this process leads at this moment.
#[derive(Clone)]
pub struct Gate(Arc<dyn Fn() -> bool + Send + Sync>);

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("another process leads")]
    NotLeader,
    #[error(transparent)]
    Store(#[from] Error),
}

/// Reads freely, writes only while this process leads.
#[derive(Clone)]
pub struct Writer {
    objects: Objects,
    gate: Gate,
}

// === impl Gate ===

impl Gate {
    /// Asks `leads` before each write.
    pub fn new(leads: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(leads))
    }

    /// There is but one process.
    pub fn always() -> Self {
        Self::new(|| true)
    }

    /// Whether this process leads at this moment.
    pub fn is_open(&self) -> bool {
        (self.0)()
    }

    fn pass(&self) -> Result<(), WriteError> {
        if self.is_open() { Ok(()) } else { Err(WriteError::NotLeader) }
    }
}

impl From<Leadership> for Gate {
    fn from(leadership: Leadership) -> Self {
        Self::new(move || leadership.is_leader_now())
    }
}

impl Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate(open: {})", self.is_open())
    }
}

// === impl WriteError ===

impl WriteError {
    /// Whether another writer was first, so that the next look decides anew.
    pub fn lost_a_race(&self) -> bool {
        matches!(self, Self::Store(error) if error.lost_a_race())
    }
}

// === impl Writer ===

impl Writer {
    pub fn new(objects: &Objects, gate: Gate, manager: &str) -> Self {
        Self { objects: objects.managed_by(manager), gate }
    }

    /// Whether a write would be let through at this moment; for writes that go another way.
    pub fn may_write(&self) -> bool {
        self.gate.is_open()
    }

    /// The object, or `None` where there is none.
    pub async fn get<K: Object>(&self, key: &Key) -> Result<Option<K>, Error> {
        self.objects.get(key).await
    }

    /// Creates the object; `AlreadyExists` is a normal outcome.
    pub async fn create<K: Object>(&self, object: &K) -> Result<K, WriteError> {
        self.gate.pass()?;
        Ok(self.objects.create(object).await?)
    }

    /// Replaces the object if it still has the resourceVersion this one carries.
    pub async fn replace<K: Object>(&self, object: &K) -> Result<K, WriteError> {
        self.gate.pass()?;
        Ok(self.objects.replace(object).await?)
    }

    /// Server-side apply; only of an object that is there, and of fields that are this writer's own.
    pub async fn apply<K: Object>(&self, key: &Key, intent: &(impl Serialize + Debug + Sync)) -> Result<K, WriteError> {
        self.gate.pass()?;
        Ok(self.objects.apply(key, intent).await?)
    }

    /// Merges into the status if the object still has this version.
    pub async fn patch_status<K: Object>(
        &self,
        key: &Key,
        version: Option<&str>,
        status: &(impl Serialize + Sync),
    ) -> Result<K, WriteError> {
        self.gate.pass()?;
        Ok(self.objects.patch_status(key, version, status).await?)
    }

    /// Replaces the whole status if the object still has the resourceVersion this one carries.
    pub async fn replace_status<K: Object>(&self, object: &K) -> Result<K, WriteError> {
        self.gate.pass()?;
        Ok(self.objects.replace_status(object).await?)
    }

    /// Deletes the object; `false` where there was none.
    pub async fn delete<K: Object>(&self, key: &Key, preconditions: &Preconditions) -> Result<bool, WriteError> {
        self.gate.pass()?;
        Ok(self.objects.delete::<K>(key, preconditions).await?)
    }

    /// Tells people what happened; a failure is logged, nothing more.
    pub async fn event(&self, event: Event) {
        if self.gate.is_open() {
            self.objects.event(event).await;
        }
    }
}
