//! Objects of Envoy Gateway: a SecurityPolicy a target, and leave to refer to the verifier's Service.
//!
//! Every field that matters is written out, the defaults too: what somebody changes later differs from what is wanted. All
//! headers of a request go to a gRPC service unless `headersToExtAuth` names some; the verifier must see all of them, to take
//! away forged identities in every spelling.

use std::collections::BTreeMap;

use countersign_core::names::ObjectRef;
use countersign_core::policy::Target;
use kube::api::ObjectMeta;

use super::kinds::{
    BackendRef, ContextExtension, ExtAuth, GrantFrom, GrantTo, GrpcService, LocalTarget, ReferenceGrant,
    ReferenceGrantSpec, SecurityPolicy, SecurityPolicySpec,
};
use super::{GATEWAY_GROUP, POLICY_EXTENSION, Verifier, object_name, parts};

/// Longer than any answer of the verifier takes; Envoy Gateway's own default is ten seconds.
const TIMEOUT: &str = "1s";
/// The group of SecurityPolicies.
const GROUP: &str = "gateway.envoyproxy.io";

/// Has Envoy Gateway ask the verifier about what comes through a target. With `merged`, beside what the parent's policy asks for.
pub fn security_policy(policy: &ObjectRef, target: &Target, verifier: &Verifier, merged: bool) -> SecurityPolicy {
    let (group, kind, name) = parts(target);
    let target_ref =
        LocalTarget { group: group.to_owned(), kind: kind.to_owned(), name: name.to_owned(), ..LocalTarget::default() };
    SecurityPolicy {
        metadata: ObjectMeta {
            name: Some(object_name(policy, target)),
            namespace: Some(policy.namespace.to_string()),
            ..ObjectMeta::default()
        },
        spec: SecurityPolicySpec {
            target_refs: vec![target_ref],
            merge_type: merged.then(|| "StrategicMerge".to_owned()),
            ext_auth: Some(ext_auth(policy, verifier)),
            ..SecurityPolicySpec::default()
        },
        status: None,
    }
}

/// Whom Envoy asks, and what it tells besides the request. Fails closed.
pub(super) fn ext_auth(policy: &ObjectRef, verifier: &Verifier) -> ExtAuth {
    let extension = ContextExtension {
        name: POLICY_EXTENSION.to_owned(),
        type_: "Value".to_owned(),
        value: Some(policy.to_string()),
        ..ContextExtension::default()
    };
    let service = BackendRef {
        group: String::new(),
        kind: "Service".to_owned(),
        name: verifier.service.clone(),
        namespace: Some(verifier.namespace.clone()),
        port: Some(Verifier::GRPC),
        ..BackendRef::default()
    };
    ExtAuth {
        context_extensions: vec![extension],
        fail_open: Some(false),
        grpc: Some(GrpcService { backend_refs: vec![service], ..GrpcService::default() }),
        status_on_error: Some(503),
        timeout: Some(TIMEOUT.to_owned()),
        ..ExtAuth::default()
    }
}

/// Whether somebody else's policy asks the verifier about this policy, and lets nothing pass without an answer.
pub(super) fn asks_for(spec: &SecurityPolicySpec, policy: &ObjectRef, verifier: &Verifier) -> bool {
    let Some(auth) = &spec.ext_auth else { return false };
    let named = policy.to_string();
    let mut extensions = auth.context_extensions.iter().filter(|extension| extension.name == POLICY_EXTENSION);
    let names_it = extensions.next().is_some_and(|extension| extension.value.as_ref() == Some(&named));
    let only_us = auth.grpc.as_ref().is_some_and(|grpc| {
        !grpc.backend_refs.is_empty() && grpc.backend_refs.iter().all(|service| is_verifier(service, policy, verifier))
    });
    // Headers left out could not be taken away, were they forged.
    let all_headers = !auth.rest.contains_key("headersToExtAuth");
    names_it && only_us && all_headers && auth.fail_open != Some(true)
}

fn is_verifier(service: &BackendRef, policy: &ObjectRef, verifier: &Verifier) -> bool {
    let namespace = service.namespace.as_deref().unwrap_or(policy.namespace.as_str());
    let kind = service.kind.is_empty() || service.kind == "Service";
    let named = (namespace, service.name.as_str(), service.port);
    kind && service.group.is_empty() && named == (&*verifier.namespace, &*verifier.service, Some(Verifier::GRPC))
}

/// Lets the SecurityPolicies of a policy's namespace refer to the verifier's Service; none is needed in its own namespace.
pub fn reference_grant(policy: &ObjectRef, verifier: &Verifier) -> Option<ReferenceGrant> {
    if policy.namespace.as_str() == verifier.namespace {
        return None;
    }
    let from = GrantFrom {
        group: GROUP.to_owned(),
        kind: "SecurityPolicy".to_owned(),
        namespace: policy.namespace.to_string(),
    };
    let to = GrantTo { group: String::new(), kind: "Service".to_owned(), name: Some(verifier.service.clone()) };
    Some(ReferenceGrant {
        metadata: ObjectMeta {
            name: Some(super::fitting(format!("{}.{}", policy.namespace, policy.name))),
            namespace: Some(verifier.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: ReferenceGrantSpec { from: vec![from], to: vec![to] },
    })
}

/// The parts of a target, whose labels are known, that a policy is attached to; none is the whole. No part: it is attached elsewhere.
pub(super) fn parts_of<'a>(
    spec: &'a SecurityPolicySpec,
    (kind, name, labels): (&str, &str, Option<&BTreeMap<String, String>>),
) -> Vec<Option<&'a str>> {
    let refs = spec.target_ref.iter().chain(&spec.target_refs);
    let named = refs.filter(|target| target.group == GATEWAY_GROUP && target.kind == kind && target.name == name);
    let mut parts: Vec<_> = named.map(|target| target.section_name.as_deref()).collect();
    // An expression that is not understood may select it.
    let selected = spec.target_selectors.iter().any(|selector| {
        let has = |(key, value): (&String, &String)| labels.is_some_and(|labels| labels.get(key) == Some(value));
        selector.kind == kind && selector.match_labels.iter().all(has)
    });
    parts.extend(selected.then_some(None));
    parts
}
