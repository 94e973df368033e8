//! How each target of a policy is to be wired.
//!
//! Flows in: a policy's targets and hosts, the world. Flows out: per target the object that shall be there, or that what is
//! there stays, and the word to report. What is in place is never taken away because of what others do: that would open
//! the target.

mod envoy;
mod istio;

use countersign_core::names::ObjectRef;
use countersign_core::policy::{HostPattern, Target};
use kube::api::ObjectMeta;

use super::kinds::{AuthorizationPolicy, Gateway, SecurityPolicy};
use super::routes::Route;
use super::world::{Known, Place, World, beside, shown};
use super::{Wiring, Word, object_name, parts};

/// Envoy Gateway's classes are made by it.
const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/gatewayclass-controller";
/// Istio's gateways, and its waypoints.
const ISTIO: [&str; 2] = ["istio.io/gateway-controller", "istio.io/mesh-controller"];

/// A policy to be wired.
pub struct Subject<'a> {
    /// Which.
    pub object: &'a ObjectRef,
    /// What it attaches to.
    pub targets: Vec<Target>,
    /// The hosts it holds.
    pub hosts: Vec<HostPattern>,
    /// The older policy that names a target too and was first, if there is one.
    pub older: &'a dyn Fn(&Target) -> Option<ObjectRef>,
    /// Whose object it is, by its owner record.
    pub owner: &'a dyn Fn(&ObjectMeta) -> Option<ObjectRef>,
    /// The labels of its namespace.
    pub namespace_labels: std::collections::BTreeMap<String, String>,
}

/// How one target is to be wired.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// Which.
    pub target: Target,
    /// What is so of it, once what shall be there is there.
    pub word: Word,
    /// The name of the object that wires it.
    pub name: String,
    /// Envoy Gateway's, as it shall be.
    pub security: Option<SecurityPolicy>,
    /// Istio's, as it shall be.
    pub authorization: Option<AuthorizationPolicy>,
    /// Whether what is there under the name stays.
    pub keeps: bool,
    /// Whether somebody's SecurityPolicy refers to the verifier's Service.
    pub refers: bool,
}

/// How each target that can be wired is to be. A Service is one only in an Istio mesh.
pub fn attach(subject: &Subject<'_>, world: &World, wiring: &Wiring) -> Vec<Attachment> {
    let look = Look { subject, world, wiring };
    subject.targets.iter().filter_map(|target| look.attach(target)).collect()
}

/// Who makes traffic of a target what it is.
enum Maker<'a> {
    EnvoyGateway,
    Istio,
    Other(&'a str),
    /// The Gateway or its class is not there.
    Nobody,
}

struct Look<'a> {
    subject: &'a Subject<'a>,
    world: &'a World,
    wiring: &'a Wiring,
}

impl Attachment {
    /// Nothing is written; what is there stays.
    fn kept(subject: &Subject<'_>, target: &Target, word: Word) -> Self {
        Self {
            target: target.clone(),
            word,
            name: object_name(subject.object, target),
            security: None,
            authorization: None,
            keeps: true,
            refers: false,
        }
    }
}

