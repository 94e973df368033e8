//! What stands around the clients: what their namespaces must be allowed, and the policies of their audiences.
//!
//! Flows in: the clients that are printed. Flows out: a NamespaceAllowance a namespace (more, where one cannot hold all) and
//! for each audience whose Service is known a ScopePolicy to go on from; of other audiences it is told that nobody serves them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_core::bounds::audience_service;
use countersign_core::names::{Audience, Namespace, ScopeName};
use serde_json::{Map, Value, json};

use super::super::report::{Finding, Manifest, Reason, Severity};
use super::client::{Mapped, Wants};
use super::{Choices, ResourceServer, source};
use crate::objects::Key;

/// The most client ids of an allowance, audiences of one, and grantees of a grant.
const IDS_MAX: usize = 256;
const AUDIENCES_MAX: usize = 64;
const GRANTEES_MAX: usize = 64;
/// The issuer's limit unless it is told another: longer lives need an allowance.
const USUAL_LIFETIME: Duration = Duration::from_hours(1);

/// What a namespace must be allowed.
#[derive(Default)]
struct Allowed {
    client_ids: BTreeSet<String>,
    audiences: BTreeSet<String>,
    grants: BTreeSet<&'static str>,
    redirect_hosts: BTreeSet<String>,
    lifetime: Option<Duration>,
}

/// Who wants what of an audience.
#[derive(Default)]
struct Wanted {
    /// By what they want, so that equal grants are one.
    clients: BTreeMap<Vec<ScopeName>, Vec<String>>,
}

/// The allowances and policies, and what is not known.
pub(super) fn manifests(clients: &[Mapped], choices: &Choices) -> (Vec<Manifest>, Vec<Finding>) {
    let mut allowed: BTreeMap<Namespace, Allowed> = BTreeMap::new();
    let mut policies: BTreeMap<(ResourceServer, Audience), Wanted> = BTreeMap::new();
    let mut unserved: BTreeMap<Audience, Finding> = BTreeMap::new();
    for client in clients {
        allow(&mut allowed, client);
        for wants in &client.access {
            let Some(server) = server(wants, choices) else {
                unserved.entry(wants.audience.clone()).or_insert_with(|| nobody_serves(client, wants));
                continue;
            };
            if !is_own(&wants.audience, &server, choices) {
                allowed.entry(server.namespace.clone()).or_default().audiences.insert(wants.audience.to_string());
            }
            let wanted = policies.entry((server, wants.audience.clone())).or_default();
            wanted.clients.entry(wants.scopes.clone()).or_default().push(client.client_id.to_string());
        }
    }
    let allowances = allowed.iter().flat_map(|(namespace, allowed)| allowances(namespace, allowed, choices));
    let mut names = BTreeMap::new();
    let policies = policies.iter().map(|((server, audience), wanted)| {
        let count: &mut usize = names.entry(server.clone()).or_default();
        *count += 1;
        policy(server, audience, wanted, (*count, choices))
    });
    (allowances.chain(policies.collect::<Vec<_>>()).collect(), unserved.into_values().collect())
}

fn allow(allowed: &mut BTreeMap<Namespace, Allowed>, client: &Mapped) {
    let namespace = &client.object.namespace;
    let mut needs = Allowed::default();
    if client.client_id.as_str() != format!("{namespace}.{}", client.object.name) {
        needs.client_ids.insert(client.client_id.to_string());
    }
    needs.grants.extend(client.grants.iter().filter(|word| **word != "ClientCredentials"));
    needs.redirect_hosts.extend(client.redirects.iter().filter_map(|uri| redirect_host(uri)));
    needs.lifetime = client.lifetime.filter(|lifetime| *lifetime > USUAL_LIFETIME);
    if needs.client_ids.is_empty()
        && needs.grants.is_empty()
        && needs.redirect_hosts.is_empty()
        && needs.lifetime.is_none()
    {
        return;
    }
    let all = allowed.entry(namespace.clone()).or_default();
    all.client_ids.extend(needs.client_ids);
    all.grants.extend(needs.grants);
    all.redirect_hosts.extend(needs.redirect_hosts);
    all.lifetime = all.lifetime.max(needs.lifetime);
}

fn redirect_host(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("https://")?;
    rest.split(['/', '?']).next().map(str::to_owned)
}

