//! Targets of Istio: a Gateway or waypoint, and Services of the mesh.
//!
//! The provider comes first: an AuthorizationPolicy that names one the mesh does not have refuses every request. Of several
//! with `CUSTOM` on one workload only one may ask, so ours never joins a foreign one.

use std::collections::BTreeMap;

use countersign_core::policy::Target;

use super::{AtGateway, Attachment, Look, refused, taken, told};
use crate::wiring::hosts::{not_held, of_gateway};
use crate::wiring::istio::{Expected, authorization_policy, provider, provider_name};
use crate::wiring::kinds::{AuthorizationPolicy, LocalTarget};
use crate::wiring::world::{beside, shown};
use crate::wiring::{Word, object_name, parts};

/// What of the mesh stands before a Service.
enum Before<'a> {
    /// A sidecar in each of these pods.
    Sidecars(&'a BTreeMap<String, String>),
    Waypoint,
    /// A node's proxy, which asks nobody.
    NodeOnly,
}

impl Look<'_> {
    pub(super) fn istio_gateway(&self, target: &Target, (place, gateway): AtGateway<'_>) -> Result<Attachment, Word> {
        self.istio_ready()?;
        let hosts = not_held(&of_gateway(self.world, place, gateway), &self.subject.hosts);
        let ours = authorization_policy(self.subject.object, target, None);
        self.authorize(target, ours, refused(&hosts))
    }

    /// A Service is wired where its namespace is in the mesh; everywhere else it only claims its names.
    pub(super) fn service(&self, target: &Target) -> Option<Attachment> {
        if !self.wiring.istio || self.world.authorization.all().is_none() {
            return None;
        }
        let (_, _, name) = parts(target);
        let service = self.world.services.get(&beside(self.subject.object, name))?;
        let before = self.before(&service.labels, &service.selector)?;
        let attachment = match before {
            Before::NodeOnly => {
                let message = "its namespace is in Istio's ambient mesh without a waypoint, and the nodes' proxies ask nobody: \
                               `istioctl waypoint apply --enroll-namespace` makes one";
                Err(Word::not("NoWaypoint", message))
            }
            Before::Sidecars(pods) if pods.is_empty() => {
                let message = "the Service has no selector, so no sidecar is known to stand before it";
                Err(Word::not("TargetNotSupported", message))
            }
            Before::Sidecars(pods) => {
                self.authorize(target, authorization_policy(self.subject.object, target, Some(pods)), None)
            }
            Before::Waypoint => self.authorize(target, authorization_policy(self.subject.object, target, None), None),
        };
        Some(attachment.unwrap_or_else(|word| self.kept(target, word)))
    }

    fn before<'a>(&self, labels: &BTreeMap<String, String>, pods: &'a BTreeMap<String, String>) -> Option<Before<'a>> {
        let namespace = &self.subject.namespace_labels;
        let of = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned();
        if of(namespace, "istio.io/dataplane-mode").as_deref() == Some("ambient") {
            let waypoint = of(labels, "istio.io/use-waypoint").or_else(|| of(namespace, "istio.io/use-waypoint"));
            let there = waypoint.is_some_and(|name| name != "none");
            return Some(if there { Before::Waypoint } else { Before::NodeOnly });
        }
        let injected = of(namespace, "istio-injection").as_deref() == Some("enabled")
            || (namespace.contains_key("istio.io/rev")
                && of(namespace, "istio-injection").as_deref() != Some("disabled"));
        injected.then_some(Before::Sidecars(pods))
    }

    fn istio_ready(&self) -> Result<(), Word> {
        if !self.wiring.istio {
            let message = "it is Istio's, for which this installation writes nothing: set gateway.istio.enabled in the chart's \
                           values, or apply what `countersign check --wiring istio` prints";
            return Err(Word::not("NotEnabled", message));
        }
        if self.world.authorization.is_unread() {
            return Err(Word::not_read());
        }
        if self.world.authorization.all().is_none() {
            let message = "the cluster has no AuthorizationPolicy: install Istio's custom resource definitions";
            return Err(Word::not("NotInstalled", message));
        }
        Ok(())
    }

    fn authorize(&self, target: &Target, ours: AuthorizationPolicy, word: Option<Word>) -> Result<Attachment, Word> {
        let name = object_name(self.subject.object, target);
        let found = self.world.authorization.get(&beside(self.subject.object, &name));
        self.name_is_free("AuthorizationPolicy", &name, found.map(|found| &found.metadata))?;
        self.has_custom(&ours)?;
        self.yields(target, found.is_some())?;
        let provider = self.provider();
        if provider.is_err() && found.is_none() {
            return Err(provider.err().unwrap_or_else(Word::not_read));
        }
        let said = found.map_or_else(
            || Word::wired(format!("AuthorizationPolicy {name} asks the verifier")),
            |found| by_istio(found, &name),
        );
        let word = provider.err().or(word).unwrap_or(said);
        Ok(Attachment { authorization: Some(ours), keeps: false, ..self.kept(target, word) })
    }

    /// Whether the mesh has the provider, else the word with the entry to add.
    fn provider(&self) -> Result<(), Word> {
        let (policy, verifier) = (self.subject.object, &self.wiring.verifier);
        let entry = || provider(policy, verifier);
        let Some(mesh) = &self.world.mesh else {
            let message = format!(
                "the mesh's configuration cannot be read, so nobody knows whether it has the provider {}: let the controller get that ConfigMap",
                provider_name(policy)
            );
            return Err(Word::not("ProviderMissing", message));
        };
        let what = match mesh.has(policy, verifier) {
            Expected::There => return Ok(()),
            Expected::Missing => "has no provider of this policy; have its owner add",
            Expected::Other => "has a provider of this name that does something else; have its owner write",
        };
        Err(Word::not("ProviderMissing", format!("the mesh's configuration {what} to extensionProviders: {}", entry())))
    }

    /// The word where somebody else's policy asks a provider about the same.
    fn has_custom(&self, ours: &AuthorizationPolicy) -> Result<(), Word> {
        let namespace = self.subject.object.namespace.as_str();
        let custom = self.world.authorization.of(namespace).find(|(_, theirs)| {
            let foreign = self.owner(&theirs.metadata).as_ref() != Some(self.subject.object);
            foreign && theirs.spec.action.as_deref() == Some("CUSTOM") && meets(theirs, ours)
        });
        let Some((at, theirs)) = custom else { return Ok(()) };
        if let Some(owner) = self.owner(&theirs.metadata) {
            return Err(Word::not("TargetHasPolicy", taken(&owner)));
        }
        let message = format!(
            "AuthorizationPolicy {} asks another provider about it, and Istio asks one only: have its owner name the provider {} there, or remove it",
            shown(at),
            provider_name(self.subject.object)
        );
        Err(Word::not("TargetHasPolicy", message))
    }
}

