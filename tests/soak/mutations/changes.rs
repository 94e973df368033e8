//! What is changed, and what it is changed in.
//!
//! Flows in: a namespace. Flows out: a tenant's objects by kind, and for each kind merge patches of its spec, in which `$NS`
//! stands for the namespace.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One change: of which kind, and what is merged into its spec.
pub fn changes() -> Vec<(&'static str, Value)> {
    let method = |secret: Value| json!({"authentication": {"methods": [{"type": "ClientSecret", "secret": secret}]}});
    let rule = |rule: Value| json!({"rules": [rule]});
    let path = json!({"methods": ["GET"], "path": {"type": "Template", "value": "/orders/{id}"}});
    vec![
        ("OAuthClient", json!({"displayName": "Checkout"})),
        ("OAuthClient", json!({"state": "Suspended"})),
        ("OAuthClient", json!({"state": "Sleeping"})),
        ("OAuthClient", json!({"clientId": "another"})),
        ("OAuthClient", json!({"issuer": "another"})),
        ("OAuthClient", json!({"grantTypes": ["ClientCredentials", "RefreshToken"]})),
        ("OAuthClient", json!({"grantTypes": ["Password"]})),
        ("OAuthClient", json!({"access": []})),
        (
            "OAuthClient",
            json!({"access": [{"audience": "https://orders.$NS.svc", "scopes": ["orders:read", "orders:none"]}]}),
        ),
        ("OAuthClient", json!({"access": [{"audience": "https://none.$NS.svc", "scopes": ["orders:read"]}]})),
        ("OAuthClient", json!({"access": [{"audience": "no uri", "scopes": ["orders:read"]}]})),
        ("OAuthClient", json!({"defaultAudience": "https://orders.$NS.svc"})),
        ("OAuthClient", json!({"defaultAudience": "https://none.$NS.svc"})),
        ("OAuthClient", json!({"redirectUris": ["https://shop.example.com/back"]})),
        ("OAuthClient", json!({"redirectUris": ["http://shop.example.com/back"]})),
        ("OAuthClient", method(json!({"name": "elsewhere"}))),
        ("OAuthClient", method(json!({"mode": "Reference", "name": "theirs"}))),
        ("OAuthClient", method(json!({"keys": {"clientSecret": "password"}}))),
        ("OAuthClient", method(json!({"template": {"labels": {"team": "web"}}}))),
        ("OAuthClient", method(json!({"template": {"labels": {"kubernetes.io/x": "web"}}}))),
        ("OAuthClient", method(json!({"rotation": {"period": "720h"}}))),
        ("OAuthClient", method(json!({"rotation": {"period": "1h", "overlap": "2h"}}))),
        ("OAuthClient", json!({"authentication": {"methods": [{"type": "None"}]}})),
        (
            "OAuthClient",
            json!({"authentication": {"methods": [{"type": "ServiceAccount", "serviceAccounts": [{"name": "checkout"}]}]}}),
        ),
        ("OAuthClient", json!({"tokens": {"accessTokenLifetime": "5m"}})),
        ("OAuthClient", json!({"tokens": {"accessTokenLifetime": "soon"}})),
        ("OAuthClient", json!({"tokens": {"signingKey": "none"}})),
        ("OAuthClient", json!({"tokens": {"claims": {"iss": "me"}}})),
        ("OAuthClient", json!({"tokens": {"format": "Opaque"}})),
        ("OAuthClient", json!({"deletionPolicy": "Retain"})),
        ("ScopePolicy", json!({"audience": "https://other.$NS.svc"})),
        ("ScopePolicy", json!({"audience": "https://example.com"})),
        ("ScopePolicy", json!({"mode": "Shadow"})),
        ("ScopePolicy", json!({"routes": [{"hosts": ["elsewhere.example.com"]}]})),
        ("ScopePolicy", json!({"targetRefs": []})),
        ("ScopePolicy", json!({"scopes": []})),
        ("ScopePolicy", json!({"scopes": [{"name": "orders:read"}, {"name": "orders:write"}]})),
        ("ScopePolicy", json!({"grants": []})),
        ("ScopePolicy", json!({"grants": [{"scopes": ["orders:none"], "to": [{"namespaces": "Same"}]}]})),
        ("ScopePolicy", json!({"grants": [{"scopes": ["orders:read"], "to": [{"client": "$NS.checkout"}]}]})),
        ("ScopePolicy", json!({"unmatched": "Authenticated"})),
        ("ScopePolicy", json!({"corsPreflight": "Allow"})),
        ("ScopePolicy", json!({"tokenSources": ["Header", "Cookie"]})),
        ("ScopePolicy", rule(json!({"name": "a", "matches": [path], "protection": "Public"}))),
        ("ScopePolicy", rule(json!({"name": "a", "matches": [path], "protection": "Scoped"}))),
        (
            "ScopePolicy",
            rule(json!({"name": "a", "matches": [path], "protection": "Scoped", "allow": [{"scopes": ["none:such"]}]})),
        ),
        (
            "ScopePolicy",
            rule(
                json!({"name": "a", "matches": [path], "protection": "Scoped", "allow": [{"scopes": ["orders:read"], "when": "path.id =="}]}),
            ),
        ),
        (
            "ScopePolicy",
            rule(
                json!({"name": "a", "matches": [{"methods": ["GET"], "path": {"type": "Exact", "value": "orders"}}], "protection": "Public"}),
            ),
        ),
    ]
}

