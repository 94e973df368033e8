//! The objects of one watch, each converted once, when it arrives.
//!
//! Flows in: the changes of a watch, as core's values already. Flows out: what really differs. Status writes, relistings and
//! labels nobody reads end here. What an object that cannot be read counts as is its kind's to say (`unreadable.rs`);
//! what it was last is remembered until it is gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::objects::{Change, Key, Malformed, Object};

/// Which objects cannot be read, and why, by kind and key.
pub type Refused = BTreeMap<(&'static str, Key), Malformed>;

/// What came of one object: its value now, `None` where it is no longer.
pub(super) type Row<T> = (Key, Option<Arc<T>>);

/// What a conversion gives: a value, nothing where the object is not ours, or what is wrong.
pub(super) type Converted<T> = Result<Option<T>, String>;

/// An object as its table takes it in: which one it is, and what it was converted to.
#[derive(Clone, Debug)]
pub(super) struct Read<T> {
    key: Key,
    uid: Option<String>,
    generation: Option<i64>,
    value: Converted<T>,
}

impl<T> Read<T> {
    pub(super) fn of(object: &impl Object, value: Converted<T>) -> Self {
        let meta = object.meta();
        Self { key: Key::of(meta), uid: meta.uid.clone(), generation: meta.generation, value }
    }
}

/// The values of one watch.
pub(super) struct Table<T> {
    kind: &'static str,
    rows: HashMap<Key, Held<T>>,
}

struct Held<T> {
    uid: Option<String>,
    value: Arc<T>,
    /// Not while it only remembers what an object was that cannot be read now.
    counts: bool,
}

impl<T: PartialEq> Table<T> {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, rows: HashMap::new() }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.rows.values().filter(|held| held.counts).map(|held| &held.value)
    }

    /// The values as they are now, by key.
    pub(super) fn rows(&self) -> HashMap<Key, Arc<T>> {
        let counting = self.rows.iter().filter(|(_, held)| held.counts);
        counting.map(|(key, held)| (key.clone(), Arc::clone(&held.value))).collect()
    }

    /// Takes in a change. `keep` says what of the old value stays in the new one. `unread` says what an object that cannot be
    /// read counts as; `None`: as if it were not there. Both see what the object, of the same UID, was last.
    pub(super) fn take(
        &mut self,
        change: Change<Read<T>>,
        refused: &mut Refused,
        keep: impl Fn(&mut T, &T),
        unread: impl Fn(&Malformed, Option<&Arc<T>>) -> Option<Arc<T>>,
    ) -> Vec<Row<T>> {
        match change {
            Change::Apply(object) => self.set(object, refused, &keep, &unread).into_iter().collect(),
            Change::Delete(gone) => {
                refused.remove(&(self.kind, gone.key.clone()));
                self.remove(gone.key).into_iter().collect()
            }
            Change::Malformed(malformed) => self.refuse(malformed, refused, &unread).into_iter().collect(),
            Change::Reset(objects, malformed) => {
                refused.retain(|(kind, _), _| *kind != self.kind);
                let mut gone: HashSet<_> = self.rows.keys().cloned().collect();
                let mut rows = Vec::new();
                for object in objects {
                    gone.remove(&object.key);
                    rows.extend(self.set(object, refused, &keep, &unread));
                }
                for malformed in malformed {
                    gone.remove(&malformed.key);
                    rows.extend(self.refuse(malformed, refused, &unread));
                }
                rows.extend(gone.into_iter().filter_map(|key| self.remove(key)));
                rows
            }
        }
    }

    fn set(
        &mut self,
        Read { key, uid, generation, value }: Read<T>,
        refused: &mut Refused,
        keep: &impl Fn(&mut T, &T),
        unread: &impl Fn(&Malformed, Option<&Arc<T>>) -> Option<Arc<T>>,
    ) -> Option<Row<T>> {
        match value {
            Ok(Some(mut new)) => {
                refused.remove(&(self.kind, key.clone()));
                if let Some(old) = self.last(&key, uid.as_ref()) {
                    keep(&mut new, old);
                }
                self.hold(key, Held { uid, value: Arc::new(new), counts: true })
            }
            Ok(None) => {
                refused.remove(&(self.kind, key.clone()));
                self.remove(key)
            }
            Err(error) => {
                let malformed = Malformed { key, uid, generation, error, body: None };
                self.refuse(malformed, refused, unread)
            }
        }
    }

    fn refuse(
        &mut self,
        malformed: Malformed,
        refused: &mut Refused,
        unread: &impl Fn(&Malformed, Option<&Arc<T>>) -> Option<Arc<T>>,
    ) -> Option<Row<T>> {
        let (key, uid) = (malformed.key.clone(), malformed.uid.clone());
        let stand_in = unread(&malformed, self.last(&key, uid.as_ref()));
        let (error, counts) = (&malformed.error, stand_in.is_some());
        tracing::warn!(kind = self.kind, object = %key, error, replaced = counts, "an object cannot be read");
        refused.insert((self.kind, key.clone()), malformed);
        if let Some(value) = stand_in {
            return self.hold(key, Held { uid, value, counts });
        }
        if self.last(&key, uid.as_ref()).is_none() {
            return self.remove(key);
        }
        let held = self.rows.get_mut(&key)?;
        std::mem::take(&mut held.counts).then_some((key, None))
    }

    /// What the object was last, if it is the same one.
    fn last(&self, key: &Key, uid: Option<&String>) -> Option<&Arc<T>> {
        self.rows.get(key).filter(|held| held.uid.as_ref() == uid).map(|held| &held.value)
    }

    fn hold(&mut self, key: Key, new: Held<T>) -> Option<Row<T>> {
        let value = Arc::clone(&new.value);
        let old = self.rows.insert(key.clone(), new);
        let same = old.is_some_and(|old| old.counts && *old.value == *value);
        (!same).then_some((key, Some(value)))
    }

    fn remove(&mut self, key: Key) -> Option<Row<T>> {
        self.rows.remove(&key).filter(|held| held.counts).map(|_| (key, None))
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

    fn malformed(name: &str, uid: Option<&str>) -> Malformed {
        let (key, uid) = (Key::cluster(name), uid.map(str::to_owned));
        Malformed { key, uid, generation: None, error: "is bad".to_owned(), body: None }
    }

    fn value(map: &ConfigMap) -> Read<String> {
        let value = match map.data.as_ref().unwrap()["v"].as_str() {
            "bad" => Err("is bad".to_owned()),
            "foreign" => Ok(None),
            text => Ok(Some(text.to_owned())),
        };
        Read::of(map, value)
    }

    #[test]
    fn only_what_differs_comes_out_and_what_cannot_be_read_is_kept_out() {
        let (mut table, mut refused) = (Table::<String>::new("ConfigMap"), Refused::new());
        let mut take = |change: Change<ConfigMap>| {
            let mut rows: Vec<_> = table
                .take(change.map(|map| value(&map)), &mut refused, |_, _| {}, |_, _| None)
                .into_iter()
                .map(|(key, value)| format!("{key}={}", value.map_or("gone".to_owned(), |value| value.to_string())))
                .collect();
            rows.sort();
            (rows.join(" "), refused.len())
        };
        for (change, rows, refused) in [
            (
                Change::Reset(
                    vec![map("a", "1"), map("b", "1"), map("c", "bad"), map("d", "foreign")],
                    vec![malformed("e", None)],
                ),
                "a=1 b=1",
                2,
            ),
            (Change::Apply(map("a", "1")), "", 2),
            (Change::Apply(map("a", "bad")), "a=gone", 3),
            (Change::Malformed(malformed("a", None)), "", 3),
            (Change::Apply(map("a", "2")), "a=2", 2),
            (Change::Apply(map("b", "foreign")), "b=gone", 2),
            (Change::Reset(vec![map("e", "1")], Vec::new()), "a=gone e=1", 0),
        ] {
            assert_eq!(take(change), (rows.to_owned(), refused));
        }
    }

    #[test]
    fn what_an_object_was_is_remembered_while_it_cannot_be_read_and_no_longer_than_the_same_object_is_there() {
        let (mut table, mut refused) = (Table::<String>::new("ConfigMap"), Refused::new());
        let with_uid = |value: &str, uid: &str| {
            let mut map = map("a", value);
            map.metadata.uid = Some(uid.to_owned());
            map
        };
        let longest = |new: &mut String, old: &String| {
            if old.len() > new.len() {
                new.clone_from(old);
            }
        };
        let unread = |malformed: &Malformed, last: Option<&Arc<String>>| {
            if malformed.error == "dropped" { None } else { last.cloned() }
        };
        let mut take = |change: Change<ConfigMap>| {
            let rows = table.take(change.map(|map| value(&map)), &mut refused, longest, unread);
            let rows: Vec<_> = rows.into_iter().map(|(_, value)| value.map(|value| value.to_string())).collect();
            (rows, table.values().count())
        };
        let dropped = |uid| Malformed { error: "dropped".to_owned(), ..malformed("a", Some(uid)) };
        let is = |value: &str| Some(value.to_owned());
        for (change, rows, counting) in [
            (Change::Apply(with_uid("long", "1")), vec![is("long")], 1),
            (Change::Malformed(malformed("a", Some("1"))), vec![], 1),
            (Change::Reset(Vec::new(), vec![malformed("a", Some("1"))]), vec![], 1),
            (Change::Malformed(dropped("1")), vec![None], 0),
            (Change::Malformed(dropped("1")), vec![], 0),
            (Change::Apply(with_uid("s", "1")), vec![is("long")], 1),
            (Change::Malformed(dropped("1")), vec![None], 0),
            (Change::Malformed(malformed("a", Some("1"))), vec![is("long")], 1),
            (Change::Malformed(malformed("a", Some("2"))), vec![None], 0),
            (Change::Apply(with_uid("s", "2")), vec![is("s")], 1),
            (Change::Apply(with_uid("t", "3")), vec![is("t")], 1),
            (Change::Reset(Vec::new(), Vec::new()), vec![None], 0),
        ] {
            assert_eq!(take(change.clone()), (rows, counting), "{change:?}");
        }
    }
}
