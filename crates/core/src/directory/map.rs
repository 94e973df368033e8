//! Sorted maps whose copies share what they have in common.
//!
//! Flows in: one change. Flows out: a map that differs in one chunk; the copy before it is untouched. A copy costs one
//! pointer, the first change after it the list of chunks (one for some hundred entries) and one chunk. [`Hashed`] sorts
//! by hash, so that a look-up compares numbers and touches one key.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The most entries of a chunk.
const CHUNK: usize = 256;

/// A persistent sorted map.
#[derive(Clone, Debug)]
pub(crate) struct Ordered<K, V>(Arc<Vec<Chunk<K, V>>>);

#[derive(Clone, Debug)]
struct Chunk<K, V> {
    /// The first key of the chunk.
    first: K,
    /// Never empty.
    entries: Arc<Vec<(K, V)>>,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Ordered<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.iter().eq(other.iter())
    }
}

impl<K, V> Ordered<K, V> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|chunk| chunk.entries.iter().map(|(key, value)| (key, value)))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|chunk| chunk.entries.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry whose key compares equal; `compare` orders a key against the one looked for.
    pub(crate) fn find(&self, compare: impl Fn(&K) -> Ordering) -> Option<(&K, &V)> {
        let chunk = self.0.get(self.chunk_of(&compare))?;
        let at = chunk.entries.binary_search_by(|(key, _)| compare(key)).ok()?;
        chunk.entries.get(at).map(|(key, value)| (key, value))
    }

    /// The entries from the first that is not below what is looked for.
    pub(crate) fn from(&self, compare: impl Fn(&K) -> Ordering) -> impl Iterator<Item = (&K, &V)> {
        let at = self.chunk_of(&compare);
        let chunks = self.0.get(at..).unwrap_or_default();
        let skip = chunks.first().map_or(0, |chunk| chunk.entries.partition_point(|(key, _)| compare(key).is_lt()));
        chunks.iter().flat_map(|chunk| chunk.entries.iter().map(|(key, value)| (key, value))).skip(skip)
    }

    /// The last entry that is not above what is looked for.
    pub(crate) fn floor(&self, compare: impl Fn(&K) -> Ordering) -> Option<(&K, &V)> {
        let entries = &self.0.get(self.chunk_of(&compare))?.entries;
        let above = entries.partition_point(|(key, _)| compare(key).is_le());
        entries.get(above.checked_sub(1)?).map(|(key, value)| (key, value))
    }

    /// The chunk that holds what is looked for, if any does.
    fn chunk_of(&self, compare: &impl Fn(&K) -> Ordering) -> usize {
        self.0.partition_point(|chunk| compare(&chunk.first).is_le()).saturating_sub(1)
    }
}

impl<K: Ord + Clone, V: Clone> Ordered<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(|probe| probe.borrow().cmp(key)).map(|(_, value)| value)
    }

    /// Sets the entry; tells what it was.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_of(&|probe: &K| probe.cmp(&key));
        let chunks = Arc::make_mut(&mut self.0);
        let Some(chunk) = chunks.get_mut(at) else {
            chunks.push(Chunk { first: key.clone(), entries: Arc::new(vec![(key, value)]) });
            return None;
        };
        if key < chunk.first {
            chunk.first = key.clone();
        }
        let entries = Arc::make_mut(&mut chunk.entries);
        match entries.binary_search_by(|(probe, _)| probe.cmp(&key)) {
            Ok(found) => entries.get_mut(found).map(|(_, old)| std::mem::replace(old, value)),
            Err(free) => {
                entries.insert(free, (key, value));
                if entries.len() > CHUNK {
                    let upper = entries.split_off(CHUNK / 2);
                    if let Some((first, _)) = upper.first() {
                        chunks.insert(at + 1, Chunk { first: first.clone(), entries: Arc::new(upper) });
                    }
                }
                None
            }
        }
    }

    /// Removes the entry; tells what it was.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(&|probe: &K| probe.borrow().cmp(key));
        let found = self.0.get(at)?.entries.binary_search_by(|(probe, _)| probe.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.0);
        let chunk = chunks.get_mut(at)?;
        let entries = Arc::make_mut(&mut chunk.entries);
        let (_, value) = entries.remove(found);
        match entries.first() {
            None => {
                chunks.remove(at);
            }
            Some((first, _)) => {
                chunk.first = first.clone();
                if at > 0 && entries.len() < CHUNK / 4 {
                    merge_into_previous(chunks, at);
                }
            }
        }
        Some(value)
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for Ordered<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

fn merge_into_previous<K: Clone, V: Clone>(chunks: &mut Vec<Chunk<K, V>>, at: usize) {
    let [previous, chunk] = chunks.get_mut(at - 1..=at).unwrap_or_default() else { return };
    if previous.entries.len() + chunk.entries.len() <= CHUNK / 2 {
        Arc::make_mut(&mut previous.entries).extend_from_slice(&chunk.entries);
        chunks.remove(at);
    }
}

/// A persistent map sorted by the hash of its keys.
#[derive(Clone, Debug)]
pub(crate) struct Hashed<K, V>(Ordered<(u64, K), V>);

impl<K, V> Default for Hashed<K, V> {
    fn default() -> Self {
        Self(Ordered::default())
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Hashed<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Ord + Clone + Borrow<str>, V: Clone> Hashed<K, V> {
    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        let hash = hash(key);
        self.0.find(|(probe, found)| probe.cmp(&hash).then_with(|| found.borrow().cmp(key))).map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert((hash(key.borrow()), key), value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(&(hash(key.borrow()), key.clone()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|((_, key), value)| (key, value))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_map_holds_what_a_sorted_map_holds(steps in prop::collection::vec((any::<bool>(), 0u32..1500), 0..3000), from in 0u32..1500) {
            let (mut map, mut model) = (Ordered::default(), BTreeMap::new());
            for (step, (add, key)) in steps.into_iter().enumerate() {
                if add {
                    prop_assert_eq!(map.insert(key, step), model.insert(key, step));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
            }
            prop_assert!(map.iter().eq(model.iter()));
            prop_assert_eq!(map.len(), model.len());
            prop_assert!(map.from(|key| key.cmp(&from)).eq(model.range(from..)));
            prop_assert_eq!(map.floor(|key| key.cmp(&from)), model.range(..=from).next_back());
            prop_assert!((0..1500).all(|key| map.get(&key) == model.get(&key)));
        }
    }

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut map = Hashed::default();
        map.insert("a".to_owned(), 1);
        let copy = map.clone();
        map.insert("a".to_owned(), 2);
        map.insert("b".to_owned(), 3);
        assert_eq!((copy.get("a"), copy.get("b"), map.get("a")), (Some(&1), None, Some(&2)));
        assert_eq!((map.remove(&"a".to_owned()), map.len()), (Some(2), 1));
    }
}
