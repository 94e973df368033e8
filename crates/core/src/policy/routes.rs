//! Segment tries: from a path to the most specific pattern that means it.
//!
//! Flows in: patterns with what hangs on them, when a policy set is built. Flows out: per request, one slot, in time that
//! depends on the path and not on the number of patterns. Patterns are totally ordered segment by segment: literal, then
//! `{param}`, then the end of a prefix.

use std::collections::HashMap;
use std::sync::Arc;

use super::pattern::{Pattern, Segment};

/// Patterns, each with a `T`.
#[derive(Clone, Debug)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
}

type NodeId = u32;

#[derive(Clone, Debug)]
struct Node<T> {
    /// Most nodes are ends, so this is absent rather than empty.
    #[expect(clippy::box_collection, reason = "an empty map would make every node half as large again")]
    literals: Option<Box<HashMap<Arc<str>, NodeId>>>,
    param: Option<NodeId>,
    /// What hangs on the pattern that ends here.
    exact: Option<T>,
    /// What hangs on the prefix that ends here.
    prefix: Option<T>,
}

// === impl Node ===

impl<T> Node<T> {
    fn new() -> Self {
        Self { literals: None, param: None, exact: None, prefix: None }
    }
}

// === impl Trie ===

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::new()] }
    }
}

impl<T: Default> Trie<T> {
    /// The slot of a pattern. Names of parameters play no part: `/a/{x}` and `/a/{y}` are one slot. Absent only past four
    /// billion nodes.
    pub(super) fn slot(&mut self, pattern: &Pattern) -> Option<&mut T> {
        let mut at: NodeId = 0;
        for segment in pattern.segments.iter() {
            at = self.child(at, segment)?;
        }
        let node = self.node_mut(at)?;
        let slot = if pattern.open { &mut node.prefix } else { &mut node.exact };
        Some(slot.get_or_insert_default())
    }

    fn child(&mut self, at: NodeId, segment: &Segment) -> Option<NodeId> {
        let node = self.node_mut(at)?;
        let known = match segment {
            Segment::Literal(text) => node.literals.as_ref().and_then(|literals| literals.get(text).copied()),
            Segment::Param(_) => node.param,
        };
        if known.is_some() {
            return known;
        }
        let new = NodeId::try_from(self.nodes.len()).ok()?;
        let node = self.node_mut(at)?;
        match segment {
            Segment::Literal(text) => {
                node.literals.get_or_insert_default().insert(Arc::clone(text), new);
            }
            Segment::Param(_) => node.param = Some(new),
        }
        self.nodes.push(Node::new());
        Some(new)
    }

    fn node_mut(&mut self, at: NodeId) -> Option<&mut Node<T>> {
        self.nodes.get_mut(usize::try_from(at).ok()?)
    }
}

impl<T> Trie<T> {
    /// The most specific slot whose pattern means the path, among those `takes_part` says yes to.
    pub(super) fn find(&self, path: &str, takes_part: impl Fn(&T) -> bool) -> Option<&T> {
        self.descend(0, path.strip_prefix('/'), &takes_part)
    }

    /// Gives back what was reserved for more patterns.
    pub(super) fn shrink_to_fit(&mut self) {
        self.nodes.shrink_to_fit();
    }