impl Look<'_> {
    fn attach(&self, target: &Target) -> Option<Attachment> {
        let attachment = match target {
            Target::HttpRoute { .. } => self.route(target),
            Target::Gateway { .. } => self.gateway(target),
            Target::Service { .. } => return self.service(target),
        };
        Some(attachment.unwrap_or_else(|word| self.kept(target, word)))
    }

    fn kept(&self, target: &Target, word: Word) -> Attachment {
        Attachment::kept(self.subject, target, word)
    }

    fn route(&self, target: &Target) -> Result<Attachment, Word> {
        let (place, route) = self.find(&self.world.routes, target)?;
        let route = Route::http(&place, route);
        let parents: Vec<_> = route.gateways().map(|(gateway, _)| gateway).collect();
        if parents.is_empty() {
            let message = "it is attached to no Gateway: add one to its parentRefs; in an Istio mesh name the Service it stands before in targetRefs";
            return Err(Word::not("TargetNotSupported", message));
        }
        let makers: Vec<_> = parents.iter().map(|gateway| (gateway, self.maker(gateway))).collect();
        if makers.iter().any(|(_, maker)| matches!(maker, Maker::EnvoyGateway)) {
            let elsewhere = makers.iter().find(|(_, maker)| !matches!(maker, Maker::EnvoyGateway));
            let elsewhere = elsewhere.map(|(gateway, maker)| no_route(gateway, maker));
            return self.envoy_route(target, route, elsewhere);
        }
        Err(makers.first().map_or_else(Word::not_read, |(gateway, maker)| no_route(gateway, maker)))
    }

    fn gateway(&self, target: &Target) -> Result<Attachment, Word> {
        let (place, gateway) = self.find(&self.world.gateways, target)?;
        match self.maker(&place) {
            Maker::EnvoyGateway => self.envoy_gateway(target, (&place, gateway)),
            Maker::Istio => self.istio_gateway(target, (&place, gateway)),
            other => Err(no_route(&place, &other)),
        }
    }

    /// The target itself.
    fn find<'a, K>(&self, known: &'a Known<K>, target: &Target) -> Result<(Place, &'a K), Word> {
        let (_, kind, name) = parts(target);
        let place = beside(self.subject.object, name);
        if known.is_unread() || self.world.gateways.is_unread() || self.world.classes.is_unread() {
            return Err(Word::not_read());
        }
        if known.all().is_none() {
            let message = format!("the cluster has no {kind}: install the Gateway API");
            return Err(Word::not("NotInstalled", message));
        }
        let Some(found) = known.get(&place) else {
            let message = format!("there is no {kind} {}: correct the name, or apply it", shown(&place));
            return Err(Word::not("TargetNotFound", message));
        };
        Ok((place, found))
    }

    fn maker(&self, gateway: &Place) -> Maker<'_> {
        let controller = self.world.gateways.get(gateway).and_then(|gateway| self.world.controller(gateway));
        match controller {
            None => Maker::Nobody,
            Some(ENVOY_GATEWAY) => Maker::EnvoyGateway,
            Some(controller) if ISTIO.contains(&controller) => Maker::Istio,
            Some(other) => Maker::Other(other),
        }
    }

    /// The word where an older policy names the target too and this one has nothing in place.
    fn yields(&self, target: &Target, in_place: bool) -> Result<(), Word> {
        match (self.subject.older)(target).filter(|_| !in_place) {
            Some(older) => Err(Word::not("TargetHasPolicy", taken(&older))),
            None => Ok(()),
        }
    }

    /// Whose an object is. What we write lies beside its ScopePolicy: a record of another namespace is nobody's.
    fn owner(&self, meta: &ObjectMeta) -> Option<ObjectRef> {
        (self.subject.owner)(meta).filter(|owner| meta.namespace.as_deref() == Some(owner.namespace.as_str()))
    }

    /// The word where somebody else's object has the name ours would have.
    fn name_is_free(&self, kind: &str, name: &str, found: Option<&ObjectMeta>) -> Result<(), Word> {
        let foreign = found.is_some_and(|meta| self.owner(meta).as_ref() != Some(self.subject.object));
        if !foreign {
            return Ok(());
        }
        let message = format!("{kind} {name} is not this policy's and is left alone: delete or rename it");
        Err(Word::not("NotOwned", message))
    }
}

/// That another ScopePolicy has the target.
fn taken(other: &ObjectRef) -> String {
    format!("ScopePolicy {other} has it already: put the rules there, or name another target")
}

/// Why nothing is written for a Gateway.
fn no_route(gateway: &Place, maker: &Maker<'_>) -> Word {
    let gateway = shown(gateway);
    match maker {
        Maker::Nobody => {
            let message = format!("Gateway {gateway}, or its GatewayClass, is not there: apply it");
            Word::not("TargetNotFound", message)
        }
        Maker::Istio => {
            let message = format!(
                "Gateway {gateway} is Istio's, which asks for a whole Gateway or Service only: name that Gateway, or the Service behind the route, in targetRefs"
            );
            Word::not("TargetNotSupported", message)
        }
        Maker::Other(controller) => {
            let message = format!(
                "Gateway {gateway} is made by {controller}, for which nothing is written: `countersign check --wiring external-auth` prints what the Gateway API has for it"
            );
            Word::not("TargetNotSupported", message)
        }
        Maker::EnvoyGateway => Word::not_read(),
    }
}

/// A few of many, for people.
fn few(all: &[String]) -> String {
    const NAMED: usize = 3;
    let more = all.len().saturating_sub(NAMED);
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// The word on what is refused although it comes to the verifier, if anything is.
fn refused(hosts: &[String]) -> Option<Word> {
    let message = || {
        format!(
            "requests for {} are refused, since the policy does not hold the host: claim it in spec.routes, with a NamespaceAllowance",
            few(hosts)
        )
    };
    (!hosts.is_empty()).then(|| Word::not("HostNotClaimed", message()))
}

/// The gateway's own word on an object of ours, if it is about the newest version of it.
fn told<'a>(
    conditions: impl Iterator<Item = &'a super::kinds::Told>,
    meta: &ObjectMeta,
    kind: &str,
) -> (bool, Option<&'a super::kinds::Told>) {
    let generation = meta.generation.unwrap_or_default().to_string();
    let current = |told: &&super::kinds::Told| {
        told.observed_generation.is_null() || told.observed_generation.to_string().trim_matches('"') == generation
    };
    let mut about: Vec<_> = conditions.filter(|told| told.type_ == kind).filter(current).collect();
    about.sort_by_key(|told| told.status == "True");
    let refused = about.first().copied().filter(|told| told.status == "False");
    (!about.is_empty(), refused)
}

type AtGateway<'a> = (&'a Place, &'a Gateway);
