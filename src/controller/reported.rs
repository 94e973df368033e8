//! Kinds of which only status is written.
//!
//! Flows in: the objects as they lie in the store, and the Directory's word on them. Flows out: a status write where it
//! differs from what is there, and an Event where acceptance turned.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{ACCEPTED, find, turned};
use super::table::Table;
use super::{During, Failure, Kind, Pace, Queue, Urgency, Writer};
use crate::objects::events::{Event, Severity};
use crate::objects::{Key, Object, Objects, Selection};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;

/// A kind of which only status is written; the turns of [`ACCEPTED`] are urgent and told.
pub trait Reported: Object + PartialEq {
    /// The value of the label `kind`.
    const NAME: &'static str;

    /// `spec.issuer`.
    fn issuer(&self) -> &str;

    /// What is known of its objects besides the Directory's word.
    type Beside: Send + Sync;

    /// The object with the status it should have; `None` while the Directory has another version of it.
    fn reported(&self, key: &Key, known: (&Snapshot, &Self::Beside), now: Timestamp) -> Option<Self>;

    /// Its conditions.
    fn conditions(&self) -> &[Condition];

    /// The objects about which the Directory says something else than before.
    fn affected(now: &Snapshot, before: &Snapshot) -> Vec<Key>;
}

/// The loop's view of such a kind.
pub struct Reports<K: Reported> {
    writer: Writer,
    beside: K::Beside,
    issuer: String,
    clock: Clock,
    snapshot: Live<Snapshot>,
    pace: Pace,
    objects: Mutex<Table<K>>,
}

impl<K: Reported> Reports<K> {
    pub fn new(writer: Writer, issuer: &str, clock: Clock, known: (Live<Snapshot>, K::Beside), pace: Pace) -> Self {
        let (snapshot, beside) = known;
        Self { writer, beside, issuer: issuer.to_owned(), clock, snapshot, pace, objects: Mutex::default() }
    }

    /// Follows the store and the Directory.
    pub async fn follow(
        self: std::sync::Arc<Self>,
        objects: Objects,
        queue: Queue<Key>,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let mut watch = objects.watch::<K>(Selection::all());
        let mut changes = self.snapshot.subscribe();
        let mut before = self.snapshot.load_full();
        while !shutdown.is_requested() {
            let keys = tokio::select! {
                Some(change) = watch.next() => self.table().apply(change).into_iter().map(|step| step.key).collect(),
                () = changes.changed() => {
                    let now = self.snapshot.load_full();
                    let keys = K::affected(&now, &before);
                    before = now;
                    keys
                }
                () = shutdown.requested() => break,
            };
            for key in keys {
                queue.offer(key);
            }
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, old: &K, new: &K) {
        if !turned(old.conditions(), new.conditions(), ACCEPTED) {
            return;
        }
        let Some(condition) = find(new.conditions(), ACCEPTED) else { return };
        let (severity, reason) = match condition.status.as_str() {
            "True" => (Severity::Normal, "Accepted"),
            _ => (Severity::Warning, "NotAccepted"),
        };
        let note = format!("{}: {}", condition.reason, condition.message);
        self.writer.event(Event::about(new, severity, reason, note)).await;
    }
}

impl<K: Reported> Kind for Reports<K> {
    type Key = Key;
    const NAME: &'static str = K::NAME;

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Failure> {
        let now = self.clock.now();
        let object = self.table().get(key).filter(|object| object.issuer() == self.issuer).cloned();
        let Some(object) = object else { return Ok(None) };
        let Some(new) = object.reported(key, (&self.snapshot.load_full(), &self.beside), now) else { return Ok(None) };
        if new == *object {
            return Ok(None);
        }
        let turns = turned(object.conditions(), new.conditions(), ACCEPTED);
        if let Err(later) = self.pace.ask(if turns { Urgency::Ready } else { Urgency::Report }, now) {
            return Ok(Some(later));
        }
        let written = self.writer.replace_status(&new).await.during("write the object's status")?;
        self.tell(&object, &written).await;
        self.table().wrote(&object, written.into());
        Ok(None)
    }
}
