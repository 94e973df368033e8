//! Targets of Envoy Gateway.
//!
//! Of several SecurityPolicies on one target the oldest holds; one on a route takes the place of one on its Gateway, unless
//! it is to be merged. So ours never joins a foreign one on the same target, is merged with a foreign one of the Gateway
//! that asks nobody, and says so where a foreign one takes its place.

use std::sync::Arc;

use countersign_core::policy::Target;

use super::{AtGateway, AtRoute, Attachment, Look, few, refused, taken, told};
use crate::wiring::envoy::{Attached, asks_for, attached, ext_auth, security_policy};
use crate::wiring::hosts::{not_held, of_gateway, of_route};
use crate::wiring::kinds::{HttpRoute, SecurityPolicy};
use crate::wiring::world::{Place, beside, shown};
use crate::wiring::{Word, object_name, parts};

/// A policy somebody else wrote.
type Foreign<'a> = (&'a Place, &'a Arc<SecurityPolicy>, Attached<'a>);

impl Look<'_> {
    /// A route of Envoy Gateway's; `elsewhere` is the word on a Gateway of somebody else's that it is attached to as well.
    pub(super) fn envoy_route(
        &self,
        target: &Target,
        (place, route): AtRoute<'_>,
        elsewhere: Option<Word>,
    ) -> Result<Attachment, Word> {
        self.envoy_ready()?;
        let (_, kind, name) = parts(target);
        let foreign = self.foreign(&place.0, (kind, name), route.metadata.labels.as_ref());
        if let Some(attachment) = self.has_policy(target, foreign.first())? {
            return Ok(attachment);
        }
        let mut merged = false;
        for parent in route.spec.parent_refs.iter().filter_map(|parent| parent.gateway(&place.0)) {
            let labels = self.world.gateways.get(&parent).and_then(|gateway| gateway.metadata.labels.as_ref());
            for (at, theirs, _) in self.foreign(&parent.0, ("Gateway", &parent.1), labels) {
                let theirs_asks = theirs.spec.ext_auth.is_some();
                if theirs_asks && !self.is_of_installation(theirs) {
                    let message = format!(
                        "SecurityPolicy {} of its Gateway asks another service about every request, and this one would take its place: {}",
                        shown(at),
                        "name the Gateway in targetRefs instead, or have its owner take extAuth out"
                    );
                    return Err(Word::not("TargetHasPolicy", message));
                }
                merged |= !theirs_asks;
            }
        }
        let hosts = not_held(&of_route(self.world, place, route), &self.subject.hosts);
        let word = elsewhere.or_else(|| (!hosts.is_empty()).then(|| refused(&hosts)));
        self.write(target, merged, word)
    }

    pub(super) fn envoy_gateway(&self, target: &Target, (place, gateway): AtGateway<'_>) -> Result<Attachment, Word> {
        self.envoy_ready()?;
        let (_, kind, name) = parts(target);
        let foreign = self.foreign(&place.0, (kind, name), gateway.metadata.labels.as_ref());
        let (sections, whole): (Vec<_>, Vec<_>) = foreign.into_iter().partition(|(.., how)| how.section.is_some());
        if let Some(attachment) = self.has_policy(target, whole.first())? {
            return Ok(attachment);
        }
        let mut instead: Vec<_> = sections.iter().map(|(at, ..)| format!("SecurityPolicy {}", shown(at))).collect();
        instead.extend(self.world.routes_of(place).flat_map(|(at, route)| self.takes_over(at, route)));
        let hosts = not_held(&of_gateway(self.world, place, gateway), &self.subject.hosts);
        let word =
            if instead.is_empty() { (!hosts.is_empty()).then(|| refused(&hosts)) } else { Some(overridden(&instead)) };
        self.write(target, false, word)
    }

    /// Foreign policies on a route that take the place of its Gateway's.
    fn takes_over(&self, place: &Place, route: &HttpRoute) -> Vec<String> {
        let all = self.foreign(&place.0, ("HTTPRoute", &place.1), route.metadata.labels.as_ref());
        let over = all.into_iter().filter(|(_, theirs, _)| {
            let spec = &theirs.spec;
            !self.is_of_installation(theirs) && (spec.merge_type.is_none() || spec.ext_auth.is_some())
        });
        over.map(|(at, ..)| format!("SecurityPolicy {}", shown(at))).collect()
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

    /// Policies on a target that are not this policy's.
    fn foreign<'a>(
        &'a self,
        namespace: &str,
        (kind, name): (&'a str, &'a str),
        labels: Option<&'a std::collections::BTreeMap<String, String>>,
    ) -> Vec<Foreign<'a>> {
        let all = self
            .world
            .security
            .of(namespace)
            .filter_map(|(at, theirs)| Some((at, theirs, attached(&theirs.spec, (kind, name, labels))?)));
        all.filter(|(_, theirs, _)| (self.subject.owner)(&theirs.metadata).as_ref() != Some(self.subject.object))
            .collect()
    }

    /// Whether a policy is Countersign's, for whichever ScopePolicy.
    fn is_of_installation(&self, theirs: &SecurityPolicy) -> bool {
        (self.subject.owner)(&theirs.metadata).is_some()
    }

    /// What becomes of a target that somebody else's policy has: it may have taken in what is needed.
    fn has_policy(&self, target: &Target, foreign: Option<&Foreign<'_>>) -> Result<Option<Attachment>, Word> {
        let Some((at, theirs, _)) = foreign else { return Ok(None) };
        if let Some(owner) = (self.subject.owner)(&theirs.metadata) {
            return Err(Word::not("TargetHasPolicy", taken(&owner)));
        }
        let (policy, verifier) = (self.subject.object, &self.wiring.verifier);
        if asks_for(&theirs.spec, policy, verifier) {
            let word = Word::wired(format!("SecurityPolicy {} asks the verifier", shown(at)));
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

fn overridden(instead: &[String]) -> Word {
    let message = format!(
        "not everything that comes through is asked about: in the place of this one stands {}; name those routes in targetRefs, or have their owner remove it",
        few(instead)
    );
    Word::not("Overridden", message)
}
