//! What the controller wrote for clients, of one kind: Secrets or ConfigMaps.
//!
//! Flows in: changes of a watch of what carries our label, and what our own writes returned. Flows out: the newest version
//! of each, which of them carry whose owner record, and whose clients to look at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use countersign_core::names::ObjectRef;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::world::World;
use crate::controller::table::{Step, Table};
use crate::objects::layout::Layout;
use crate::objects::{Change, Key, Object};

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

// === impl Managed ===

impl<K> Default for Managed<K> {
    fn default() -> Self {
        Self { objects: Table::default(), owned: HashMap::new() }
    }
}

impl<K: Object> Managed<K> {
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
