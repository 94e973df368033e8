//! What the watches have told, and what our own writes made of it.
//!
//! Flows in: changes of every kind that matters here. Flows out: the world to decide on, and the policies a change may concern.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use countersign_api::ScopePolicy;
use countersign_api::scopepolicy::{TargetGroup, TargetKind, TargetRef};
use countersign_api::wiring::{
    AuthorizationPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, Known, Place, ReferenceGrant, SecurityPolicy,
    World, place,
};
use countersign_core::names::{ObjectName, ObjectRef};
use countersign_core::policy::Target;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde_json::Value;

use crate::controller::table::Table;
use crate::objects::layout::Layout;
use crate::objects::{Change, Deleted, Key, Object};

/// Everything seen.
pub(super) struct Seen {
    pub(super) layout: Layout,
    pub(super) policies: Table<ScopePolicy>,
    pub(super) world: World,
    /// Those of the verifier's namespace.
    pub(super) grants: Known<ReferenceGrant>,
    /// What the API server made of a spec we wrote, where it adds to it: kind, place, the spec as it came back.
    pub(super) kept: HashMap<(String, Place), (Value, Value)>,
    gone: BTreeSet<ObjectRef>,
}

/// What there is of a policy.
pub(super) enum There {
    NotSynced,
    Policy(Arc<ScopePolicy>),
    /// It is being deleted.
    Ending,
    Malformed,
    Nothing {
        seen_to_go: bool,
    },
}

/// An object this kind writes.
pub(super) trait Managed: Object {
    fn shelf(seen: &mut Seen) -> &mut Known<Self>;
    fn all(seen: &Seen) -> &Known<Self>;
}

impl Managed for SecurityPolicy {
    fn shelf(seen: &mut Seen) -> &mut Known<Self> {
        &mut seen.world.security
    }
    fn all(seen: &Seen) -> &Known<Self> {
        &seen.world.security
    }
}

impl Managed for AuthorizationPolicy {
    fn shelf(seen: &mut Seen) -> &mut Known<Self> {
        &mut seen.world.authorization
    }
    fn all(seen: &Seen) -> &Known<Self> {
        &seen.world.authorization
    }
}

impl Managed for ReferenceGrant {
    fn shelf(seen: &mut Seen) -> &mut Known<Self> {
        &mut seen.grants
    }
    fn all(seen: &Seen) -> &Known<Self> {
        &seen.grants
    }
}

/// A change of what is not written here.
pub(super) enum Around {
    Route(Change<HttpRoute>),
    GrpcRoute(Change<GrpcRoute>),
    Gateway(Change<Gateway>),
    Class(Change<GatewayClass>),
}

// === impl Seen ===

impl Seen {
    pub(super) fn new(layout: Layout) -> Self {
        let (grants, kept, gone) = (Known::Absent, HashMap::new(), BTreeSet::new());
        Self { layout, policies: Table::default(), world: World::default(), grants, kept, gone }
    }

    pub(super) fn there(&self, key: &ObjectRef) -> There {
        let place = Key::from(key);
        if !self.policies.is_synced() {
            return There::NotSynced;
        }
        if self.policies.is_malformed(&place) {
            return There::Malformed;
        }
        match self.policies.get(&place) {
            Some(policy) if !self.is_ours(policy) => There::Nothing { seen_to_go: false },
            Some(policy) if policy.metadata.deletion_timestamp.is_some() => There::Ending,
            Some(policy) => There::Policy(Arc::clone(policy)),
            None => There::Nothing { seen_to_go: self.gone.contains(key) },
        }
    }

    pub(super) fn buried(&mut self, key: &ObjectRef) {
        self.gone.remove(key);
    }

    fn is_ours(&self, policy: &ScopePolicy) -> bool {
        policy.spec.issuer == self.layout.issuer_name().as_str()
    }

    /// Whose object it is.
    pub(super) fn owner(&self, meta: &ObjectMeta) -> Option<ObjectRef> {
        self.layout.owner(meta)
    }

    /// Policies that attach to anything, in a namespace or everywhere.
    pub(super) fn attaching(&self, namespace: Option<&str>) -> Vec<ObjectRef> {
        let attaches = |policy: &&Arc<ScopePolicy>| {
            let here = namespace.is_none_or(|namespace| policy.metadata.namespace.as_deref() == Some(namespace));
            here && !policy.spec.target_refs.is_empty() && self.is_ours(policy)
        };
        let all = self.policies.readable().filter(attaches);
        all.filter_map(|policy| Key::of(&policy.metadata).object_ref().ok()).collect()
    }

    /// The oldest other policy of a namespace that names the target too, if it is older than `than`.
    pub(super) fn older(&self, than: &ScopePolicy, target: &Target) -> Option<ObjectRef> {
        let rank = |policy: &ScopePolicy| (policy.creation_timestamp(), policy.name_any());
        let others = self.policies.readable().filter(|policy| {
            policy.metadata.namespace == than.metadata.namespace
                && rank(policy) < rank(than)
                && self.is_ours(policy)
                && policy.metadata.deletion_timestamp.is_none()
                && policy.spec.target_refs.iter().any(|named| target_of(named).as_ref() == Some(target))
        });
        let oldest = others.min_by_key(|policy| rank(policy))?;
        Key::of(&oldest.metadata).object_ref().ok()
    }

