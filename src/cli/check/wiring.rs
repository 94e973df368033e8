//! `countersign check --wiring WHOM`: what connects the traffic of each policy, for whoever writes it into a gateway by hand.
//!
//! Flows in: manifests in which nothing is wrong. Flows out: YAML, the same the controller would write where it writes
//! anything, and what other gateways have for it.

use std::fmt::Write as _;

use anyhow::Result;
use clap::ValueEnum;
use countersign_api::wiring::{
    GATEWAY_GROUP, Verifier, authorization_policy, parts, provider, reference_grant, security_policy,
};
use countersign_core::directory::PolicyObject;
use countersign_core::names::{Namespace, ObjectRef};
use countersign_core::policy::Target;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::manifests::World;

/// Identity headers, as gateways are told them.
const IDENTITY: [&str; 4] =
    ["X-Countersign-Subject", "X-Countersign-Client", "X-Countersign-Scope", "X-Countersign-Decision"];

/// The Secret from which a proxy that reads no ConfigMap takes the authorities of the verifier's certificate; nobody makes it.
const AUTHORITIES: &str = "countersign-verifier-ca";

/// For whom it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Whom {
    /// SecurityPolicies
    EnvoyGateway,
    /// DestinationRule, extension provider and AuthorizationPolicies
    Istio,
    /// A Middleware
    Traefik,
    /// Annotations of an Ingress
    IngressNginx,
    /// Filter of an HTTPRoute (Gateway API, experimental channel)
    ExternalAuth,
}

/// All of it as one text.
pub(super) fn text(world: &World, whom: Whom, (verifier, system): (&Verifier, &Namespace)) -> Result<String> {
    let mut text = String::new();
    for policy in world.offline.snapshot.directory.policies() {
        text.push_str(&of_policy(&policy.object, whom, (verifier, system))?);
    }
    if text.is_empty() {
        text.push_str("# no ScopePolicy of this installation\n");
    } else if whom == Whom::Istio {
        text.insert_str(0, &destination_rule(verifier, system)?);
    }
    Ok(text)
}

fn of_policy(policy: &PolicyObject, whom: Whom, (verifier, system): (&Verifier, &Namespace)) -> Result<String> {
    let object = &policy.object;
    let targets: Vec<_> = policy.source.targets.iter().filter_map(|target| target.as_ref().ok()).collect();
    match whom {
        Whom::EnvoyGateway => envoy_gateway(object, &targets, verifier),
        Whom::Istio => istio(object, &targets, verifier),
        Whom::Traefik => {
            let note = "traefik: name it in the routers of this policy's hosts";
            let middleware = document(object, note, &traefik(object, verifier))?;
            Ok(format!("---\n{}{middleware}", authorities(system, object.namespace.as_str())))
        }
        Whom::IngressNginx => document(
            object,
            "ingress-nginx: annotations of the Ingress of this policy's hosts",
            &ingress_nginx(object, verifier),
        ),
        Whom::ExternalAuth => external_auth(object, verifier),
    }
}

fn envoy_gateway(object: &ObjectRef, targets: &[&Target], verifier: &Verifier) -> Result<String> {
    let attaching: Vec<_> = targets.iter().filter(|target| !matches!(target, Target::Service { .. })).collect();
    if attaching.is_empty() {
        return Ok(nothing(object, "an HTTPRoute or a Gateway"));
    }
    let mut text = String::new();
    if let Some(grant) = reference_grant(object, verifier) {
        text.push_str(&document(object, "leave to refer to the verifier", &grant)?);
    }
    for target in attaching {
        text.push_str(&document(object, &on(target), &security_policy(object, target, verifier, false))?);
    }
    Ok(text)
}

fn istio(object: &ObjectRef, targets: &[&Target], verifier: &Verifier) -> Result<String> {
    let attaching: Vec<_> = targets.iter().filter(|target| !matches!(target, Target::HttpRoute { .. })).collect();
    if attaching.is_empty() {
        return Ok(nothing(object, "a Gateway or a Service"));
    }
    let entry = serde_saphyr::to_string(&json!({"extensionProviders": [provider(object, verifier)]}))?;
    let mut text = format!("---\n# {object}: the mesh's owner adds this to the mesh's configuration first\n");
    for line in entry.lines() {
        writeln!(text, "#   {line}")?;
    }
    for target in attaching {
        let mut note = on(target);
        if matches!(target, Target::Service { .. }) {
            note.push_str("; with sidecars write a selector with the labels of its pods in the place of targetRefs");
        }
        text.push_str(&document(object, &note, &authorization_policy(object, target, None))?);
    }
    Ok(text)
}

