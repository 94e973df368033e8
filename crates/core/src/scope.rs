//! Sets of scopes: what a client asks for, what it is granted, what a token carries.

use std::fmt;
use std::sync::Arc;

use crate::names::{NameError, ScopeName};

/// Scopes without repetition, in alphabetical order; cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(Arc<[ScopeName]>);

impl ScopeSet {
    /// Reads a `scope` parameter or claim: names separated by single spaces (RFC 6749 section 3.3). Repeated names count once.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        text.split(' ').map(ScopeName::new).collect()
    }

    /// Whether the scope is in the set.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.binary_search_by(|probe| probe.as_str().cmp(scope)).is_ok()
    }

    /// Whether every scope of this set is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|scope| other.contains(scope.as_str()))
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ScopeName> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<ScopeName> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = ScopeName>>(scopes: I) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes.into())
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_sorted_and_holds_each_scope_once() {
        let set = ScopeSet::parse("b a b").expect("three scopes");
        assert_eq!(set.to_string(), "a b");
        assert!(set.contains("a") && !set.contains("c"));
    }

    #[test]
    fn double_spaces_are_not_a_scope() {
        assert!(ScopeSet::parse("a  b").is_err());
        assert!(ScopeSet::parse("").is_err());
    }
}