/// Whether some workload may be meant by both.
fn meets(theirs: &AuthorizationPolicy, ours: &AuthorizationPolicy) -> bool {
    let targets = |policy: &AuthorizationPolicy| {
        let all: Vec<LocalTarget> = policy.spec.target_ref.iter().chain(&policy.spec.target_refs).cloned().collect();
        all
    };
    let (their_targets, our_targets) = (targets(theirs), targets(ours));
    if !their_targets.is_empty() || !our_targets.is_empty() {
        return their_targets
            .iter()
            .any(|theirs| our_targets.iter().any(|ours| (&theirs.kind, &theirs.name) == (&ours.kind, &ours.name)));
    }
    let labels = |policy: &AuthorizationPolicy| policy.spec.selector.clone().unwrap_or_default().match_labels;
    let (theirs, ours) = (labels(theirs), labels(ours));
    // Pods may have both sets of labels unless a label differs.
    theirs.iter().all(|(key, value)| ours.get(key).is_none_or(|other| other == value))
}

/// What Istio says of ours.
fn by_istio(found: &AuthorizationPolicy, name: &str) -> Word {
    let conditions = || found.status.iter().flat_map(|status| &status.conditions);
    for kind in ["Accepted", "WaypointAccepted"] {
        if let (_, Some(told)) = told(conditions(), &found.metadata, kind) {
            let message =
                format!("Istio does not accept AuthorizationPolicy {name}: {}: {}", told.reason, told.message);
            return Word::not("GatewayRefused", message);
        }
    }
    Word::wired(format!("AuthorizationPolicy {name} asks the verifier"))
}
