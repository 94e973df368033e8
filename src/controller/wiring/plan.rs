//! What is to be written and removed for one policy. Pure.
//!
//! Flows in: everything seen, the policy and what it holds. Flows out: objects to write on the version seen, objects to
//! remove, and the words for the status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_api::wiring::{
    Attachment, AuthorizationPolicy, Known, ReferenceGrant, SecurityPolicy, Subject, Wiring, Word, attach, covers,
    place, reference_grant,
};
use countersign_api::{ScopePolicy, metadata};
use countersign_core::directory::PolicyView;
use countersign_core::names::ObjectRef;
use countersign_core::policy::Target;
use jiff::Timestamp;
use kube::ResourceExt;

use super::seen::{Managed, Seen, spec};
use crate::controller::ORPHAN_GRACE;
use crate::objects::layout::{COUNTERSIGN, MANAGED_BY, OWNER, label};

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) security: Changes<SecurityPolicy>,
    pub(super) authorization: Changes<AuthorizationPolicy>,
    pub(super) grants: Changes<ReferenceGrant>,
    pub(super) words: Vec<(Target, Word)>,
}

/// What is to be done with objects of a kind.
#[derive(Debug)]
pub(super) struct Changes<K> {
    /// With a resourceVersion: in the place of what is there.
    pub(super) write: Vec<K>,
    pub(super) remove: Vec<Arc<K>>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self { write: Vec::new(), remove: Vec::new() }
    }
}

/// What of a kind there shall be.
struct Shall<K> {
    objects: Vec<K>,
    /// Names under which what is there stays.
    keeps: BTreeSet<String>,
}

/// For a policy that is there.
pub(super) fn plan(
    seen: &Seen,
    (policy, view): (&ScopePolicy, &PolicyView),
    namespace_labels: BTreeMap<String, String>,
    wiring: &Wiring,
) -> Plan {
    let object = &view.object.object;
    let subject = Subject {
        object,
        targets: view.object.source.targets.iter().filter_map(|target| target.as_ref().ok().cloned()).collect(),
        hosts: view.accepted.hosts.iter().map(|(host, _)| host.clone()).collect(),
        older: &|target| seen.older(policy, target),
        owner: &|meta| seen.owner(meta),
        namespace_labels,
    };
    let attachments = attach(&subject, &seen.world, wiring);
    let words =
        |attachments: &[Attachment]| attachments.iter().map(|each| (each.target.clone(), each.word.clone())).collect();
    if metadata::is_paused(&policy.metadata) {
        let paused = attachments.into_iter().map(|each| (each.target, Word::paused()));
        return Plan { words: paused.collect(), ..Plan::default() };
    }
    let keeps: BTreeSet<_> = attachments.iter().filter(|each| each.keeps).map(|each| each.name.clone()).collect();
    let kept_one =
        keeps.iter().any(|name| seen.world.security.get(&(object.namespace.to_string(), name.clone())).is_some());
    let refers = kept_one || attachments.iter().any(|each| each.refers);
    let grants: Vec<_> = reference_grant(object, &wiring.verifier).filter(|_| refers).into_iter().collect();
    let security = attachments.iter().filter_map(|each| each.security.clone()).collect();
    let authorization = attachments.iter().filter_map(|each| each.authorization.clone()).collect();
    let of = |namespace: &str| (object.clone(), namespace.to_owned());
    let own = object.namespace.as_str();
    Plan {
        security: changes(seen, of(own), Shall { objects: security, keeps: keeps.clone() }),
        authorization: changes(seen, of(own), Shall { objects: authorization, keeps }),
        grants: changes(seen, of(&wiring.verifier.namespace), Shall { objects: grants, keeps: BTreeSet::new() }),
        words: words(&attachments),
    }
}