    pub(super) fn see_policy(&mut self, change: Change<ScopePolicy>) -> Vec<ObjectRef> {
        let mut affected = Vec::new();
        for step in self.policies.apply(change) {
            let Ok(key) = step.key.object_ref() else { continue };
            let is_gone = step.new.is_none() && step.malformed.is_none();
            if is_gone && step.old.as_ref().is_some_and(|old| self.is_ours(old)) {
                self.gone.insert(key.clone());
            } else if !is_gone {
                self.gone.remove(&key);
            }
            // Who named the same target waits for this one.
            let targets =
                |policy: &Option<Arc<ScopePolicy>>| policy.as_ref().map(|policy| policy.spec.target_refs.clone());
            if targets(&step.old) != targets(&step.new) {
                affected.extend(self.attaching(step.key.namespace.as_deref()));
            }
            affected.push(key);
        }
        affected
    }

    /// Takes in a change of what is not written here.
    pub(super) fn see_around(&mut self, around: Around) -> Vec<ObjectRef> {
        let moved = match around {
            Around::Route(change) => see(&mut self.world.routes, change, |old, new| {
                old.spec == new.spec && old.metadata.labels == new.metadata.labels
            }),
            Around::GrpcRoute(change) => see(&mut self.world.grpc_routes, change, |old, new| {
                old.spec == new.spec && old.metadata.labels == new.metadata.labels
            }),
            Around::Gateway(change) => see(&mut self.world.gateways, change, |old, new| {
                old.spec == new.spec && old.metadata.labels == new.metadata.labels
            }),
            Around::Class(change) => see(&mut self.world.classes, change, |old, new| old.spec == new.spec),
        };
        if moved.is_empty() { Vec::new() } else { self.attaching(None) }
    }

    /// Takes in a change of what is written here, whoever wrote it.
    pub(super) fn see_managed<K: Managed>(&mut self, change: Change<K>) -> Vec<ObjectRef> {
        let moved = see(K::shelf(self), change, |old, new| old.resource_version() == new.resource_version());
        let mut affected = Vec::new();
        let mut everyone = false;
        for (_, metas) in moved {
            let owners: Vec<_> = metas.iter().map(|meta| self.owner(meta)).collect();
            // One on a route of any namespace may stand in the place of one on a Gateway. And a first listing that is empty ends
            // a wait.
            everyone |= owners.is_empty() || owners.iter().any(Option::is_none);
            affected.extend(owners.into_iter().flatten());
        }
        if everyone {
            affected.extend(self.attaching(None));
        }
        affected
    }

    /// Notes what a write of ours made.
    pub(super) fn wrote<K: Managed>(&mut self, wanted: &Value, object: K) {
        let at = place(object.meta());
        self.kept.insert((K::kind(&()).into_owned(), at.clone()), (wanted.clone(), spec(&object)));
        if let Known::There(shelf) = K::shelf(self) {
            shelf.insert(at, Arc::new(object));
        }
    }

    /// Notes that we removed an object.
    pub(super) fn removed<K: Managed>(&mut self, at: &Place) {
        self.kept.remove(&(K::kind(&()).into_owned(), at.clone()));
        if let Known::There(shelf) = K::shelf(self) {
            shelf.remove(at);
        }
    }
}

/// A target as the policy names it.
fn target_of(named: &TargetRef) -> Option<Target> {
    let name = ObjectName::new(&named.name).ok()?;
    match (&named.group, &named.kind) {
        (TargetGroup::Core, TargetKind::Service) => Some(Target::Service { name }),
        (TargetGroup::Gateway, TargetKind::HttpRoute) => Some(Target::HttpRoute { name }),
        (TargetGroup::Gateway, TargetKind::Gateway) => Some(Target::Gateway { name }),
        _ => None,
    }
}

/// An object's spec.
pub(super) fn spec<K: Object>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value.get_mut("spec").map(Value::take).unwrap_or_default()
}

/// What moved: where, with the metadata before and after. What cannot be read counts as not there.
fn see<K: Object>(
    known: &mut Known<K>,
    change: Change<K>,
    same: impl Fn(&K, &K) -> bool,
) -> Vec<(Place, Vec<ObjectMeta>)> {
    if let Change::Reset(objects, _) = change {
        let was = known.all().cloned().unwrap_or_default();
        let first = known.all().is_none();
        let now: std::collections::BTreeMap<_, _> =
            objects.into_iter().map(|object| (place(object.meta()), Arc::new(object))).collect();
        let places: BTreeSet<_> = was.keys().chain(now.keys()).cloned().collect();
        let differs = |at: &Place| match (was.get(at), now.get(at)) {
            (Some(old), Some(new)) => !same(old, new),
            _ => true,
        };
        let mut moved: Vec<_> = places.into_iter().filter(|at| differs(at)).collect();
        let metas =
            |at: &Place| [was.get(at), now.get(at)].into_iter().flatten().map(|object| object.meta().clone()).collect();
        // The first listing changes what is known even where it is empty.
        if first && moved.is_empty() {
            moved.push(Place::default());
        }
        let moved = moved.into_iter().map(|at| (at.clone(), metas(&at))).collect();
        *known = Known::There(now);
        return moved;
    }
    let Known::There(shelf) = known else { return Vec::new() };
    let (at, new) = match change {
        Change::Apply(object) => (place(object.meta()), Some(Arc::new(object))),
        Change::Delete(Deleted { key, .. }) => (of_key(&key), None),
        Change::Malformed(malformed) => (of_key(&malformed.key), None),
        Change::Reset(..) => return Vec::new(),
    };
    let old = match &new {
        Some(new) => shelf.insert(at.clone(), Arc::clone(new)),
        None => shelf.remove(&at),
    };
    if let (Some(old), Some(new)) = (&old, &new)
        && same(old, new)
    {
        return Vec::new();
    }
    let metas = [old, new].into_iter().flatten().map(|object| object.meta().clone()).collect();
    vec![(at, metas)]
}

fn of_key(key: &Key) -> Place {
    (key.namespace.as_deref().unwrap_or_default().to_owned(), key.name.to_string())
}
