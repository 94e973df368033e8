//! Sorted maps whose copies share what they have in common.
//!
//! Flows in: one change. Flows out: a map that differs in the few nodes on the way to one entry; the copy before it is
//! untouched. A copy costs one pointer. [`Hashed`] sorts by hash, so that a look-up compares numbers and touches one key.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::slice;
use std::sync::Arc;

/// The most entries of a node: few, since a change copies a node on every level.
const WIDTH: usize = 32;

/// A persistent sorted map: a B-tree whose leaves all lie at the same depth.
#[derive(Clone, Debug)]
pub(crate) struct Ordered<K, V>(Arc<Node<K, V>>);

#[derive(Clone, Debug)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// Nodes that are not empty, each with its first key.
    Branch(Vec<Child<K, V>>),
}

type Child<K, V> = (K, Arc<Node<K, V>>);

/// Entries from some point on.
pub(crate) struct Iter<'a, K, V> {
    leaf: slice::Iter<'a, (K, V)>,
    /// What follows on each level above, the deepest last.
    rest: Vec<slice::Iter<'a, Child<K, V>>>,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self(Arc::new(Node::Leaf(Vec::new())))
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Ordered<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.iter().eq(other.iter())
    }
}

// === impl Ordered ===

impl<K, V> Ordered<K, V> {
    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        self.from(|_| Ordering::Greater)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The entry whose key compares equal; `compare` orders a key against the one looked for.
    pub(crate) fn find(&self, compare: impl Fn(&K) -> Ordering) -> Option<(&K, &V)> {
        self.floor(&compare).filter(|(key, _)| compare(key).is_eq())
    }

    /// The last entry that is not above what is looked for.
    pub(crate) fn floor(&self, compare: impl Fn(&K) -> Ordering) -> Option<(&K, &V)> {
        let mut node = &*self.0;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let above = entries.partition_point(|(key, _)| compare(key).is_le());
                    return entries.get(above.checked_sub(1)?).map(|(key, value)| (key, value));
                }
                Node::Branch(children) => {
                    let above = children.partition_point(|(first, _)| compare(first).is_le());
                    node = &children.get(above.checked_sub(1)?)?.1;
                }
            }
        }
    }

    /// The entries from the first that is not below what is looked for.
    pub(crate) fn from(&self, compare: impl Fn(&K) -> Ordering) -> Iter<'_, K, V> {
        let mut rest = Vec::new();
        let mut node = &*self.0;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let below = entries.partition_point(|(key, _)| compare(key).is_lt());
                    return Iter { leaf: entries.get(below..).unwrap_or_default().iter(), rest };
                }
                Node::Branch(children) => {
                    let at = children.partition_point(|(first, _)| compare(first).is_le()).saturating_sub(1);
                    let mut from = children.get(at..).unwrap_or_default().iter();
                    let Some((_, child)) = from.next() else { return Iter { leaf: [].iter(), rest } };
                    rest.push(from);
                    node = child;
                }
            }
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            let Some((_, child)) = self.rest.last_mut()?.next() else {
                self.rest.pop();
                continue;
            };
            match &**child {
                Node::Leaf(entries) => self.leaf = entries.iter(),
                Node::Branch(children) => self.rest.push(children.iter()),
            }
        }
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
        let (old, split) = Arc::make_mut(&mut self.0).insert(key, value);
        if let (Some(upper), Some(first)) = (split, self.0.first().cloned()) {
            let lower = std::mem::take(self).0;
            self.0 = Arc::new(Node::Branch(vec![(first, lower), upper]));
        }
        old
    }

    /// Removes the entry; tells what it was.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        let old = Arc::make_mut(&mut self.0).remove(key);
        while let Node::Branch(children) = &*self.0 {
            match children.as_slice() {
                [] => *self = Self::default(),
                [(_, only)] => *self = Self(only.clone()),
                _ => break,
            }
        }
        old
    }
}

// === impl Node ===

impl<K, V> Node<K, V> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(children) => children.len(),
        }
    }

    fn first(&self) -> Option<&K> {
        match self {
            Self::Leaf(entries) => entries.first().map(|(key, _)| key),
            Self::Branch(children) => children.first().map(|(key, _)| key),
        }
    }
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    /// Sets the entry; tells what it was, and hands over the upper half of a node that has become too wide.
    fn insert(&mut self, key: K, value: V) -> (Option<V>, Option<Child<K, V>>) {
        match self {
            Self::Leaf(entries) => match entries.binary_search_by(|(probe, _)| probe.cmp(&key)) {
                Ok(found) => (entries.get_mut(found).map(|(_, old)| std::mem::replace(old, value)), None),
                Err(free) => {
                    entries.insert(free, (key, value));
                    (None, upper_half(entries).map(|(first, upper)| (first, Arc::new(Self::Leaf(upper)))))
                }
            },
            Self::Branch(children) => {
                let at = children.partition_point(|(first, _)| *first <= key).saturating_sub(1);
                let Some((first, child)) = children.get_mut(at) else { return (None, None) };
                if key < *first {
                    *first = key.clone();
                }
                let (old, split) = Arc::make_mut(child).insert(key, value);
                if let Some(upper) = split {
                    children.insert(at + 1, upper);
                }
                (old, upper_half(children).map(|(first, upper)| (first, Arc::new(Self::Branch(upper)))))
            }
        }
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Leaf(entries) => {
                let found = entries.binary_search_by(|(probe, _)| probe.borrow().cmp(key)).ok()?;
                Some(entries.remove(found).1)
            }
            Self::Branch(children) => {
                let at = children.partition_point(|(first, _)| first.borrow() <= key).checked_sub(1)?;
                let (first, child) = children.get_mut(at)?;
                let old = Arc::make_mut(child).remove(key);
                match child.first() {
                    Some(now) => *first = now.clone(),
                    None => drop(children.remove(at)),
                }
                merge_into_previous(children, at);
                old
            }
        }
    }
}

fn upper_half<K: Clone, T>(entries: &mut Vec<(K, T)>) -> Option<(K, Vec<(K, T)>)> {
    if entries.len() <= WIDTH {
        return None;
    }
    let upper = entries.split_off(WIDTH / 2);
    upper.first().map(|(first, _)| first.clone()).map(|first| (first, upper))
}

/// Joins two neighbours that are a half-full node together.
fn merge_into_previous<K: Clone, V: Clone>(children: &mut Vec<Child<K, V>>, at: usize) {
    let Some(previous) = at.checked_sub(1) else { return };
    let [(_, previous), (_, node)] = children.get_mut(previous..=at).unwrap_or_default() else { return };
    if previous.len() + node.len() > WIDTH / 2 {
        return;
    }
    match (Arc::make_mut(previous), &**node) {
        (Node::Leaf(into), Node::Leaf(entries)) => into.extend_from_slice(entries),
        (Node::Branch(into), Node::Branch(entries)) => into.extend_from_slice(entries),
        _ => return,
    }
    children.remove(at);
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
            prop_assert_eq!(map.is_empty(), model.is_empty());
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
        assert_eq!((map.remove(&"a".to_owned()), map.iter().count()), (Some(2), 1));
    }
}
