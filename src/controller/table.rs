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
    /// There, and not readable; with what it was when it last could be read.
    malformed: HashMap<Key, Option<Arc<K>>>,
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
        Self { rows: HashMap::new(), malformed: HashMap::new(), synced: false }
    }
}

impl<K: Object> Table<K> {
    /// Takes in a change.
    pub(crate) fn apply(&mut self, change: Change<K>) -> Vec<Step<K>> {
        match change {
            Change::Reset(objects, malformed) => self.reset(objects, malformed),
            Change::Apply(object) => vec![self.set(object)],
            Change::Delete(gone) => {
                let old = self.newest(&gone.key).or(gone.last.map(Arc::new));
                vec![Step { key: gone.key, old, new: None, malformed: None }]
            }
            Change::Malformed(malformed) => vec![self.refuse(malformed)],
        }
    }

    fn reset(&mut self, objects: Vec<K>, malformed: Vec<Malformed>) -> Vec<Step<K>> {
        self.synced = true;
        let mut gone: HashSet<_> = self.rows.keys().chain(self.malformed.keys()).cloned().collect();
        let mut steps: Vec<_> = objects.into_iter().map(|object| self.set(object)).collect();
        steps.extend(malformed.into_iter().map(|malformed| self.refuse(malformed)));
        for step in &steps {
            gone.remove(&step.key);
        }
        steps.extend(gone.into_iter().map(|key| {
            let old = self.newest(&key);
            Step { key, old, new: None, malformed: None }
        }));
        steps
    }

    fn set(&mut self, object: K) -> Step<K> {
        let (key, new) = (Key::of(object.meta()), Arc::new(object));
        // In the place of one that went, it is what became of that one.
        let is_another = self.get(&key).is_some_and(|known| known.meta().uid != new.meta().uid);
        let old = if is_another { self.newest(&key) } else { self.last(&key) };
        self.rows.insert(key.clone(), Row { watched: Arc::clone(&new), wrote: None });
        Step { key, old, new: Some(new), malformed: None }
    }

    fn refuse(&mut self, malformed: Malformed) -> Step<K> {
        let key = malformed.key.clone();
        let old = self.last(&key);
        self.malformed.insert(key.clone(), old.clone());
        Step { key, old, new: None, malformed: Some(malformed) }
    }

    /// Takes out an object that is gone as it last was, by a write of ours too: whatever follows from its end must not rest on
    /// a version that we know to be past.
    fn newest(&mut self, key: &Key) -> Option<Arc<K>> {
        let wrote = self.rows.get_mut(key).and_then(|row| row.wrote.take());
        let watched = self.last(key);
        wrote.or(watched)
    }

    /// Takes out the object as it was when it last could be read.
    fn last(&mut self, key: &Key) -> Option<Arc<K>> {
        let unread = self.malformed.remove(key).flatten();
        self.rows.remove(key).map(|row| row.watched).or(unread)
    }

    /// The newest version known.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.rows.get(key).map(|row| row.wrote.as_ref().unwrap_or(&row.watched))
    }

    /// The newest version known of each; `None` while one of them cannot be read.
    pub(crate) fn all(&self) -> Option<impl Iterator<Item = &Arc<K>>> {
        self.malformed.is_empty().then(|| self.rows.values().map(|row| row.wrote.as_ref().unwrap_or(&row.watched)))
    }

    /// The newest version known of each that can be read.
    pub(crate) fn readable(&self) -> impl Iterator<Item = &Arc<K>> {
        self.rows.values().map(|row| row.wrote.as_ref().unwrap_or(&row.watched))
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
        self.malformed.contains_key(key)
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
    use crate::objects::Deleted;

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
        table.apply(Change::Reset(vec![map("a", "1")], Vec::new()));
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
        table.apply(Change::Reset(vec![map("a", "1"), map("b", "2")], Vec::new()));
        table.deleted(&map("a", "1"));
        table.deleted(&map("b", "1"));
        assert_eq!((version(&table, "a"), version(&table, "b").as_deref()), (None, Some("2")));
    }

    #[test]
    fn what_is_gone_is_told_as_our_last_write_left_it() {
        let gone = Deleted { key: Key::namespaced("shop", "a"), uid: None, last: Some(map("a", "3")) };
        for end in [Change::Reset(Vec::new(), Vec::new()), Change::Delete(gone)] {
            let mut table = Table::default();
            table.apply(Change::Reset(vec![map("a", "1")], Vec::new()));
            table.wrote(&map("a", "1"), Arc::new(map("a", "2")));
            let steps = table.apply(end);
            let old: Vec<_> = steps.iter().filter_map(|step| step.old.as_ref()?.resource_version()).collect();
            assert_eq!((old, version(&table, "a")), (vec!["2".to_owned()], None));
        }
    }

    #[test]
    fn a_new_listing_tells_what_went_meanwhile() {
        let mut table = Table::default();
        assert!(!table.is_synced());
        table.apply(Change::Reset(vec![map("a", "1"), map("b", "1")], Vec::new()));
        let steps = table.apply(Change::Reset(vec![map("b", "2"), map("c", "2")], Vec::new()));
        let gone: Vec<_> = steps.iter().filter(|step| step.new.is_none()).map(|step| step.key.to_string()).collect();
        assert_eq!((gone, table.is_synced()), (vec!["shop/a".to_owned()], true));
    }

    #[test]
    fn what_cannot_be_read_is_there_all_the_same() {
        let mut table = Table::default();
        table.apply(Change::Reset(vec![map("a", "1")], Vec::new()));
        let key = Key::namespaced("shop", "a");
        let malformed = Malformed { key: key.clone(), uid: None, generation: None, error: "x".to_owned(), body: None };
        let steps = table.apply(Change::Malformed(malformed));
        assert!(steps[0].malformed.is_some() && table.is_malformed(&key) && table.get(&key).is_none());
        table.apply(Change::Apply(map("a", "2")));
        assert!(!table.is_malformed(&key));
    }

    #[test]
    fn what_goes_while_it_cannot_be_read_goes_as_it_last_was() {
        let key = Key::namespaced("shop", "a");
        let unread = || Malformed { key: key.clone(), uid: None, generation: None, error: "x".to_owned(), body: None };
        let deleted = Change::Delete(Deleted { key: key.clone(), uid: None, last: None });
        for end in [deleted, Change::Reset(Vec::new(), Vec::new())] {
            let mut table = Table::default();
            table.apply(Change::Reset(vec![map("a", "1")], Vec::new()));
            table.apply(Change::Malformed(unread()));
            table.apply(Change::Reset(Vec::new(), vec![unread()]));
            let steps = table.apply(end);
            let old = steps[0].old.as_ref().and_then(|old| old.resource_version());
            assert_eq!((old.as_deref(), steps[0].new.is_none(), table.is_malformed(&key)), (Some("1"), true, false));
        }
    }
}
