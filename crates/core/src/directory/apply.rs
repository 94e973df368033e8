//! One step from a Directory to the next.
//!
//! ```text
//! changes ─► drafts of the namespaces concerned ─► bounds ─► claims into the indexes ─► whoever's claims changed hands
//!                                                                                     joins the drafts ─► views
//! ```
//!
//! Flows in: a Directory and changes. Flows out: the Directory after them. A namespace that is not concerned is not looked
//! at, unless an allowance that may select any namespace changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bounds::{Bounds, NAME_LABEL};
use crate::client::ClientObject;
use crate::directory::allowances::Concerned;
use crate::directory::claims::Rank;
use crate::directory::clients::{Contested, own_keys};
use crate::directory::view::{ElementClaim, NamespaceView, Thing};
use crate::directory::{
    Change, ClientView, Conflicts, Directory, NamespaceObject, PolicyObject, PolicyView, Settings, reason,
};
use crate::names::{ClientId, Namespace, ObjectName, ObjectRef};
use crate::policy::Problem;

/// A namespace being changed.
struct Draft {
    view: NamespaceView,
    /// Labels or allowances changed.
    bounds: bool,
    /// Policies changed, or what they hold.
    policies: bool,
    /// Clients that changed, or what they hold.
    clients: BTreeSet<ObjectName>,
}

/// A Directory being changed.
pub(super) struct Update {
    /// What the indexes hold came from these objects.
    before: Directory,
    next: Directory,
    drafts: BTreeMap<Namespace, Draft>,
}

impl Draft {
    fn new(view: NamespaceView) -> Self {
        Self { view, bounds: false, policies: false, clients: BTreeSet::new() }
    }
}

impl Update {
    pub(super) fn new(directory: &Directory) -> Self {
        Self { before: directory.clone(), next: directory.clone(), drafts: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, change: Change) {
        match change {
            Change::Client(object, client) => self.take_client(object, client),
            Change::Policy(object, policy) => self.take_policy(object, policy),
            Change::Namespace(name, namespace) => {
                let draft = self.draft(&name);
                draft.view.object = namespace.map(named);
                draft.bounds = true;
            }
            Change::Allowance(name, allowance) => {
                let concerned = match self.next.allowances.set(&name, allowance) {
                    Concerned::These(names) => names,
                    Concerned::All => self.next.namespaces.iter().map(|(name, _)| name.clone()).collect(),
                };
                for name in concerned {
                    self.draft(&name).bounds = true;
                }
            }
            Change::Ring(name, ring) => {
                let rings = Arc::make_mut(&mut self.next.rings);
                match ring {
                    Some(ring) => drop(rings.insert(name, ring)),
                    None => drop(rings.remove(&name)),
                }
            }
        }
    }

    fn take_client(&mut self, object: ObjectRef, client: Option<Arc<ClientObject>>) {
        let draft = self.draft(&object.namespace);
        let clients = &mut draft.view.clients;
        match client {
            Some(client) => drop(clients.insert(object.name.clone(), Arc::new(ClientView::unsettled(client)))),
            None => drop(clients.remove(&object.name)),
        }
        draft.clients.insert(object.name);
    }

    fn take_policy(&mut self, object: ObjectRef, policy: Option<Arc<PolicyObject>>) {
        let settings = self.next.settings.clone();
        let draft = self.draft(&object.namespace);
        let Draft { view: NamespaceView { policies, bounds, .. }, .. } = draft;
        match policy {
            Some(policy) => {
                let view = PolicyView::new(policy, bounds, &settings);
                drop(policies.insert(object.name, Arc::new(view)));
            }
            None => drop(policies.remove(&object.name)),
        }
        draft.policies = true;
    }

    pub(super) fn finish(mut self) -> Directory {
        self.read_bounds();
        self.settle_policies();
        self.settle_clients();
        for (name, draft) in self.drafts {
            if draft.view.is_empty() {
                self.next.namespaces.remove(&name);
            } else {
                self.next.namespaces.insert(name, Arc::new(draft.view));
            }
        }
        self.next
    }

    fn draft(&mut self, namespace: &Namespace) -> &mut Draft {
        let next = &self.next;
        self.drafts.entry(namespace.clone()).or_insert_with(|| {
            let view = next.namespaces.get(namespace.as_str());
            Draft::new(view.map_or_else(|| NamespaceView::new(namespace), |view| NamespaceView::clone(view)))
        })
    }

    fn read_bounds(&mut self) {
        let Directory { settings, allowances, .. } = &self.next;
        for (name, draft) in self.drafts.iter_mut().filter(|(_, draft)| draft.bounds) {
            let bounds = Bounds::new(name, draft.view.labels(), allowances.candidates(name));
            if bounds == draft.view.bounds {
                continue;
            }
            let policies: Vec<_> =
                draft.view.policies.values().map(|policy| policy.within(&bounds, settings)).collect();
            for policy in policies {
                draft.view.policies.insert(policy.object.object.name.clone(), Arc::new(policy));
            }
            draft.view.bounds = bounds;
            draft.policies = true;
            draft.clients.extend(draft.view.clients.iter().map(|(name, _)| name.clone()));
        }
    }

    /// Brings the claims of changed namespaces into the indexes, then looks again at every namespace whose claims changed
    /// hands by it.
    fn settle_policies(&mut self) {
        let mut moved = BTreeSet::new();
        let Self { before, next, drafts } = self;
        for (name, draft) in drafts.iter().filter(|(_, draft)| draft.policies) {
            let old = before.namespace(name).map(NamespaceView::claims).unwrap_or_default();
            let new = draft.view.claims();
            for (audience, rank) in changed(&old.audiences, &new.audiences) {
                next.audiences.set(next.settings.conflicts, audience.as_str(), name, rank, &mut moved);
            }
            next.hosts.set(next.settings.conflicts, name, changed(&old.hosts, &new.hosts), &mut moved);
        }
        for name in moved {
            self.draft(&name).policies = true;
        }
        let Self { next, drafts, .. } = self;
        for (name, draft) in drafts.iter_mut().filter(|(_, draft)| draft.policies) {
            draft.view.settle(|claim| conflict(next, name, claim));
        }
    }

    fn settle_clients(&mut self) {
        let mut moved = BTreeSet::new();
        let Self { before, next, drafts } = self;
        for (namespace, draft) in &mut *drafts {
            let mut siblings = BTreeSet::new();
            for name in &draft.clients {
                let old = before.namespace(namespace).and_then(|view| Claims::of(view, name)).unwrap_or_default();
                let new = Claims::of(&draft.view, name).unwrap_or_default();
                let object = ObjectRef { namespace: namespace.clone(), name: name.clone() };
                let mode = next.settings.conflicts;
                for (id, rank) in changed(&old.id, &new.id) {
                    next.client_ids.set(mode, id.as_str(), &object, rank, &mut moved);
                }
                for (secret, rank) in changed(&old.secret, &new.secret) {
                    draft.view.secrets.set(mode, secret.as_str(), name, rank, &mut siblings);
                }
            }
            draft.clients.extend(siblings);
        }
        for object in moved {
            self.draft(&object.namespace).clients.insert(object.name);
        }
        let Self { next, drafts, .. } = self;
        for draft in drafts.values_mut() {
            for name in std::mem::take(&mut draft.clients) {
                let Some(client) = draft.view.clients.get(&name).map(|client| client.object.clone()) else { continue };
                let view = ClientView::settled(&client, &draft.view.bounds, contested(next, &draft.view, &client));
                draft.view.clients.insert(name, Arc::new(view));
            }
        }
    }
}

/// The namespace with its name as a label, as the API server would have it; a folder may leave it out or get it wrong.
fn named(mut namespace: Arc<NamespaceObject>) -> Arc<NamespaceObject> {
    let name = namespace.name.to_string();
    if namespace.labels.get(NAME_LABEL) != Some(&name) {
        Arc::make_mut(&mut namespace).labels.insert(NAME_LABEL.to_owned(), name);
    }
    namespace
}

/// What one client claims, in the form in which claims are compared.
#[derive(Default)]
struct Claims {
    id: BTreeMap<ClientId, Rank>,
    secret: BTreeMap<ObjectName, Rank>,
}

impl Claims {
    fn of(view: &NamespaceView, name: &ObjectName) -> Option<Self> {
        let client = view.clients.get(name)?;
        let id = client.claimed_id(&view.bounds).map(|id| (id, client.rank())).into_iter().collect();
        let secret = client.secret_name().map(|secret| (secret.clone(), client.rank())).into_iter().collect();
        Some(Self { id, secret })
    }
}

/// What to set and what to withdraw so that `old` becomes `new`.
fn changed<K: Ord + Clone>(old: &BTreeMap<K, Rank>, new: &BTreeMap<K, Rank>) -> Vec<(K, Option<Rank>)> {
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None));
    let set = new.iter().filter(|(key, rank)| old.get(*key) != Some(*rank));
    gone.chain(set.map(|(key, rank)| (key.clone(), Some(rank.clone())))).collect()
}

