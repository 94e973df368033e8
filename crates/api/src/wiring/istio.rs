//! Objects of Istio: an AuthorizationPolicy a target, and the extension provider of the mesh that it names.
//!
//! Istio tells a provider nothing about which policy asked. So there is one provider a policy, over HTTP, whose path prefix
//! names the policy; the mesh's owner adds it to the mesh's configuration, since nobody else may. Until it is there, no
//! AuthorizationPolicy is written: Istio would refuse all requests.

use std::collections::BTreeMap;

use countersign_core::names::ObjectRef;
use countersign_core::policy::Target;
use kube::api::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kinds::{AuthorizationPolicy, AuthorizationPolicySpec, LocalTarget, Provider, WorkloadSelector};
use super::{Verifier, covers, object_name, parts};

/// Identity headers, set on allow and taken away from every request.
const IDENTITY: [&str; 4] =
    ["x-countersign-subject", "x-countersign-client", "x-countersign-scope", "x-countersign-decision"];
/// Of a request, what the verifier must see: the credential, identities made up by the caller in any spelling, preflights. There is
/// no pattern for every header: Istio would make of `*` an empty suffix, which Envoy refuses.
const HEADERS: [&str; 5] = ["authorization", "x*", "origin", "access-control-request-method", "content-type"];
/// Of a refusal, what the client is to see.
const REFUSAL: [&str; 3] = ["www-authenticate", "content-type", "retry-after"];

/// What matters of a mesh's configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Services the mesh may ask.
    pub extension_providers: Vec<Value>,
}

/// How a provider of the mesh compares with what a policy needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is there, as it must be.
    There,
    /// None has the name.
    Missing,
    /// One has the name and asks somebody else, about something else, or lets requests pass without an answer.
    Other,
}

/// What the provider of a policy is called. Namespaces hold no dot, so no two policies share it.
pub fn provider_name(policy: &ObjectRef) -> String {
    format!("countersign.{}.{}", policy.namespace, policy.name)
}

/// The entry of `extensionProviders` in the mesh's configuration.
pub fn provider(policy: &ObjectRef, verifier: &Verifier) -> Value {
    let mut asks = decides(policy, verifier);
    let more = json!({
        "timeout": "1s",
        "statusOnError": "503",
        "includeRequestHeadersInCheck": HEADERS,
        "headersToUpstreamOnAllow": IDENTITY,
        "headersToDownstreamOnDeny": REFUSAL,
    });
    if let (Some(asks), Value::Object(more)) = (asks.as_object_mut(), more) {
        asks.extend(more);
    }
    json!({"name": provider_name(policy), "envoyExtAuthzHttp": asks})
}

/// The part of it on which the answer rests.
fn decides(policy: &ObjectRef, verifier: &Verifier) -> Value {
    let prefix = format!("/ext-authz/policy/{}/{}", policy.namespace, policy.name);
    json!({"service": verifier.host(), "port": Verifier::HTTP, "pathPrefix": prefix, "failOpen": false})
}

/// Has Istio ask the provider about everything that comes to a target. `workloads` are the labels of a Service's pods, where
/// each has a sidecar; none: the target's Gateway or waypoint asks.
pub fn authorization_policy(
    policy: &ObjectRef,
    target: &Target,
    workloads: Option<&BTreeMap<String, String>>,
) -> AuthorizationPolicy {
    let (group, kind, name) = parts(target);
    let target_ref =
        LocalTarget { group: group.to_owned(), kind: kind.to_owned(), name: name.to_owned(), ..LocalTarget::default() };
    AuthorizationPolicy {
        metadata: ObjectMeta {
            name: Some(object_name(policy, target)),
            namespace: Some(policy.namespace.to_string()),
            ..ObjectMeta::default()
        },
        spec: AuthorizationPolicySpec {
            action: Some("CUSTOM".to_owned()),
            provider: Some(Provider { name: provider_name(policy) }),
            // One rule without conditions: every request. A list without rules would mean none.
            rules: vec![json!({})],
            selector: workloads.map(|labels| WorkloadSelector { match_labels: labels.clone() }),
            target_refs: if workloads.is_some() { Vec::new() } else { vec![target_ref] },
            ..AuthorizationPolicySpec::default()
        },
        status: None,
    }
}

// === impl MeshConfig ===

impl MeshConfig {
    /// Whether it has the provider of a policy.
    pub fn has(&self, policy: &ObjectRef, verifier: &Verifier) -> Expected {
        let name = provider_name(policy);
        let mut named = self.extension_providers.iter().filter(|provider| provider.get("name") == Some(&json!(name)));
        let Some(first) = named.next() else { return Expected::Missing };
        let asks = first.get("envoyExtAuthzHttp").cloned().unwrap_or_default();
        // Absent means false.
        let closed = asks.get("failOpen").is_none_or(|open| *open == json!(false));
        let mut wanted = decides(policy, verifier);
        if let Some(wanted) = wanted.as_object_mut() {
            wanted.remove("failOpen");
        }
        if named.next().is_none() && closed && covers(&asks, &wanted) { Expected::There } else { Expected::Other }
    }
}