/// The same for what the platform team allows; each is in force for a namespace that needs all of it.
pub fn allowance_changes() -> Vec<(&'static str, Value)> {
    let by_name = "kubernetes.io/metadata.name";
    let labels = |labels: Value| json!({"namespaceSelector": {"matchLabels": labels}});
    let expression = |operator: &str, values: Value| {
        let expression = json!({"key": by_name, "operator": operator, "values": values});
        json!({"namespaceSelector": {"matchLabels": null, "matchExpressions": [expression]}})
    };
    let changes = vec![
        json!({"issuer": "another"}),
        labels(Value::Null),
        labels(json!({by_name: "elsewhere"})),
        labels(json!({"team": "web"})),
        expression("In", json!(["$NS"])),
        expression("NotIn", json!(["$NS"])),
        expression("Exists", json!(["$NS"])),
        expression("Like", json!(["$NS"])),
        json!({"namespaceSelector": null}),
        json!({"hosts": []}),
        json!({"hosts": ["elsewhere.example.com"]}),
        json!({"hosts": ["$NS.example.com/orders"]}),
        json!({"hosts": ["*.example.com"]}),
        json!({"hosts": ["no host"]}),
        json!({"audiences": []}),
        json!({"audiences": ["https://api.example.com/other"]}),
        json!({"audiences": ["no uri"]}),
        json!({"redirectHosts": ["shop.example.com"]}),
        json!({"clientIds": []}),
        json!({"clientIds": ["another", "legacy-$NS"]}),
        json!({"clientIds": ["no id"]}),
        json!({"grantTypes": ["RefreshToken"]}),
        json!({"grantTypes": ["Telepathy"]}),
        json!({"maxAccessTokenLifetime": "5m"}),
        json!({"maxAccessTokenLifetime": "48h"}),
        json!({"maxAccessTokenLifetime": null}),
    ];
    changes.into_iter().map(|change| ("NamespaceAllowance", change)).collect()
}

/// The same for a ring of keys; `$KID` stands for the key that signs.
pub fn ring_changes() -> Vec<Value> {
    let rotation = |rotation: Value| json!({"rotation": rotation});
    vec![
        json!({"issuer": "another"}),
        json!({"algorithm": "ES384"}),
        json!({"algorithm": "EdDSA"}),
        json!({"algorithm": "RS256"}),
        json!({"algorithm": "PS256"}),
        json!({"algorithm": "HS256"}),
        json!({"algorithm": null}),
        json!({"source": {"type": "Generated"}}),
        json!({"source": {"type": "Kms"}}),
        rotation(Value::Null),
        rotation(json!({"period": "720h"})),
        rotation(json!({"period": "30s"})),
        rotation(json!({"period": "15s"})),
        rotation(json!({"period": "500ms"})),
        rotation(json!({"period": "soon"})),
        rotation(json!({"period": null})),
        rotation(json!({"prePublish": "0s"})),
        rotation(json!({"prePublish": "4s"})),
        rotation(json!({"prePublish": "30m"})),
        rotation(json!({"prePublish": "2h"})),
        rotation(json!({"prePublish": null})),
        json!({"revokedKeyIds": []}),
        json!({"revokedKeyIds": ["$KID"]}),
        json!({"revokedKeyIds": ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"]}),
        json!({"revokedKeyIds": ["short"]}),
    ]
}

/// A good ring.
pub fn ring(issuer: &str) -> Value {
    json!({"issuer": issuer, "algorithm": "ES256", "rotation": {"period": "1h", "prePublish": "1s"}})
}

/// A tenant's objects, by kind; with an allowance where that kind is changed, and objects that need it.
pub fn tenant(kind: &str, issuer: &str, namespace: &str) -> BTreeMap<&'static str, Value> {
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "countersign.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec});
    let audience = format!("https://orders.{namespace}.svc");
    let mut policy = json!({
        "issuer": issuer, "audience": audience, "targetRefs": [{"group": "", "kind": "Service", "name": "orders"}],
        "scopes": [{"name": "orders:read"}], "grants": [{"scopes": ["orders:read"], "to": [{"namespaces": "Same"}]}],
        "rules": [{"name": "read", "matches": [{"methods": ["GET"], "path": {"type": "Template", "value": "/orders/{id}"}}],
            "protection": "Scoped", "allow": [{"scopes": ["orders:read"]}]}],
    });
    let mut client = json!({"issuer": issuer, "access": [{"audience": audience, "scopes": ["orders:read"]}]});
    let mut objects = BTreeMap::new();
    if kind == "NamespaceAllowance" {
        let (host, audience) = (format!("{namespace}.example.com"), format!("https://api.example.com/{namespace}"));
        let id = format!("legacy-{namespace}");
        merge(&mut policy, &json!({"audience": audience, "routes": [{"hosts": [host]}]}));
        let access = json!([{"audience": audience, "scopes": ["orders:read"]}]);
        merge(&mut client, &json!({"access": access, "clientId": id, "tokens": {"accessTokenLifetime": "30m"}}));
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        let allowance = json!({"issuer": issuer, "namespaceSelector": selector, "hosts": [host], "audiences": [audience],
            "clientIds": [id], "maxAccessTokenLifetime": "1h"});
        let metadata = json!({"name": namespace});
        let mut allowance = object(kind, namespace, allowance);
        allowance["metadata"] = metadata;
        objects.insert("NamespaceAllowance", allowance);
    }
    objects.insert("ScopePolicy", object("ScopePolicy", "orders", policy));
    objects.insert("OAuthClient", object("OAuthClient", "checkout", client));
    objects
}

/// RFC 7396.
pub fn merge(into: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Some(members) = into.as_object_mut() else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}