/// For a policy that is not there: what it left behind goes, at once where it was seen to go; else when it is older than a
/// restore may take. The time is when to look again.
pub(super) fn sweep(
    seen: &Seen,
    object: &ObjectRef,
    (seen_to_go, now): (bool, Timestamp),
) -> (Plan, Option<Timestamp>) {
    let mut later = None;
    let own = object.namespace.as_str();
    let mut plan = Plan {
        security: Changes { write: Vec::new(), remove: everything(seen, object, Some(own)) },
        authorization: Changes { write: Vec::new(), remove: everything(seen, object, Some(own)) },
        grants: Changes { write: Vec::new(), remove: everything(seen, object, None) },
        words: Vec::new(),
    };
    if !seen_to_go {
        later = [
            old_enough(&mut plan.security, now),
            old_enough(&mut plan.authorization, now),
            old_enough(&mut plan.grants, now),
        ]
        .into_iter()
        .flatten()
        .min();
    }
    (plan, later)
}

/// Leaves in what may go by now; says when the next may.
fn old_enough<K: Managed>(changes: &mut Changes<K>, now: Timestamp) -> Option<Timestamp> {
    let due = |object: &Arc<K>| {
        let created = object.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |created| created.0);
        created.saturating_add(ORPHAN_GRACE).unwrap_or(Timestamp::MAX)
    };
    let next = changes.remove.iter().map(due).filter(|due| *due > now).min();
    changes.remove.retain(|object| due(object) <= now);
    next
}

/// What says that it is the policy's. In a namespace where the policy writes none, that is somebody's copy or a restored one, and
/// taking it away would open a route of theirs.
fn everything<K: Managed>(seen: &Seen, object: &ObjectRef, within: Option<&str>) -> Vec<Arc<K>> {
    let all = K::all(seen).all().into_iter().flatten();
    let lies_there = |found: &K| within.is_none() || found.namespace().as_deref() == within;
    let owned = all.filter(|(_, found)| seen.owner(found.meta()).as_ref() == Some(object) && lies_there(found));
    owned.map(|(_, found)| Arc::clone(found)).collect()
}

fn changes<K: Managed>(seen: &Seen, (object, namespace): (ObjectRef, String), shall: Shall<K>) -> Changes<K> {
    let known = K::all(seen);
    if !matches!(known, Known::There(_)) {
        return Changes::default();
    }
    let places: BTreeSet<_> = shall.objects.iter().map(|wanted| place(wanted.meta())).collect();
    let mine = |found: &K| seen.owner(found.meta()).as_ref() == Some(&object);
    let remove =
        known.of(&namespace).filter(|(at, found)| mine(found) && !places.contains(at) && !shall.keeps.contains(&at.1));
    let remove = remove.map(|(_, found)| Arc::clone(found)).collect();
    let write = shall.objects.into_iter().filter_map(|wanted| {
        let found = known.get(&place(wanted.meta())).map(|found| &**found);
        match found {
            Some(found) if !mine(found) || is_right(seen, found, &wanted) => None,
            found => Some(stamped(seen, &object, wanted, found)),
        }
    });
    Changes { write: write.collect(), remove }
}

/// Whether what is there is what is wanted, or what the API server made of it when it was written.
fn is_right<K: Managed>(seen: &Seen, found: &K, wanted: &K) -> bool {
    let (there, wanted) = (spec(found), spec(wanted));
    let kept = seen.kept.get(&(K::kind(&()).into_owned(), place(found.meta())));
    let as_kept = kept.is_some_and(|(asked, kept)| *asked == wanted && *kept == there && covers(kept, &wanted));
    label(found.meta(), MANAGED_BY) == Some(COUNTERSIGN) && (there == wanted || as_kept)
}

/// The object with our label and its owner record, on the version seen.
fn stamped<K: Managed>(seen: &Seen, object: &ObjectRef, mut wanted: K, found: Option<&K>) -> K {
    if let Some(found) = found {
        let meta = wanted.meta_mut();
        meta.labels.clone_from(&found.meta().labels);
        meta.annotations.clone_from(&found.meta().annotations);
        meta.resource_version.clone_from(&found.meta().resource_version);
        meta.uid.clone_from(&found.meta().uid);
    }
    wanted.labels_mut().insert(MANAGED_BY.to_owned(), COUNTERSIGN.to_owned());
    wanted.annotations_mut().insert(OWNER.to_owned(), seen.layout.owner_record(object));
    wanted
}