fn allowances(namespace: &Namespace, allowed: &Allowed, choices: &Choices) -> Vec<Manifest> {
    let ids: Vec<_> = allowed.client_ids.iter().collect();
    let audiences: Vec<_> = allowed.audiences.iter().collect();
    let (mut ids, mut audiences) = (ids.chunks(IDS_MAX), audiences.chunks(AUDIENCES_MAX));
    let mut manifests = Vec::new();
    loop {
        let (ids, audiences) = (ids.next(), audiences.next());
        let first = manifests.is_empty();
        if !first && ids.is_none() && audiences.is_none() {
            return manifests;
        }
        let mut spec = spec(choices);
        spec.insert("namespaceSelector".to_owned(), json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}}));
        spec.extend(ids.map(|ids| ("clientIds".to_owned(), json!(ids))));
        spec.extend(audiences.map(|audiences| ("audiences".to_owned(), json!(audiences))));
        if first {
            if !allowed.grants.is_empty() {
                spec.insert("grantTypes".to_owned(), json!(allowed.grants));
            }
            if !allowed.redirect_hosts.is_empty() {
                spec.insert("redirectHosts".to_owned(), json!(allowed.redirect_hosts));
            }
            if let Some(lifetime) = allowed.lifetime {
                let lifetime = countersign_api::Duration::from(lifetime).to_string();
                spec.insert("maxAccessTokenLifetime".to_owned(), json!(lifetime));
            }
        }
        let name = numbered(&format!("migrated-{namespace}"), manifests.len() + 1);
        let object = object("NamespaceAllowance", &json!({"name": name}), &spec);
        let comment = vec![format!(
            "For the platform team: what clients and policies of {namespace} may claim beyond its own names."
        )];
        manifests.push(Manifest { object, comment, command: None });
    }
}

fn policy(
    server: &ResourceServer,
    audience: &Audience,
    wanted: &Wanted,
    (number, choices): (usize, &Choices),
) -> Manifest {
    let scopes: BTreeSet<_> = wanted.clients.keys().flatten().collect();
    let mut spec = spec(choices);
    spec.insert("audience".to_owned(), json!(audience));
    spec.insert("targetRefs".to_owned(), json!([{"group": "", "kind": "Service", "name": server.service}]));
    spec.insert("scopes".to_owned(), scopes.iter().map(|scope| json!({"name": scope})).collect());
    let grants = wanted.clients.iter().flat_map(|(scopes, clients)| {
        clients.chunks(GRANTEES_MAX).map(move |clients| {
            let to: Vec<_> = clients.iter().map(|client| json!({"client": client})).collect();
            json!({"scopes": scopes, "to": to})
        })
    });
    spec.insert("grants".to_owned(), grants.collect());
    spec.insert("unmatched".to_owned(), json!("Authenticated"));
    let metadata = json!({"name": numbered(server.service.as_str(), number), "namespace": server.namespace});
    let comment = vec![
        format!(
            "For who owns Service {}/{}: its scopes, and the clients that had them.",
            server.namespace, server.service
        ),
        "Any token for this audience opens every path, until rules say which scope opens what.".to_owned(),
    ];
    Manifest { object: object("ScopePolicy", &metadata, &spec), comment, command: None }
}

fn numbered(name: &str, number: usize) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}-{number}") }
}

fn spec(choices: &Choices) -> Map<String, Value> {
    let issuer = (choices.issuer != countersign_api::DEFAULT_ISSUER).then(|| json!(choices.issuer));
    issuer.map(|issuer| ("issuer".to_owned(), issuer)).into_iter().collect()
}

fn object(kind: &str, metadata: &Value, spec: &Map<String, Value>) -> Value {
    json!({"apiVersion": "countersign.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// Who serves an audience: as was said, else the Service it names.
fn server(wants: &Wants, choices: &Choices) -> Option<ResourceServer> {
    wants.server.clone().or_else(|| {
        let (service, namespace) = audience_service(&wants.audience, &choices.cluster_domain)?;
        Some(ResourceServer { namespace, service })
    })
}

/// Whether the server's namespace may claim the audience without being allowed to.
fn is_own(audience: &Audience, server: &ResourceServer, choices: &Choices) -> bool {
    audience_service(audience, &choices.cluster_domain).is_some_and(|(_, namespace)| namespace == server.namespace)
}

fn nobody_serves(client: &Mapped, wants: &Wants) -> Finding {
    Finding {
        severity: Severity::Problem,
        place: wants.place.clone(),
        object: Some((source::KIND, Key::from(&client.object))),
        field: "spec.audience".to_owned(),
        reason: Reason::Missing,
        message: format!("which Service serves {} is not known, so no policy grants its scopes", wants.audience),
        next: format!(
            "run this again with --resource-server '{}=NAMESPACE/SERVICE', or write its ScopePolicy",
            wants.audience
        ),
    }
}
