//! Every reason with which Countersign says how an object stands: a closed list.
//!
//! Flows in: a reason. Flows out: what it means and what to do next, in the words of `docs/reference/conditions.md`, which a
//! test holds against this list. What is not listed here is not said: `conditions::merge` of the controller and a test that
//! reads the source see to that.

mod rows;
mod table;
mod wired;

/// One reason, where it may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Where it stands.
    pub place: Place,
    /// The CamelCase constant.
    pub name: &'static str,
    /// What is so.
    pub meaning: &'static str,
    /// What to do about it.
    pub next: &'static str,
}

/// Where a reason may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A condition with a status of its own.
    Condition {
        /// The kind.
        kind: &'static str,
        /// The condition's type.
        condition: &'static str,
        /// `True`, `False` or `Unknown`.
        status: &'static str,
    },
    /// An element of a spec that is left out, or denies: in `status.problems` of a ScopePolicy, and in whatever condition
    /// follows from it.
    Element,
    /// A scope that is not granted: in `status.refused` of an OAuthClient, and in `ResolvedRefs`.
    Scope,
    /// A word of `countersign check` about what is in force and unlikely to be meant.
    Note,
}

impl Reason {
    /// The reason of this name for an element, a scope or a note, in this order.
    pub fn find(name: &str, place: Place) -> Option<&'static Self> {
        const ALL: &[Reason] = &Reason::ALL;
        ALL.iter().find(|reason| reason.name == name && reason.place == place)
    }

    /// Whether a condition may have this reason.
    pub fn may_stand(condition: &str, status: &str, name: &str) -> bool {
        Self::ALL.into_iter().filter(|reason| reason.name == name).any(|reason| match reason.place {
            Place::Condition { condition: own, status: when, .. } if own == condition => when == status,
            // `Ready` repeats what keeps the object from being so, `Stalled` and `Reconciling` are that alone.
            Place::Condition { .. } => ["Ready", "Stalled", "Reconciling"].contains(&condition),
            Place::Element => {
                ["Accepted", "PartiallyInvalid", "ResolvedRefs", "CredentialsReady", "Ready", "Stalled", "Reconciling"]
                    .contains(&condition)
            }
            Place::Scope => condition == "ResolvedRefs",
            Place::Note => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stands_once_in_each_place_and_says_what_to_do() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            let twin =
                Reason::ALL[at + 1..].iter().find(|other| (other.place, other.name) == (reason.place, reason.name));
            assert_eq!(twin, None);
            assert!(!reason.meaning.is_empty() && !reason.next.is_empty(), "{reason:?}");
        }
    }

    #[test]
    fn conditions_have_reasons_of_their_own() {
        assert!(Reason::may_stand("CredentialsReady", "True", "Written"));
        assert!(!Reason::may_stand("CredentialsReady", "False", "Written"));
        assert!(!Reason::may_stand("FullyGranted", "False", "Broken"));
        assert!(Reason::may_stand("Ready", "False", "SecretNotFound"));
        assert!(Reason::may_stand("PartiallyInvalid", "True", "AmbiguousRule"));
        assert!(!Reason::may_stand("NotEnforcing", "True", "CallersWord"));
    }
}
