//! Targets of Envoy Gateway.
//!
//! Of several SecurityPolicies on one part of a target the oldest holds, and by name where they are as old; one on a rule of a
//! route stands before one on the route, that before one on a listener, and that before one on the Gateway. The nearer takes the place
//! of the farther, unless it is to be merged. So ours never joins a foreign one that holds the same target, is merged with a foreign
//! one of the Gateway that asks nobody, and says so where a foreign one takes its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_core::policy::Target;

use super::{AtGateway, Attachment, Look, few, refused, taken, told};
use crate::wiring::envoy::{asks_for, ext_auth, parts_of, security_policy};
use crate::wiring::hosts::{not_held, of_gateway, of_route};
use crate::wiring::kinds::SecurityPolicy;
use crate::wiring::routes::Route;
use crate::wiring::world::{Place, beside, shown};
use crate::wiring::{Word, name_on, object_name};

/// A policy that is not this ScopePolicy's.
type Foreign<'a> = (&'a Place, &'a Arc<SecurityPolicy>);

/// What is looked at: its namespace, kind and name, and its labels.
type At<'a> = (&'a str, (&'a str, &'a str), Option<&'a BTreeMap<String, String>>);

impl Look<'_> {
    /// A route of Envoy Gateway's; `elsewhere` is the word on a Gateway of somebody else's that it is attached to as well.
    pub(super) fn envoy_route(
        &self,
        target: &Target,
        route: Route<'_>,
        elsewhere: Option<Word>,
    ) -> Result<Attachment, Word> {
        self.envoy_ready()?;
        let mut rules = self.holders((&route.place.0, (route.kind, &route.place.1), route.labels));
        let whole = rules.remove(&None);
        let instead = self.instead(&rules);
        let hosts = not_held(&of_route(self.world, route), &self.subject.hosts);
        let word = elsewhere.or_else(|| overridden(&instead)).or_else(|| refused(&hosts));
        if let Some(attachment) = self.has_policy(target, whole, word.clone())? {
            return Ok(attachment);
        }
        let mut merged = false;
        for (gateway, listener) in route.gateways() {
            let labels = self.world.gateways.get(&gateway).and_then(|gateway| gateway.metadata.labels.as_ref());
            let holders = self.holders((&gateway.0, ("Gateway", &gateway.1), labels));
            let concern = |part: Option<&str>| part.is_none() || listener.is_none() || part == listener;
            for (_, (at, theirs)) in holders.into_iter().filter(|(part, _)| concern(*part)) {
                let theirs_asks = theirs.spec.ext_auth.is_some();
                if theirs_asks && !self.is_of_installation(theirs) {
                    return Err(asks_another(at));
                }
                merged |= !theirs_asks;
            }
        }
        self.write(target, merged, word)
    }

    pub(super) fn envoy_gateway(&self, target: &Target, (place, gateway): AtGateway<'_>) -> Result<Attachment, Word> {
        self.envoy_ready()?;
        if self.world.routes.is_unread() || self.world.grpc_routes.is_unread() {
            return Err(Word::not_read());
        }
        let mut listeners = self.holders((&place.0, ("Gateway", &place.1), gateway.metadata.labels.as_ref()));
        let whole = listeners.remove(&None);
        let mut instead = self.instead(&listeners);
        for route in self.world.routes_of(place) {
            instead.extend(self.instead(&self.holders((&route.place.0, (route.kind, &route.place.1), route.labels))));
        }
        let hosts = not_held(&of_gateway(self.world, place, gateway), &self.subject.hosts);
        let word = overridden(&instead).or_else(|| refused(&hosts));
        if let Some(attachment) = self.has_policy(target, whole, word.clone())? {
            return Ok(attachment);
        }
        self.write(target, false, word)
    }

    /// Of nearer policies those that take the place of one that asks the verifier, for people. One on a rule or a listener is never
    /// merged with that of the whole.
    fn instead(&self, nearer: &BTreeMap<Option<&str>, Foreign<'_>>) -> Vec<String> {
        let apart = nearer.iter().filter(|(part, (_, theirs))| {
            let spec = &theirs.spec;
            let merged = part.is_none() && spec.merge_type.is_some() && spec.ext_auth.is_none();
            let asks = asks_for(spec, self.subject.object, &self.wiring.verifier);
            !merged && !asks && !self.is_of_installation(theirs)
        });
        let named = apart.map(|(part, (at, _))| match part {
            Some(part) => format!("SecurityPolicy {} (part {part})", shown(at)),
            None => format!("SecurityPolicy {}", shown(at)),
        });
        named.collect()
    }

    fn envoy_ready(&self) -> Result<(), Word> {
        if !self.wiring.envoy_gateway {
            let message = "it is Envoy Gateway's, for which this installation writes nothing: set gateway.envoyGateway.enabled in \
                           the chart's values, or apply what `countersign check --wiring envoy-gateway` prints";
            return Err(Word::not("NotEnabled", message));
        }
        if self.world.security.is_unread() {
            return Err(Word::not_read());
        }
        if self.world.security.all().is_none() {
            let message = "the cluster has no SecurityPolicy: install Envoy Gateway's custom resource definitions";
            return Err(Word::not("NotInstalled", message));
        }
        Ok(())
    }

    /// Who holds each part of a target, where that is not this ScopePolicy's: the oldest, by name where they are as old.
    fn holders(&self, (namespace, (kind, name), labels): At<'_>) -> BTreeMap<Option<&str>, Foreign<'_>> {
        let is_ours = |policy: &SecurityPolicy| self.owner(&policy.metadata).as_ref() == Some(self.subject.object);
        let ours = name_on(self.subject.object, kind, name);
        // One of ours by another name is not there to stay: somebody changed its target, or this policy had another.
        let stays = |(at, policy): &Foreign<'_>| !is_ours(policy) || at.1 == ours;
        let mut all: Vec<_> = self.world.security.of(namespace).filter(stays).collect();
        // What is as old stays in the order of names.
        all.sort_by_key(|(_, policy)| policy.metadata.creation_timestamp.as_ref().map(|created| created.0));
        let mut holders = BTreeMap::new();
        for (at, policy) in all {
            for part in parts_of(&policy.spec, (kind, name, labels)) {
                holders.entry(part).or_insert((at, policy));
            }
        }
        holders.retain(|_, (_, policy)| !is_ours(policy));
        holders
    }

    /// Whether a policy is Countersign's, for whichever ScopePolicy.
    fn is_of_installation(&self, theirs: &SecurityPolicy) -> bool {
        self.owner(&theirs.metadata).is_some()
    }

    /// What becomes of a target that somebody else's policy holds: it may have taken in what is needed; then the word is what keeps
    /// requests from being asked about or served all the same, if anything does.
    fn has_policy(
        &self,
        target: &Target,
        foreign: Option<Foreign<'_>>,
        word: Option<Word>,
    ) -> Result<Option<Attachment>, Word> {
        let Some((at, theirs)) = foreign else { return Ok(None) };
        if let Some(owner) = self.owner(&theirs.metadata) {
            return Err(Word::not("TargetHasPolicy", taken(&owner)));
        }
        let (policy, verifier) = (self.subject.object, &self.wiring.verifier);
        if asks_for(&theirs.spec, policy, verifier) {
            let word = word.unwrap_or_else(|| Word::wired(format!("SecurityPolicy {} asks the verifier", shown(at))));
            return Ok(Some(Attachment { refers: true, ..self.kept(target, word) }));
        }
        let auth = serde_json::to_string(&ext_auth(policy, verifier)).unwrap_or_default();
        let message = format!(
            "SecurityPolicy {} has it, and is not Countersign's: take this into its spec, as extAuth: {auth}",
            shown(at)
        );
        Err(Word::not("TargetHasPolicy", message))
    }

    /// Ours, and the word on it: what keeps requests from being served comes before what the gateway says.
    fn write(&self, target: &Target, merged: bool, word: Option<Word>) -> Result<Attachment, Word> {
        let name = object_name(self.subject.object, target);
        let found = self.world.security.get(&beside(self.subject.object, &name));
        self.name_is_free("SecurityPolicy", &name, found.map(|found| &found.metadata))?;
        self.yields(target, found.is_some())?;
        let said = found.map_or_else(|| awaiting(&name), |found| by_gateway(found, &name));
        let word = match (said.holds, word) {
            (Some(false), _) | (_, None) => said,
            (_, Some(word)) => word,
        };
        let security = security_policy(self.subject.object, target, &self.wiring.verifier, merged);
        Ok(Attachment { security: Some(security), keeps: false, refers: true, ..self.kept(target, word) })
    }
}

