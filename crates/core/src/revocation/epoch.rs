//! A client's epoch: when it grows, and for which tokens.
//!
//! Flows in: what the controller remembers in the client's status, and what is now. Flows out: what to remember, and
//! the entries to write first: a crash between the two repeats an entry, and loses none. Issuers sign under the epoch
//! status tells (docs/adr/0003), so one that only an entry tells is carried by no token, and may be gone on with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::DecidedOn;
use crate::names::Audience;
use crate::scope::ScopeSet;

/// What the current epoch was computed from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EpochBasis {
    /// Whether the client was suspended.
    pub suspended: bool,
    /// `tokensNotBefore` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_not_before: Option<Timestamp>,
    /// `rejectIssuedBefore` then: the secret was compromised, and so are tokens obtained with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_issued_before: Option<Timestamp>,
}

/// The controller's memory, kept in status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochMemory {
    /// The client's epoch; only grows.
    pub epoch: u64,
    /// What it was computed from; none if status was lost or never written.
    pub basis: Option<EpochBasis>,
    /// What was granted.
    pub granted: BTreeMap<Audience, ScopeSet>,
}

/// The highest epoch of a client that is known to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownEpoch {
    /// The epoch.
    pub epoch: u64,
    /// What it was decided on, if its entry says so.
    pub decided_on: Option<DecidedOn>,
}

impl KnownEpoch {
    /// Together with an epoch that tokens may carry already.
    #[must_use]
    pub fn in_use(self, epoch: u64) -> Self {
        if epoch < self.epoch { self } else { Self { epoch, decided_on: None } }
    }
}

/// The client now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochObserved {
    /// What the spec says now.
    pub basis: EpochBasis,
    /// What is granted now.
    pub granted: BTreeMap<Audience, ScopeSet>,
    /// What this is decided on: the object as it is, or that it is gone.
    pub decided_on: DecidedOn,
    /// The highest epoch in the revocations.
    pub known: KnownEpoch,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochStep {
    /// What to remember, after the entries are written.
    pub memory: EpochMemory,
    /// Epoch entries to write: the audience concerned (none: all) and the lowest epoch still good.
    pub entries: Vec<(Option<Audience>, u64)>,
}

/// Decides whether a client's epoch grows.
pub fn epoch_step(memory: &EpochMemory, observed: &EpochObserved) -> EpochStep {
    let EpochObserved { decided_on, known, .. } = observed;
    let current = memory.epoch.max(known.epoch);
    let repeated = known.epoch > memory.epoch && known.decided_on.as_ref() == Some(decided_on);
    let next = if repeated { current } else { current.saturating_add(1) };
    let deleted = *decided_on == DecidedOn::Deletion;
    let everywhere = deleted || memory.basis.as_ref().is_some_and(|then| has_tightened(then, &observed.basis));
    let withdrawn = |(audience, then): &(&Audience, &ScopeSet)| {
        observed.granted.get(*audience).is_none_or(|now| !then.is_subset(now))
    };
    let entries: Vec<_> = if everywhere {
        vec![(None, next)]
    } else {
        memory.granted.iter().filter(withdrawn).map(|(audience, _)| (Some(audience.clone()), next)).collect()
    };
    let epoch = if entries.is_empty() { current } else { next };
    let memory = EpochMemory { epoch, basis: Some(observed.basis.clone()), granted: observed.granted.clone() };
    EpochStep { memory, entries }
}

/// Whether a spec revokes what it allowed before. Lowering or removing a time revokes nothing.
fn has_tightened(then: &EpochBasis, now: &EpochBasis) -> bool {
    (now.suspended && !then.suspended)
        || now.tokens_not_before > then.tokens_not_before
        || now.reject_issued_before > then.reject_issued_before
}
