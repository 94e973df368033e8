//! What the Directory knows of one namespace.
//!
//! Flows in: the namespace's objects, its bounds, and who holds what it claims. Flows out: per policy what of it is in
//! force and what is wrong with the rest; per audience what all policies together define.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bounds::{Bounds, Labels, OutOfBounds, service_hosts};
use crate::directory::claims::{ExactClaims, Rank};
use crate::directory::hosts::HostKey;
use crate::directory::map::Ordered;
use crate::directory::{AudienceView, ClientView, NamespaceObject, PolicyObject, Settings, reason};
use crate::names::{Audience, Namespace, ObjectName, ScopeName};
use crate::policy::{Accepted, HostPattern, Pattern, PolicySet, Problem, Target};
use crate::scope::ScopeSet;

/// One namespace of the Directory.
#[derive(Clone, Debug)]
pub(super) struct NamespaceView {
    pub(super) object: Option<Arc<NamespaceObject>>,
    pub(super) bounds: Bounds,
    pub(super) policies: Ordered<ObjectName, Arc<PolicyView>>,
    pub(super) clients: Ordered<ObjectName, Arc<ClientView>>,
    pub(super) audiences: Ordered<Audience, AudienceView>,
    /// All policies merged.
    pub(super) set: Arc<PolicySet>,
    /// Which client writes which Secret.
    pub(super) secrets: ExactClaims<ObjectName>,
}

/// What the policies of a namespace claim, each with its oldest claim.
#[derive(Default)]
pub(super) struct Claimed {
    pub(super) audiences: BTreeMap<Audience, Rank>,
    pub(super) hosts: BTreeMap<HostKey, Rank>,
}

/// A policy, what of it is in force and what is wrong with the rest.
#[derive(Clone, Debug)]
pub struct PolicyView {
    /// The object.
    pub object: Arc<PolicyObject>,
    /// What it claims and holds.
    pub accepted: Accepted,
    /// Each element that is not in force, and why.
    pub problems: Vec<Problem>,
    /// The policy alone, once it is known what it holds.
    pub(super) set: Option<Arc<PolicySet>>,
    /// What it claims within its bounds.
    pub(super) claims: Arc<[ElementClaim]>,
    /// What is out of its bounds.
    pub(super) out_of_bounds: Arc<[Problem]>,
}

/// What one element of a policy claims.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ElementClaim {
    pub(super) element: String,
    pub(super) thing: Thing,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Thing {
    Audience(Audience),
    Host(HostPattern, Pattern, HostKey),
}

/// Sets are functions of what is compared here.
impl PartialEq for NamespaceView {
    fn eq(&self, other: &Self) -> bool {
        let Self { object, bounds, policies, clients, audiences, set: _, secrets } = self;
        (object, bounds, policies) == (&other.object, &other.bounds, &other.policies)
            && (clients, audiences, secrets) == (&other.clients, &other.audiences, &other.secrets)
    }
}

/// The same.
impl PartialEq for PolicyView {
    fn eq(&self, other: &Self) -> bool {
        let Self { object, accepted, problems, set: _, claims, out_of_bounds } = self;
        (object, accepted, problems) == (&other.object, &other.accepted, &other.problems)
            && (claims, out_of_bounds) == (&other.claims, &other.out_of_bounds)
    }
}

// === impl NamespaceView ===

impl NamespaceView {
    pub(super) fn new(name: &Namespace) -> Self {
        Self {
            object: None,
            bounds: Bounds::new(name, None, []),
            policies: Ordered::default(),
            clients: Ordered::default(),
            audiences: Ordered::default(),
            set: Arc::default(),
            secrets: ExactClaims::default(),
        }
    }

    /// The labels, when the namespace has been seen.
    pub(super) fn labels(&self) -> Option<&Labels> {
        self.object.as_ref().map(|object| &object.labels)
    }

    /// Whether nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.object.is_none() && self.policies.is_empty() && self.clients.is_empty()
    }

    /// Adds up what the policies claim.
    pub(super) fn claims(&self) -> Claimed {
        let mut claimed = Claimed::default();
        for policy in self.policies.values() {
            let rank = Rank { created_at: policy.object.created_at, object: policy.object.object.clone() };
            for claim in policy.claims.iter() {
                let oldest = match &claim.thing {
                    Thing::Audience(audience) => {
                        claimed.audiences.entry(audience.clone()).or_insert_with(|| rank.clone())
                    }
                    Thing::Host(_, _, key) => claimed.hosts.entry(key.clone()).or_insert_with(|| rank.clone()),
                };
                if rank < *oldest {
                    *oldest = rank.clone();
                }
            }
        }
        claimed
    }

    /// Puts together what the policies define, once it is known what each of them holds.
    pub(super) fn settle(&mut self, conflict: impl Fn(&ElementClaim) -> Option<Problem>) {
        let mut policies: Vec<_> = self.policies.values().map(|policy| policy.settle(&conflict)).collect();
        self.set = match policies.as_slice() {
            [PolicyView { set: Some(only), .. }] => only.clone(),
            all => {
                Arc::new(PolicySet::build(all.iter().map(|policy| (policy.object.compiled.clone(), &policy.accepted))))
            }
        };
        let mut audiences: BTreeMap<Audience, AudienceView> = BTreeMap::new();
        for policy in &policies {
            if let Some(audience) = &policy.accepted.audience {
                audiences.entry(audience.clone()).or_default().add(policy);
            }
        }
        let mut ambiguous = self.set.ambiguities();
        for policy in &mut policies {
            let audience = policy.accepted.audience.as_ref().and_then(|audience| audiences.get(audience));
            policy.problems.extend(audience.into_iter().flat_map(|audience| dangling(&policy.object, audience)));
            let mine = ambiguous.extract_if(.., |(object, _)| *object == policy.object.object);
            policy.problems.extend(mine.map(|(_, problem)| problem));
        }
        self.policies =
            policies.into_iter().map(|policy| (policy.object.object.name.clone(), Arc::new(policy))).collect();
        self.audiences = audiences.into_iter().collect();
    }
}

