//! Everything Countersign knows, as one immutable value.
//!
//! ```text
//! Change ──► raw objects of one namespace ──► claims ──► who holds what ──► NamespaceView ──► look-ups, reports
//!            allowances, labels ──► Bounds ─────┘        (claims, hosts)
//! ```
//!
//! Flows in: [`Change`]s of objects, each converted once when it arrived. Flows out: a [`Directory`] that differs in the
//! views of the namespaces concerned; all others are shared with the one before. Every order of the same changes gives
//! the same Directory. Grants are computed from specs when they are asked for: no stored copy can go stale.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::bounds::{AllowanceObject, Labels, Limits, Reserved};
use crate::client::{Client, ClientObject, Hosts};
use crate::directory::allowances::Allowances;
use crate::directory::apply::Update;
use crate::directory::claims::ExactClaims;
use crate::directory::hosts::HostClaims;
use crate::directory::map::Hashed;
use crate::directory::view::NamespaceView;
use crate::names::{IssuerName, KeyId, Namespace, ObjectName, ObjectRef, Uid};
use crate::policy::{Compiled, PolicySet, Selector, Source, compile};
use crate::timings::Timings;

mod affected;
mod allowances;
mod apply;
mod claims;
mod clients;
mod grants;
mod hosts;
mod map;
mod notes;
pub mod reason;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use clients::ClientView;
pub use grants::{AudienceView, Granted, Refused};
pub use view::PolicyView;

/// Everything Countersign knows. Clones share what they have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Directory {
    settings: Arc<Settings>,
    namespaces: Hashed<Namespace, Arc<NamespaceView>>,
    client_ids: ExactClaims<ObjectRef>,
    audiences: ExactClaims<Namespace>,
    hosts: HostClaims,
    allowances: Allowances,
    rings: Arc<BTreeMap<ObjectName, Arc<RingObject>>>,
}

/// What the installation says, rather than an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `--issuer-name`: only objects that name it are ours.
    pub issuer_name: IssuerName,
    /// The `iss` of tokens.
    pub issuer_url: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// What no namespace may claim.
    pub reserved: Reserved,
    /// The constants of the protocols.
    pub timings: Timings,
    /// Who keeps what two namespaces claim.
    pub conflicts: Conflicts,
    /// Whether issuers note which assertions were used: together, or because there is but one.
    pub notes_uses: bool,
    /// Hosts inside the network that clients may publish their keys at.
    pub key_hosts: Hosts,
}

/// Who keeps what two claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflicts {
    /// The older object: objects of a cluster have an age nobody chooses.
    OldestWins,
    /// Nobody: files have no age, so a conflict is an error on both sides.
    Error,
}

/// A ScopePolicy as the Directory holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyObject {
    /// Its namespace and name.
    pub object: ObjectRef,
    /// The UID the API server (or the data folder) gave it.
    pub uid: Uid,
    /// When it was created; settles conflicts in a cluster.
    pub created_at: Timestamp,
    /// `metadata.generation`.
    pub generation: i64,
    /// What it says, but for its rules.
    pub source: Source<()>,
    /// Its rules, and what is wrong with any of it.
    pub compiled: Arc<Compiled>,
}

/// A Namespace as the Directory holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceObject {
    /// Its name.
    pub name: Namespace,
    /// Its labels.
    pub labels: Labels,
    /// Whether it is being deleted, and everything in it.
    pub is_ending: bool,
}

/// What the Directory needs of a SigningKey: keys declared dead count everywhere at once, whatever else the spec says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingObject {
    /// Its name, in the system namespace.
    pub name: ObjectName,
    /// `spec.revokedKeyIds`.
    pub revoked_key_ids: Vec<KeyId>,
}

/// One object that is there, or no longer.
#[derive(Clone, Debug)]
pub enum Change {
    /// An OAuthClient.
    Client(ObjectRef, Option<Arc<ClientObject>>),
    /// A ScopePolicy.
    Policy(ObjectRef, Option<Arc<PolicyObject>>),
    /// A NamespaceAllowance.
    Allowance(ObjectName, Option<Arc<AllowanceObject>>),
    /// A Namespace.
    Namespace(Namespace, Option<Arc<NamespaceObject>>),
    /// A SigningKey of the system namespace.
    Ring(ObjectName, Option<Arc<RingObject>>),
}

// === impl Directory ===

