//! What an object counts as that is there and cannot be read.
//!
//! Flows in: the object as it came, and what it was when it last could be read. Flows out: what takes its place. The rule:
//! what only ever forbids or holds a claim stays as it was last, what lets somebody in does not count (ADR 0004).

use std::sync::Arc;

use countersign_api::{scopepolicy, signingkey};
use countersign_core::directory::{PolicyObject, RingObject, Settings};
use countersign_core::names::ObjectName;

use crate::objects::Malformed;

/// As it was last, rules, grants and claims; one never read denies, and claims what can be read of its claims.
pub(super) fn policy(
    settings: &Settings,
    malformed: &Malformed,
    last: Option<&Arc<PolicyObject>>,
) -> Option<Arc<PolicyObject>> {
    if let Some(last) = last.filter(|last| last.source.unreadable.is_none()) {
        return Some(Arc::clone(last));
    }
    let stand_in = scopepolicy::stand_in(malformed.body.as_ref()?, settings.issuer_name.as_str());
    stand_in.map(Arc::new)
}

/// The keys it declared dead stay dead; so are those it declares now, as far as that can be read.
pub(super) fn signing_key(malformed: &Malformed, last: Option<&Arc<RingObject>>) -> Option<Arc<RingObject>> {
    let mut revoked_key_ids = last.map(|last| last.revoked_key_ids.clone()).unwrap_or_default();
    let declared = malformed.body.as_ref().map(signingkey::revoked_in).unwrap_or_default();
    let new: Vec<_> = declared.into_iter().filter(|id| !revoked_key_ids.contains(id)).collect();
    revoked_key_ids.extend(new);
    Some(Arc::new(RingObject { name: ObjectName::new(&malformed.key.name).ok()?, revoked_key_ids }))
}

/// As it was last: a claim that falls may pass to another tenant, a namespace without labels loses what they select.
pub(super) fn as_it_was<T>(_: &Malformed, last: Option<&Arc<T>>) -> Option<Arc<T>> {
    last.cloned()
}

/// As if it were not there: no client, no private key, no record gives what cannot be read.
pub(super) fn absent<T>(_: &Malformed, _: Option<&Arc<T>>) -> Option<Arc<T>> {
    None
}