// === impl PolicyView ===

impl PolicyView {
    /// A policy whose claims nobody has settled yet.
    pub(super) fn new(object: Arc<PolicyObject>, bounds: &Bounds, settings: &Settings) -> Self {
        let (claims, out_of_bounds) = (Arc::default(), Arc::default());
        let unsettled =
            Self { object, accepted: Accepted::default(), problems: Vec::new(), set: None, claims, out_of_bounds };
        unsettled.within(bounds, settings)
    }

    /// The policy within other bounds.
    pub(super) fn within(&self, bounds: &Bounds, settings: &Settings) -> Self {
        let (claims, problems) = claims(&self.object, bounds, settings);
        Self { claims: claims.into(), out_of_bounds: problems.into(), ..self.clone() }
    }

    fn settle(&self, conflict: impl Fn(&ElementClaim) -> Option<Problem>) -> Self {
        let mut accepted = Accepted::default();
        let mut problems = self.object.compiled.problems().to_vec();
        problems.extend(self.out_of_bounds.iter().cloned());
        for claim in self.claims.iter() {
            match (conflict(claim), &claim.thing) {
                (Some(problem), _) => problems.push(problem),
                (None, Thing::Audience(audience)) => accepted.audience = Some(audience.clone()),
                (None, Thing::Host(host, prefix, _)) => accepted.hosts.push((host.clone(), prefix.clone())),
            }
        }
        accepted.hosts.shrink_to_fit();
        // The spellings of a Service's name share their element.
        problems.dedup();
        let set = self.set.clone().filter(|_| accepted == self.accepted);
        let set = set.unwrap_or_else(|| Arc::new(PolicySet::build([(self.object.compiled.clone(), &accepted)])));
        Self { accepted, problems, set: Some(set), ..self.clone() }
    }
}

/// What the elements of a policy claim within its bounds, and what is wrong with the others.
fn claims(object: &PolicyObject, bounds: &Bounds, settings: &Settings) -> (Vec<ElementClaim>, Vec<Problem>) {
    let limits = settings.limits();
    let (mut claims, mut problems) = (Vec::new(), Vec::new());
    let mut take = |element: String, thing: Thing| {
        let allowed = match &thing {
            Thing::Audience(audience) => bounds.audience(audience, &limits),
            Thing::Host(host, prefix, _) => bounds.host(host, prefix, &limits),
        };
        match allowed {
            Ok(()) => claims.push(ElementClaim { element, thing }),
            Err(why) => problems.push(out_of_bounds(element, why)),
        }
    };
    if let Ok(audience) = &object.source.audience {
        take("spec.audience".to_owned(), Thing::Audience(audience.clone()));
    }
    let everything = Pattern::everything();
    let mut host = |element: String, host: HostPattern, prefix: &Pattern| {
        let key = HostKey::new(&host, prefix);
        take(element, Thing::Host(host, prefix.clone(), key));
    };
    for (index, target) in object.source.targets.iter().enumerate() {
        let Ok(Target::Service { name }) = target else { continue };
        let names = service_hosts(name, &object.object.namespace, &settings.cluster_domain);
        for name in names.iter().filter_map(|name| name.parse().ok()) {
            host(format!("spec.targetRefs[{index}]"), name, &everything);
        }
    }
    for (index, route) in object.source.routes.iter().enumerate() {
        let Ok(route) = route else { continue };
        let prefix = route.path_prefix.as_ref().unwrap_or(&everything);
        for (at, name) in route.hosts.iter().enumerate() {
            host(format!("spec.routes[{index}].hosts[{at}]"), name.clone(), prefix);
        }
    }
    problems.dedup();
    (claims, problems)
}

fn out_of_bounds(element: String, why: OutOfBounds) -> Problem {
    let reason = match why {
        OutOfBounds::Reserved => reason::RESERVED,
        OutOfBounds::NotAllowed => reason::NOT_ALLOWED,
    };
    Problem::new(element, reason, why.to_string())
}

/// Scopes a policy uses and no policy of its audience defines: they are never granted.
fn dangling(object: &PolicyObject, audience: &AudienceView) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut check = |element: String, scopes: &ScopeSet| {
        let unknown: BTreeSet<_> =
            scopes.iter().filter(|scope| !audience.defines(scope)).map(ScopeName::as_str).collect();
        if !unknown.is_empty() {
            let names = unknown.into_iter().collect::<Vec<_>>().join(", ");
            let message =
                format!("no policy of this audience defines {names}: add it to spec.scopes, or correct the name");
            problems.push(Problem::new(element, reason::UNKNOWN_SCOPE, message));
        }
    };
    for (index, grant) in object.source.grants.iter().enumerate() {
        if let Ok(grant) = grant {
            check(format!("spec.grants[{index}].scopes"), &grant.scopes);
        }
    }
    for (rule, at, scopes) in object.compiled.wanted_scopes() {
        check(format!("spec.rules[{rule}].allow[{at}].scopes"), scopes);
    }
    problems
}