    /// All slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = &T> {
        self.nodes.iter().flat_map(|node| node.exact.iter().chain(&node.prefix))
    }

    /// `rest` is what follows the slash before the next segment; `None` once there is no further segment. The depth is that
    /// of the trie, not that of the path.
    fn descend(&self, at: NodeId, rest: Option<&str>, takes_part: &impl Fn(&T) -> bool) -> Option<&T> {
        let node = self.nodes.get(usize::try_from(at).ok()?)?;
        let deeper = match rest {
            None => node.exact.as_ref().filter(|slot| takes_part(slot)),
            Some(rest) => {
                let (segment, rest) =
                    rest.split_once('/').map_or((rest, None), |(segment, rest)| (segment, Some(rest)));
                let literal = node.literals.as_ref().and_then(|literals| literals.get(segment));
                let literal = literal.and_then(|&child| self.descend(child, rest, takes_part));
                let param = node.param.filter(|_| !segment.is_empty());
                literal.or_else(|| param.and_then(|child| self.descend(child, rest, takes_part)))
            }
        };
        deeper.or_else(|| node.prefix.as_ref().filter(|slot| takes_part(slot)))
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    /// What the trie must agree with: every pattern tried, the best kept.
    fn linear<'a>(patterns: &'a [Pattern], path: &str) -> Option<&'a Pattern> {
        patterns.iter().filter(|pattern| pattern.matches(path)).max_by(|a, b| specificity(a, b))
    }

    fn specificity(a: &Pattern, b: &Pattern) -> Ordering {
        let rank = |pattern: &Pattern, at: usize| match pattern.segments.get(at) {
            Some(Segment::Literal(_)) => 3,
            None if !pattern.open => 2,
            Some(Segment::Param(_)) => 1,
            None => 0,
        };
        let longest = a.segments.len().max(b.segments.len());
        (0..=longest).map(|at| rank(a, at).cmp(&rank(b, at))).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn trie(patterns: &[Pattern]) -> Trie<Vec<usize>> {
        let mut trie: Trie<Vec<usize>> = Trie::default();
        for (index, pattern) in patterns.iter().enumerate() {
            trie.slot(pattern).expect("a small trie").push(index);
        }
        trie
    }

    fn patterns() -> impl Strategy<Value = Vec<Pattern>> {
        let pattern = ("(/(a|b|aa|P|Q)){0,4}/?", any::<bool>()).prop_map(|(text, open)| {
            let mut segments: Vec<_> = text.split('/').skip(1).map(str::to_owned).collect();
            if open {
                segments.retain(|segment| !segment.is_empty());
            } else if segments.is_empty() {
                segments.push(String::new());
            }
            let read = |text: String| match text.as_str() {
                "P" | "Q" => Segment::Param(text.into()),
                _ => Segment::Literal(text.into()),
            };
            Pattern { segments: segments.into_iter().map(read).collect(), open }
        });
        prop::collection::vec(pattern, 0..40)
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_a_linear_scan_finds(patterns in patterns(), path in "(/(a|b|aa|c)){1,5}/?|/") {
            let found = trie(&patterns).find(&path, |_| true).and_then(|slot| slot.first().copied());
            let expected = linear(&patterns, &path);
            match (found, expected) {
                (None, None) => {}
                (Some(found), Some(expected)) => prop_assert_eq!(specificity(&patterns[found], expected), Ordering::Equal),
                other => prop_assert!(false, "{other:?} for {path} among {patterns:?}"),
            }
        }

        #[test]
        fn a_slot_that_takes_no_part_is_as_if_it_were_absent(patterns in patterns(), path in "(/(a|b)){1,4}", out in any::<u64>()) {
            let takes_part = |index: &usize| out >> (index % 64) & 1 == 0;
            let left: Vec<_> = patterns.iter().enumerate().filter(|(at, _)| takes_part(at)).map(|(_, p)| p.clone()).collect();
            let all = trie(&patterns);
            let found = all.find(&path, |slot| slot.iter().any(takes_part)).map(|slot| &patterns[slot[0]]);
            prop_assert_eq!(found.map(ToString::to_string).is_some(), linear(&left, &path).is_some());
            if let (Some(found), Some(expected)) = (found, linear(&left, &path)) {
                prop_assert_eq!(specificity(found, expected), Ordering::Equal);
            }
        }
    }

    #[test]
    fn a_literal_beats_a_parameter_which_beats_the_end_of_a_prefix() {
        let texts = ["/orders/new", "/orders/{id}", "/orders/*", "/{x}/new", "/*"];
        let patterns: Vec<_> = texts
            .iter()
            .map(|text| match text.strip_suffix("/*") {
                Some(prefix) => Pattern::prefix(prefix),
                None => Pattern::template(text),
            })
            .collect::<Result<_, _>>()
            .expect("patterns");
        let trie = trie(&patterns);
        for (path, expected) in [
            ("/orders/new", 0),
            ("/orders/7", 1),
            ("/orders/", 2),
            ("/orders", 2),
            ("/orders/7/x", 2),
            ("/users/new", 3),
            ("/users/7", 4),
            ("/", 4),
        ] {
            assert_eq!(trie.find(path, |_| true), Some(&vec![expected]), "{path}");
        }
    }

    #[test]
    fn names_of_parameters_do_not_make_patterns_different() {
        let mut trie = Trie::<Vec<u8>>::default();
        for (pattern, value) in [("/a/{x}", 1), ("/a/{y}", 2)] {
            trie.slot(&Pattern::template(pattern).expect("a pattern")).expect("a small trie").push(value);
        }
        assert_eq!(trie.find("/a/b", |_| true), Some(&vec![1, 2]));
    }
}
