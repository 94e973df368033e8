//! Who holds what only one may hold: client ids, audiences, and hosts with their path prefixes.
//!
//! Flows in: the claims an object or a namespace may make by its bounds. Flows out: which of them it holds, and whose
//! claims changed hands because of it. The older object keeps what it has; where age means nothing, nobody holds what
//! two claim. Every answer depends on the claims alone, never on the order in which they arrived.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::directory::Conflicts;
use crate::directory::map::Hashed;
use crate::names::ObjectRef;

/// The age of a claim: that of the oldest object which makes it, names deciding between equals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) created_at: Timestamp,
    pub(crate) object: ObjectRef,
}

/// One claim on one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim<C> {
    pub(crate) claimant: C,
    pub(crate) rank: Rank,
    pub(crate) held: bool,
}

/// Things that are the same or have nothing to do with each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExactClaims<C>(Hashed<Arc<str>, Arc<[Claim<C>]>>);

impl<C> Default for ExactClaims<C> {
    fn default() -> Self {
        Self(Hashed::default())
    }
}

impl<C: Ord + Clone> ExactClaims<C> {
    /// Who holds the thing.
    pub(crate) fn holder(&self, thing: &str) -> Option<&C> {
        self.0.get(thing)?.iter().find(|claim| claim.held).map(|claim| &claim.claimant)
    }

    /// The oldest object that keeps the claimant from holding what it claims.
    pub(crate) fn rival(&self, thing: &str, claimant: &C) -> Option<ObjectRef> {
        let claims = self.0.get(thing)?;
        claims.iter().find(|claim| claim.claimant == *claimant && !claim.held)?;
        claims.iter().find(|claim| claim.claimant != *claimant).map(|claim| claim.rank.object.clone())
    }

    /// Sets (or, without a rank, withdraws) a claim; adds to `moved` the others whose claim changed
    /// hands, or who may have another rival now.
    pub(crate) fn set(
        &mut self,
        mode: Conflicts,
        thing: &str,
        claimant: &C,
        rank: Option<Rank>,
        moved: &mut BTreeSet<C>,
    ) {
        let old = self.0.get(thing).cloned().unwrap_or_default();
        let others = old.iter().filter(|claim| claim.claimant != *claimant).cloned();
        let mine = rank.map(|rank| Claim { claimant: claimant.clone(), rank, held: false });
        let mut claims: Vec<_> = others.chain(mine).collect();
        claims.sort_by(|a, b| a.rank.cmp(&b.rank));
        let contested = claims.len() > 1;
        for (index, claim) in claims.iter_mut().enumerate() {
            let held = mode.settles(index == 0, contested);
            if claim.claimant != *claimant && !(claim.held && held) {
                moved.insert(claim.claimant.clone());
            }
            claim.held = held;
        }
        if claims.is_empty() {
            self.0.remove(&Arc::from(thing));
        } else {
            self.0.insert(Arc::from(thing), claims.into());
        }
    }
}
