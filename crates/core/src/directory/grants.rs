//! Who may have which scopes, computed from specs when it is asked.
//!
//! Flows in: a client and the audiences as their policies define them. Flows out: scopes granted, and refused with a
//! reason. What another namespace defines is not revealed: a scope that does not exist there and one that is not granted
//! are refused alike.

use std::collections::BTreeSet;

use crate::bounds::Labels;
use crate::client::{Access, Client};
use crate::directory::view::NamespaceView;
use crate::directory::{ClientView, Directory, PolicyView, reason};
use crate::names::{Audience, ClientId, Namespace, ScopeName};
use crate::policy::{Grant, Grantee, NamespaceChoice};
use crate::scope::ScopeSet;

/// The most refusals that are named.
const REFUSED_MAX: usize = 64;

/// An audience as all policies of its namespace together define it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AudienceView {
    scopes: BTreeSet<ScopeName>,
    grants: Vec<Grant>,
    resource_servers: BTreeSet<ClientId>,
}

/// What a client is granted of what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Per audience, without audiences of which nothing is granted.
    pub granted: Vec<Access>,
    /// The first refusals.
    pub refused: Vec<Refused>,
    /// How many refusals there are.
    pub refused_count: usize,
}

/// A scope that was asked for and is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The audience.
    pub audience: Audience,
    /// The scope.
    pub scope: ScopeName,
    /// One of `UnknownAudience`, `UnknownScope` and `NotGranted`.
    pub reason: &'static str,
}

/// A client as grants see it.
struct Asker<'a> {
    namespace: &'a Namespace,
    labels: Option<&'a Labels>,
    id: &'a ClientId,
}

// === impl AudienceView ===

impl AudienceView {
    pub(super) fn add(&mut self, policy: &PolicyView) {
        let source = &policy.object.source;
        self.scopes.extend(source.scopes.iter().flatten().map(|scope| scope.name.clone()));
        self.grants.extend(source.grants.iter().flatten().cloned());
        self.resource_servers.extend(source.resource_servers.iter().flatten().cloned());
    }

    /// Whether some policy defines the scope.
    pub fn defines(&self, scope: &ScopeName) -> bool {
        self.scopes.contains(scope)
    }

    /// The scopes that exist, in order.
    pub fn scopes(&self) -> impl Iterator<Item = &ScopeName> {
        self.scopes.iter()
    }

    /// The clients beside it that may exchange its tokens.
    pub fn resource_servers(&self) -> impl Iterator<Item = &ClientId> {
        self.resource_servers.iter()
    }

    fn granted(&self, owner: &Namespace, asker: &Asker<'_>, wanted: &ScopeSet) -> ScopeSet {
        let theirs: Vec<_> = self.grants.iter().filter(|grant| grant.to.iter().any(|to| asker.is(to, owner))).collect();
        let may_have = |scope: &&ScopeName| {
            self.defines(scope) && theirs.iter().any(|grant| grant.scopes.contains(scope.as_str()))
        };
        wanted.iter().filter(may_have).cloned().collect()
    }
}

impl Asker<'_> {
    fn is(&self, grantee: &Grantee, owner: &Namespace) -> bool {
        match grantee {
            Grantee::Namespaces(NamespaceChoice::All) => true,
            Grantee::Namespaces(NamespaceChoice::Same) => self.namespace == owner,
            Grantee::Selector(selector) => self.labels.is_some_and(|labels| selector.matches(labels)),
            Grantee::Client(id) => self.id == id,
        }
    }
}

// === impl Directory ===

impl Directory {
    /// The namespace that holds the audience. Its clients may introspect the audience's tokens.
    pub fn audience_owner(&self, audience: &str) -> Option<&Namespace> {
        self.audiences.holder(audience)
    }

    /// The audience as its namespace defines it.
    pub fn audience(&self, audience: &str) -> Option<&AudienceView> {
        self.namespace(self.audience_owner(audience)?)?.audiences.get(audience)
    }

    /// Whether the client may exchange tokens of the audience: its policies name it, and it lies beside them.
    pub fn is_resource_server(&self, client: &ClientView, audience: &str) -> bool {
        let own = self.audience_owner(audience) == Some(&client.object.object.namespace);
        let named = |spec: &Client, view: &AudienceView| view.resource_servers.contains(&spec.client_id);
        own && client.accepted().zip(self.audience(audience)).is_some_and(|(spec, view)| named(spec, view))
    }

    /// Which of the scopes it asks of the audience the client may have.
    pub fn granted(&self, client: &ClientView, audience: &str) -> ScopeSet {
        let asked = client.accepted().and_then(|spec| spec.access_to(audience));
        asked.map(|access| self.granted_of(client, access)).unwrap_or_default()
    }

    /// Whether the audience's policies would grant the scope to the client, did it ask.
    pub fn would_grant(&self, client: &ClientView, audience: &Audience, scope: &ScopeName) -> bool {
        let access = Access { audience: audience.clone(), scopes: std::iter::once(scope.clone()).collect() };
        !self.granted_of(client, &access).is_empty()
    }

    /// All that is granted to the client and all that is refused.
    pub fn grants(&self, client: &ClientView) -> Granted {
        let mut answer = Granted::default();
        for access in client.accepted().into_iter().flat_map(|spec| &spec.access) {
            let scopes = self.granted_of(client, access);
            for scope in access.scopes.iter().filter(|scope| !scopes.contains(scope.as_str())) {
                answer.refused_count += 1;
                if answer.refused.len() < REFUSED_MAX {
                    let reason = self.refusal(client, &access.audience, scope);
                    answer.refused.push(Refused { audience: access.audience.clone(), scope: scope.clone(), reason });
                }
            }
            if !scopes.is_empty() {
                answer.granted.push(Access { audience: access.audience.clone(), scopes });
            }
        }
        answer
    }

    fn granted_of(&self, client: &ClientView, access: &Access) -> ScopeSet {
        let owner = self.audience_owner(access.audience.as_str());
        let (Some(owner), Some(spec)) = (owner, client.accepted()) else { return ScopeSet::default() };
        let Some(audience) = self.audience(access.audience.as_str()) else { return ScopeSet::default() };
        let namespace = &client.object.object.namespace;
        let labels = self.namespace(namespace).and_then(NamespaceView::labels);
        audience.granted(owner, &Asker { namespace, labels, id: &spec.client_id }, &access.scopes)
    }

    fn refusal(&self, client: &ClientView, audience: &Audience, scope: &ScopeName) -> &'static str {
        let namespace = &client.object.object.namespace;
        match self.audience_owner(audience.as_str()) {
            Some(owner) if owner == namespace => {
                let known = self.audience(audience.as_str()).is_some_and(|audience| audience.defines(scope));
                if known { reason::NOT_GRANTED } else { reason::UNKNOWN_SCOPE }
            }
            None if self.may_claim(namespace, audience) => reason::UNKNOWN_AUDIENCE,
            _ => reason::NOT_GRANTED,
        }
    }

    fn may_claim(&self, namespace: &Namespace, audience: &Audience) -> bool {
        let limits = self.settings.limits();
        self.namespace(namespace).is_some_and(|view| view.bounds.audience(audience, &limits).is_ok())
    }
}