/// What Envoy Gateway says of ours.
fn by_gateway(found: &SecurityPolicy, name: &str) -> Word {
    let ancestors = found.status.iter().flat_map(|status| &status.ancestors);
    let conditions = ancestors.flat_map(|ancestor| &ancestor.conditions);
    match told(conditions, &found.metadata, "Accepted") {
        (_, Some(told)) => {
            let message =
                format!("Envoy Gateway does not accept SecurityPolicy {name}: {}: {}", told.reason, told.message);
            Word::not("GatewayRefused", message)
        }
        (true, None) => Word::wired(format!("Envoy Gateway has accepted SecurityPolicy {name}")),
        (false, None) => awaiting(name),
    }
}

fn awaiting(name: &str) -> Word {
    let message = format!(
        "SecurityPolicy {name} is written, and Envoy Gateway has not said anything about it: where this stays, see whether it runs"
    );
    Word::unknown("AwaitingGateway", message)
}

/// The word where others take the place of what asks the verifier, if any do.
fn overridden(instead: &[String]) -> Option<Word> {
    let message = || {
        format!(
            "not everything that comes through is asked about: in the place of this one stands {}; name HTTPRoutes in targetRefs in the place of their Gateway, or have the owner remove it",
            few(instead)
        )
    };
    (!instead.is_empty()).then(|| Word::not("Overridden", message()))
}

fn asks_another(at: &Place) -> Word {
    let message = format!(
        "SecurityPolicy {} of its Gateway asks another service about every request, and this one would take its place: {}",
        shown(at),
        "name the Gateway in targetRefs instead, or have its owner take extAuth out"
    );
    Word::not("TargetHasPolicy", message)
}