/// Why the namespace does not hold what an element claims.
fn conflict(directory: &Directory, namespace: &Namespace, claim: &ElementClaim) -> Option<Problem> {
    let rival = match &claim.thing {
        Thing::Audience(audience) => directory.audiences.rival(audience.as_str(), namespace)?,
        Thing::Host(_, _, key) => directory.hosts.rival(key, namespace)?,
    };
    Some(Problem::new(claim.element.clone(), reason::CONFLICT, message(&directory.settings, &rival)))
}

fn contested(directory: &Directory, view: &NamespaceView, client: &ClientObject) -> Contested {
    let settings = &directory.settings;
    let id = client.client_id.as_ref().and_then(|id| directory.client_ids.rival(id.as_str(), &client.object));
    let secret = client.spec.as_ref().ok().and_then(|spec| spec.secret());
    let secret = secret.and_then(|secret| view.secrets.rival(secret.name.as_str(), &client.object.name));
    Contested {
        client_id: id.map(|rival| Problem::new("spec.clientId", reason::CONFLICT, message(settings, &rival))),
        secret_name: secret.map(|rival| {
            let message = format!(
                "{rival} writes the Secret of this name: choose another in authentication.methods[].secret.name"
            );
            Problem::new("spec.authentication", reason::SECRET_NAME_CONFLICT, message)
        }),
        method: own_keys(client, settings),
    }
}

/// In a cluster the rival is not named: it may belong to another team. A folder is one owner's.
fn message(settings: &Settings, rival: &ObjectRef) -> String {
    match settings.conflicts {
        Conflicts::OldestWins => {
            "an older object claims this and keeps it: choose another, or have its owner give it up".to_owned()
        }
        Conflicts::Error => format!("{rival} claims this too: remove it from one of the two"),
    }
}