fn traefik(object: &ObjectRef, verifier: &Verifier) -> Value {
    json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "Middleware",
        "metadata": {"name": format!("countersign-{}", object.name), "namespace": object.namespace},
        "spec": {"forwardAuth": {
            "address": address(verifier, "forward-auth", object),
            "trustForwardHeader": false,
            "authResponseHeaders": IDENTITY,
            "tls": {"caSecret": AUTHORITIES},
        }}
    })
}

/// Has a mesh speak TLS to the verifier: an extension provider does not say whether to.
fn destination_rule(verifier: &Verifier, system: &Namespace) -> Result<String> {
    let name = format!("{}.{}.svc", verifier.service, verifier.namespace);
    let tls = json!({"mode": "SIMPLE", "sni": name, "subjectAltNames": [name], "credentialName": AUTHORITIES});
    let rule = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": verifier.service, "namespace": verifier.namespace},
        "spec": {
            "host": verifier.host(),
            "trafficPolicy": {"portLevelSettings": [{"port": {"number": Verifier::HTTP}, "tls": tls}]},
        }
    });
    let note = "# once, for a verifier that serves TLS, as it does by default. A Gateway reads credentialName beside itself; a sidecar reads\n\
                # none: there write caCertificates with the path of a file in the proxy in its place\n";
    let secret = authorities(system, "NAMESPACE-OF-THE-GATEWAY");
    Ok(format!("---\n{note}{secret}{}", serde_saphyr::to_string(&rule)?))
}

/// How the Secret with the authorities is made for a namespace, as comments.
fn authorities(system: &Namespace, namespace: &str) -> String {
    format!(
        "# Secret {AUTHORITIES} is for you to make, and again when an authority follows another (docs/tls.md):\n\
         #   kubectl -n {system} get configmap ca-bundle -o jsonpath='{{.data.ca\\.crt}}' |\n\
         #   kubectl -n {namespace} create secret generic {AUTHORITIES} --from-file=ca.crt=/dev/stdin --dry-run=client -o yaml |\n\
         #   kubectl apply -f -\n\
         # Where not the controller makes the verifier's certificate there is no ca-bundle: take the authority of whoever does.\n"
    )
}

fn ingress_nginx(object: &ObjectRef, verifier: &Verifier) -> Value {
    json!({"metadata": {"annotations": {
        "nginx.ingress.kubernetes.io/auth-url": address(verifier, "auth-request", object),
        "nginx.ingress.kubernetes.io/auth-response-headers": IDENTITY.join(","),
    }}})
}

fn external_auth(object: &ObjectRef, verifier: &Verifier) -> Result<String> {
    let service = json!({"name": verifier.service, "namespace": verifier.namespace, "port": Verifier::HTTP});
    let path = format!("/ext-authz/policy/{}/{}", object.namespace, object.name);
    let filter = json!({"filters": [{
        "type": "ExternalAuth",
        // No list of headers: all of them come to the verifier, and all of its own go on.
        "externalAuth": {"protocol": "HTTP", "backendRef": service, "http": {"path": path}},
    }]});
    let mut text = document(object, "Gateway API: in each rule of the HTTPRoute", &filter)?;
    if let Some(mut grant) = reference_grant(object, verifier) {
        for from in &mut grant.spec.from {
            (from.group, from.kind) = (GATEWAY_GROUP.to_owned(), "HTTPRoute".to_owned());
        }
        text.push_str(&document(object, "leave to refer to the verifier", &grant)?);
    }
    Ok(text)
}

fn address(verifier: &Verifier, wire: &str, object: &ObjectRef) -> String {
    let host = verifier.host();
    format!("https://{host}:{}/{wire}/{}/{}", Verifier::HTTP, object.namespace, object.name)
}

fn on(target: &Target) -> String {
    let (_, kind, name) = parts(target);
    format!("on {kind} {name}")
}

fn nothing(object: &ObjectRef, what: &str) -> String {
    format!("---\n# {object}: name {what} in spec.targetRefs\n")
}

fn document(object: &ObjectRef, note: &str, content: &impl Serialize) -> Result<String> {
    Ok(format!("---\n# {object}: {note}\n{}", serde_saphyr::to_string(content)?))
}
