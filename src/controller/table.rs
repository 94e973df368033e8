//! Objects of one kind as the watch has them.
//!
//! Flows in: changes of a watch, and the objects our own writes returned. Flows out: for each key the newest version
//! known here, and what each change did. What we wrote counts until the watch moves on, so that nothing is decided twice
//! on a version we know to be past.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt;

use crate::objects::{Change, Key, Malformed, Object};

/// The objects of one kind.
pub(crate) struct Table<K> {
    rows: HashMap<Key, Row<K>>,
    /// There, and not readable.
    malformed: HashSet<Key>,
    synced: bool,
}

struct Row<K> {
    watched: Arc<K>,
    /// What a write of ours made of it.
    wrote: Option<Arc<K>>,
}

/// What one change did to one object.
pub(crate) struct Step<K> {
    pub(crate) key: Key,
    pub(crate) old: Option<Arc<K>>,
    pub(crate) new: Option<Arc<K>>,
    /// Why it cannot be read.
    pub(crate) malformed: Option<Malformed>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { rows: HashMap::new(), malformed: HashSet::new(), synced: false }
    }
}

impl<K: Object> Table<K> {
    /// Takes in a change.
    pub(crate) fn apply(&mut self, change: Change<K>) -> Vec<Step<K>> {
        match change {
            Change::Reset(objects) => self.reset(objects),
            Change::Apply(object) => vec![self.set(object)],
            Change::Delete(gone) => {
                self.malformed.remove(&gone.key);
                let old = self.rows.remove(&gone.key).map(|row| row.watched).or(gone.last.map(Arc::new));
                vec![Step { key: gone.key, old, new: None, malformed: None }]
            }
            Change::Malformed(malformed) => {
                let key = malformed.key.clone();
                self.malformed.insert(key.clone());
                let old = self.rows.remove(&key).map(|row| row.watched);
                vec![Step { key, old, new: None, malformed: Some(malformed) }]
            }
        }
    }

    fn reset(&mut self, objects: Vec<K>) -> Vec<Step<K>> {
        self.synced = true;
        self.malformed.clear();
        let mut gone: HashSet<_> = self.rows.keys().cloned().collect();
        let mut steps: Vec<_> = objects.into_iter().map(|object| self.set(object)).collect();
        for step in &steps {
            gone.remove(&step.key);
        }
        steps.extend(gone.into_iter().map(|key| {
            let old = self.rows.remove(&key).map(|row| row.watched);
            Step { key, old, new: None, malformed: None }
        }));
        steps
    }

    fn set(&mut self, object: K) -> Step<K> {
        let (key, new) = (Key::of(object.meta()), Arc::new(object));
        self.malformed.remove(&key);
        let row = Row { watched: Arc::clone(&new), wrote: None };
        let old = self.rows.insert(key.clone(), row).map(|row| row.watched);
        Step { key, old, new: Some(new), malformed: None }
    }

    /// The newest version known.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.rows.get(key).map(|row| row.wrote.as_ref().unwrap_or(&row.watched))
    }

    /// Notes what a write of ours made of `base`; forgotten at once if the watch is past that already.
    pub(crate) fn wrote(&mut self, base: &K, new: Arc<K>) {
        if let Some(row) = self.rows.get_mut(&Key::of(base.meta())) {
            let known = row.wrote.as_ref().unwrap_or(&row.watched);
            if known.resource_version() == base.resource_version() {
                row.wrote = Some(new);
            }
        }
    }

    /// Notes that we deleted `base`; not if the watch has another version by now.
    pub(crate) fn deleted(&mut self, base: &K) {
        let key = Key::of(base.meta());
        if self.get(&key).is_some_and(|known| known.resource_version() == base.resource_version()) {
            self.rows.remove(&key);
        }
    }

    /// Whether the object is there but cannot be read.
    pub(crate) fn is_malformed(&self, key: &Key) -> bool {
        self.malformed.contains(key)
    }

    /// Whether the first whole listing has come.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn map(name: &str, version: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn version(table: &Table<ConfigMap>, name: &str) -> Option<String> {
        table.get(&Key::namespaced("shop", name)).and_then(|map| map.resource_version())
    }

    #[test]
    fn our_write_counts_until_the_watch_moves_on() {
        let mut table = Table::default();
        table.apply(Change::Reset(vec![map("a", "1")]));
        table.wrote(&map("a", "1"), Arc::new(map("a", "2")));
        assert_eq!(version(&table, "a").as_deref(), Some("2"));
        table.wrote(&map("a", "2"), Arc::new(map("a", "3")));
        assert_eq!(version(&table, "a").as_deref(), Some("3"));
        table.apply(Change::Apply(map("a", "4")));
        table.wrote(&map("a", "3"), Arc::new(map("a", "5")));
        assert_eq!(version(&table, "a").as_deref(), Some("4"), "the watch was past it");
    }

    #[test]
    fn what_we_deleted_is_gone_before_the_watch_says_so() {
        let mut table = Table::default();
        table.apply(Change::Reset(vec![map("a", "1"), map("b", "2")]));
        table.deleted(&map("a", "1"));
        table.deleted(&map("b", "1"));
        assert_eq!((version(&table, "a"), version(&table, "b").as_deref()), (None, Some("2")));
    }

    #[test]
    fn a_new_listing_tells_what_went_meanwhile() {
        let mut table = Table::default();
        assert!(!table.is_synced());
        table.apply(Change::Reset(vec![map("a", "1"), map("b", "1")]));
        let steps = table.apply(Change::Reset(vec![map("b", "2"), map("c", "2")]));
        let gone: Vec<_> = steps.iter().filter(|step| step.new.is_none()).map(|step| step.key.to_string()).collect();
        assert_eq!((gone, table.is_synced()), (vec!["shop/a".to_owned()], true));
    }

    #[test]
    fn what_cannot_be_read_is_there_all_the_same() {
        let mut table = Table::default();
        table.apply(Change::Reset(vec![map("a", "1")]));
        let key = Key::namespaced("shop", "a");
        let malformed = Malformed { key: key.clone(), uid: None, generation: None, error: "x".to_owned() };
        let steps = table.apply(Change::Malformed(malformed));
        assert!(steps[0].malformed.is_some() && table.is_malformed(&key) && table.get(&key).is_none());
        table.apply(Change::Apply(map("a", "2")));
        assert!(!table.is_malformed(&key));
    }
}
