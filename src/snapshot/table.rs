//! The objects of one watch, each converted once, when it arrives.
//!
//! Flows in: the changes of a watch. Flows out: what really differs, as core's values. Status writes, relistings and
//! labels nobody reads end here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::objects::{Change, Key, Malformed, Object};

/// Why an object is kept out, by kind and key.
pub type Refused = BTreeMap<(&'static str, Key), Malformed>;

/// What came of one object: its value now, `None` where it is no longer.
pub(super) type Row<T> = (Key, Option<Arc<T>>);

/// What a conversion gives: a value, nothing where the object is not ours, or what is wrong.
pub(super) type Converted<T> = Result<Option<T>, String>;

/// The values of one watch.
pub(super) struct Table<T> {
    kind: &'static str,
    rows: HashMap<Key, Arc<T>>,
}

impl<T: PartialEq> Table<T> {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, rows: HashMap::new() }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.rows.values()
    }

    /// The values as they are now, by key.
    pub(super) fn rows(&self) -> HashMap<Key, Arc<T>> {
        self.rows.clone()
    }

    /// Takes in a change. The conversion sees the value it replaces.
    pub(super) fn take<K: Object>(
        &mut self,
        change: Change<K>,
        refused: &mut Refused,
        convert: impl Fn(&K, Option<&T>) -> Converted<T>,
    ) -> Vec<Row<T>> {
        match change {
            Change::Apply(object) => self.set(&object, refused, &convert).into_iter().collect(),
            Change::Delete(gone) => {
                refused.remove(&(self.kind, gone.key.clone()));
                self.remove(gone.key).into_iter().collect()
            }
            Change::Malformed(malformed) => self.refuse(malformed, refused).into_iter().collect(),
            Change::Reset(objects) => {
                refused.retain(|(kind, _), _| *kind != self.kind);
                let mut gone: HashSet<_> = self.rows.keys().cloned().collect();
                let mut rows = Vec::new();
                for object in &objects {
                    gone.remove(&Key::of(object.meta()));
                    rows.extend(self.set(object, refused, &convert));
                }
                rows.extend(gone.into_iter().filter_map(|key| self.remove(key)));
                rows
            }
        }
    }

    fn set<K: Object>(
        &mut self,
        object: &K,
        refused: &mut Refused,
        convert: &impl Fn(&K, Option<&T>) -> Converted<T>,
    ) -> Option<Row<T>> {
        let key = Key::of(object.meta());
        let old = self.rows.get(&key);
        match convert(object, old.map(AsRef::as_ref)) {
            Ok(Some(new)) => {
                refused.remove(&(self.kind, key.clone()));
                if old.is_some_and(|old| **old == new) {
                    return None;
                }
                let new = Arc::new(new);
                self.rows.insert(key.clone(), Arc::clone(&new));
                Some((key, Some(new)))
            }
            Ok(None) => {
                refused.remove(&(self.kind, key.clone()));
                self.remove(key)
            }
            Err(error) => {
                let meta = object.meta();
                let (uid, generation) = (meta.uid.clone(), meta.generation);
                self.refuse(Malformed { key, uid, generation, error }, refused)
            }
        }
    }

    fn refuse(&mut self, malformed: Malformed, refused: &mut Refused) -> Option<Row<T>> {
        tracing::warn!(kind = self.kind, object = %malformed.key, error = malformed.error, "an object cannot be read and is left out");
        let key = malformed.key.clone();
        refused.insert((self.kind, key.clone()), malformed);
        self.remove(key)
    }

    fn remove(&mut self, key: Key) -> Option<Row<T>> {
        self.rows.remove(&key).map(|_| (key, None))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn map(name: &str, value: &str) -> ConfigMap {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        ConfigMap { metadata, data: Some([("v".to_owned(), value.to_owned())].into()), ..ConfigMap::default() }
    }

    fn value(map: &ConfigMap, _: Option<&String>) -> Converted<String> {
        match map.data.as_ref().unwrap()["v"].as_str() {
            "bad" => Err("is bad".to_owned()),
            "foreign" => Ok(None),
            text => Ok(Some(text.to_owned())),
        }
    }

    #[test]
    fn only_what_differs_comes_out_and_what_cannot_be_read_is_kept_out() {
        let (mut table, mut refused) = (Table::<String>::new("ConfigMap"), Refused::new());
        let mut take = |change| {
            let mut rows: Vec<_> = table
                .take(change, &mut refused, value)
                .into_iter()
                .map(|(key, value)| format!("{key}={}", value.map_or("gone".to_owned(), |value| value.to_string())))
                .collect();
            rows.sort();
            (rows.join(" "), refused.len())
        };
        for (change, rows, refused) in [
            (Change::Reset(vec![map("a", "1"), map("b", "1"), map("c", "bad"), map("d", "foreign")]), "a=1 b=1", 1),
            (Change::Apply(map("a", "1")), "", 1),
            (Change::Apply(map("a", "bad")), "a=gone", 2),
            (Change::Apply(map("a", "2")), "a=2", 1),
            (Change::Apply(map("b", "foreign")), "b=gone", 1),
            (Change::Reset(vec![map("e", "1")]), "a=gone e=1", 0),
        ] {
            assert_eq!(take(change), (rows.to_owned(), refused));
        }
    }
}
