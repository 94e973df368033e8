//! What the controller wrote for clients, of one kind: Secrets or ConfigMaps.
//!
//! Flows in: changes of a watch of what carries our label, and what our own writes returned. Flows out: the newest version
//! of each, which of them carry whose owner record, and whose clients to look at. Where nothing is watched, what was read by name
//! takes the place of the watch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use countersign_core::names::{Namespace, ObjectRef};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::world::World;
use crate::controller::table::{Step, Table};
use crate::objects::layout::{COUNTERSIGN, Layout, MANAGED_BY, PART, label};
use crate::objects::{Change, Deleted, Key, Object};

/// A kind the controller writes for clients.
pub(super) trait Written: Object {
    /// The objects of this kind.
    fn of(world: &mut World) -> &mut Managed<Self>;
}

/// The objects of one kind.
pub(super) struct Managed<K> {
    objects: Table<K>,
    /// Which of them carry whose owner record.
    owned: HashMap<ObjectRef, BTreeSet<Key>>,
    /// When each was read, where none is watched.
    looked: HashMap<Key, Timestamp>,
}

impl Written for Secret {
    fn of(world: &mut World) -> &mut Managed<Self> {
        &mut world.secrets
    }
}

impl Written for ConfigMap {
    fn of(world: &mut World) -> &mut Managed<Self> {
        &mut world.config_maps
    }
}

/// The metadata to write at a place: these labels and annotations, on the version that is there, if any.
pub(super) fn metadata(
    (namespace, name): (&Namespace, String),
    existing: ObjectMeta,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(namespace.to_string()),
        labels: Some(labels),
        annotations: Some(annotations),
        resource_version: existing.resource_version,
        uid: existing.uid,
        creation_timestamp: existing.creation_timestamp,
        finalizers: existing.finalizers,
        owner_references: existing.owner_references,
        ..ObjectMeta::default()
    }
}

// === impl Managed ===

impl<K> Default for Managed<K> {
    fn default() -> Self {
        Self { objects: Table::default(), owned: HashMap::new(), looked: HashMap::new() }
    }
}

impl<K: Object> Managed<K> {
    /// Of a kind that is not watched: no listing comes.
    pub(super) fn unwatched() -> Self {
        let mut objects = Table::default();
        objects.apply(Change::Reset(Vec::new(), Vec::new()));
        Self { objects, ..Self::default() }
    }

    /// Notes an object as it was read, as a watch of what carries our label would.
    pub(super) fn looked(&mut self, (key, object): (&Key, Option<&Arc<K>>), layout: &Layout, now: Timestamp) {
        self.looked.insert(key.clone(), now);
        let ours = |object: &&Arc<K>| {
            label(object.meta(), MANAGED_BY) == Some(COUNTERSIGN) && label(object.meta(), PART).is_none()
        };
        let change = match object.filter(ours) {
            Some(object) => Change::Apply(K::clone(object)),
            None => Change::Delete(Deleted { key: key.clone(), uid: None, last: None }),
        };
        self.see(change, layout);
    }

    /// When an object was read last.
    pub(super) fn looked_at(&self, key: &Key) -> Option<Timestamp> {
        self.looked.get(key).copied()
    }

    /// Forgets what was read for a client that is gone.
    pub(super) fn forget(&mut self, object: &ObjectRef) {
        for key in self.owned.remove(object).into_iter().flatten() {
            self.looked.remove(&key);
            self.objects.apply(Change::Delete(Deleted { key, uid: None, last: None }));
        }
    }

    /// Takes in a change; tells which clients to look at.
    pub(super) fn see(&mut self, change: Change<K>, layout: &Layout) -> Vec<ObjectRef> {
        let steps = self.objects.apply(change);
        steps.into_iter().flat_map(|step| self.note(&step, layout)).collect()
    }

    fn note(&mut self, step: &Step<K>, layout: &Layout) -> Vec<ObjectRef> {
        let owner = |object: &Option<Arc<K>>| {
            let meta = object.as_ref()?.meta();
            // A copy in another namespace names an owner it does not have.
            layout.owner(meta).filter(|owner| meta.namespace.as_deref() == Some(owner.namespace.as_str()))
        };
        let (old, new) = (owner(&step.old), owner(&step.new));
        if let Some(old) = &old {
            let left = self.owned.get_mut(old).is_some_and(|keys| keys.remove(&step.key) && keys.is_empty());
            if left {
                self.owned.remove(old);
            }
        }
        if let Some(new) = &new {
            self.owned.entry(new.clone()).or_default().insert(step.key.clone());
        }
        [old, new].into_iter().flatten().collect()
    }

    /// The object, if it carries our label.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.objects.get(key).cloned()
    }

    /// Those that carry the client's owner record.
    pub(super) fn owned(&self, object: &ObjectRef) -> Vec<Arc<K>> {
        let keys = self.owned.get(object).into_iter().flatten();
        keys.filter_map(|key| self.get(key)).collect()
    }

    pub(super) fn is_synced(&self) -> bool {
        self.objects.is_synced()
    }

    pub(super) fn wrote(&mut self, base: &K, new: K) {
        self.objects.wrote(base, Arc::new(new));
    }

    pub(super) fn deleted(&mut self, base: &K) {
        self.objects.deleted(base);
    }
}