impl Directory {
    /// A Directory of nothing.
    pub fn empty(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            namespaces: Hashed::default(),
            client_ids: ExactClaims::default(),
            audiences: ExactClaims::default(),
            hosts: HostClaims::default(),
            allowances: Allowances::default(),
            rings: Arc::default(),
        }
    }

    /// The Directory after the changes; later changes of the same object override earlier ones.
    #[must_use]
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut update = Update::new(self);
        changes.into_iter().for_each(|change| update.take(change));
        update.finish()
    }

    /// What the installation says.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The usable client with this id: accepted, in possession of the id, and not suspended.
    pub fn client(&self, id: &str) -> Option<&Arc<ClientView>> {
        self.client_of(self.client_ids.holder(id)?).filter(|client| client.usable().is_some())
    }

    /// The usable clients that a ServiceAccount's tokens are good for: of its own namespace alone.
    pub fn clients_of(
        &self,
        namespace: &Namespace,
        account: &ObjectName,
    ) -> impl Iterator<Item = (&Arc<ClientView>, &Client)> {
        let clients = self.namespace(namespace).into_iter().flat_map(|view| view.clients.values());
        let usable = clients.filter_map(|client| Some((client, client.usable()?)));
        usable.filter(move |(_, spec)| spec.service_accounts().contains(account))
    }

    /// The namespaces with usable clients that prove who they are by a pod.
    pub fn namespaces_by_pods(&self) -> impl Iterator<Item = &Namespace> {
        let by_pod = |client: &Arc<ClientView>| client.usable().is_some_and(|spec| !spec.service_accounts().is_empty());
        self.namespaces.iter().filter(move |(_, view)| view.clients.values().any(by_pod)).map(|(name, _)| name)
    }

    /// Whether a namespace is being deleted.
    pub fn is_ending(&self, name: &Namespace) -> bool {
        self.namespace(name).and_then(|view| view.object.as_ref()).is_some_and(|object| object.is_ending)
    }

    /// The client an object is, whatever is wrong with it.
    pub fn client_of(&self, object: &ObjectRef) -> Option<&Arc<ClientView>> {
        self.namespace(&object.namespace)?.clients.get(&object.name)
    }

    /// All clients, whatever is wrong with them.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<ClientView>> {
        self.namespaces.iter().flat_map(|(_, view)| view.clients.values())
    }

    /// The policy an object is: what of it is in force, and what is wrong with the rest.
    pub fn policy(&self, object: &ObjectRef) -> Option<&Arc<PolicyView>> {
        self.namespace(&object.namespace)?.policies.get(&object.name)
    }

    /// All policies.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<PolicyView>> {
        self.namespaces.iter().flat_map(|(_, view)| view.policies.values())
    }

    /// The NamespaceAllowance of this name.
    pub fn allowance(&self, name: &ObjectName) -> Option<&Arc<AllowanceObject>> {
        self.allowances.get(name)
    }

    /// Every NamespaceAllowance.
    pub fn allowances(&self) -> impl Iterator<Item = &Arc<AllowanceObject>> {
        self.allowances.all()
    }

    /// What a selector means. `by-host` depends on the request: see [`Self::by_host`].
    pub fn policy_set(&self, selector: &Selector) -> Option<&Arc<PolicySet>> {
        match selector {
            Selector::Policy(object) => self.policy(object)?.set.as_ref(),
            Selector::Namespace(namespace) => Some(&self.namespace(namespace)?.set),
            Selector::ByHost => None,
        }
    }

    /// All policies of the namespace that holds a request's canonical host name and decoded path.
    pub fn by_host(&self, host: &str, path: &str) -> Option<&Arc<PolicySet>> {
        Some(&self.namespace(self.host_owner(host, path)?)?.set)
    }

    /// The namespace that holds a request's canonical host name and decoded path.
    pub fn host_owner(&self, host: &str, path: &str) -> Option<&Namespace> {
        self.hosts.holder(host, path)
    }

    /// Keys some SigningKey declares dead.
    pub fn revoked_key_ids(&self) -> impl Iterator<Item = &KeyId> {
        self.rings.values().flat_map(|ring| &ring.revoked_key_ids)
    }

    /// The SigningKeys there are.
    pub fn rings(&self) -> impl Iterator<Item = &ObjectName> {
        self.rings.keys()
    }

    /// The labels of a namespace, once it has been seen.
    pub fn labels_of(&self, namespace: &Namespace) -> Option<&Labels> {
        self.namespace(namespace)?.labels()
    }

    fn namespace(&self, name: &Namespace) -> Option<&NamespaceView> {
        self.namespaces.get(name.as_str()).map(|view| &**view)
    }
}

// === impl PolicyObject ===

impl PolicyObject {
    /// Compiles what the object says, once for as long as it stays as it is.
    pub fn new(object: ObjectRef, uid: Uid, created_at: Timestamp, generation: i64, source: Source) -> Self {
        let compiled = Arc::new(compile(&object, &source));
        Self { object, uid, created_at, generation, source: source.without_rules(), compiled }
    }
}

// === impl Settings ===

impl Settings {
    /// Settings with what every installation reserves; `audiences` are the API server's own, besides its Service's names.
    pub fn new(issuer_name: IssuerName, issuer_url: &str, cluster_domain: &str, audiences: Vec<String>) -> Self {
        Self {
            issuer_name,
            issuer_url: issuer_url.to_owned(),
            cluster_domain: cluster_domain.to_owned(),
            reserved: Reserved::new(issuer_url, cluster_domain, audiences),
            timings: Timings::default(),
            conflicts: Conflicts::OldestWins,
            notes_uses: true,
            key_hosts: Hosts::default(),
        }
    }

    /// Whether an object with this `spec.issuer` (absent: `default`) is ours. Others never enter the Directory.
    pub fn is_ours(&self, issuer: Option<&str>) -> bool {
        issuer.unwrap_or("default") == self.issuer_name.as_str()
    }

    pub(crate) fn limits(&self) -> Limits<'_> {
        Limits { reserved: &self.reserved, cluster_domain: &self.cluster_domain }
    }
}

// === impl Conflicts ===

impl Conflicts {
    /// Whether a claim is held, given whether it is the oldest and whether there are others.
    fn settles(self, oldest: bool, contested: bool) -> bool {
        match self {
            Self::OldestWins => oldest,
            Self::Error => !contested,
        }
    }
}
