//! The policy `orders` of a tenant, and clients of it: manifests in which `$NS`, `$ISSUER` and `$SYSTEM` stand for what differs.
//!
//! Flows in: names and what is special. Flows out: documents that may follow each other in one text.

use super::installation::Installation;

/// Grants `orders:read` to the clients of its own namespace; `/healthz` is open, `/orders` asks for that scope. More rules may follow.
pub const ORDERS: &str = r#"---
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: orders, namespace: $NS}
spec:
  issuer: $ISSUER
  audience: https://orders.$NS.svc
  targetRefs: [{group: "", kind: Service, name: orders}]
  scopes: [{name: "orders:read"}, {name: "orders:admin"}]
  grants: [{scopes: ["orders:read"], to: [{namespaces: Same}]}]
  rules:
  - {name: health, matches: [{methods: [GET], path: {type: Exact, value: /healthz}}], protection: Public}
  - {name: orders, matches: [{path: {type: Prefix, value: /orders}}], protection: Scoped, allow: [{scopes: ["orders:read"]}]}
"#;

/// A client that may ask for `orders:read`, with more lines of its spec.
pub fn client(name: &str, more: &str) -> String {
    let access = r#"  access: [{audience: "https://orders.$NS.svc", scopes: ["orders:read"]}]"#;
    object("OAuthClient", name, &format!("{access}\n{more}"))
}

/// An object of the tenant's with the lines of its spec but the issuer.
pub fn object(kind: &str, name: &str, spec: &str) -> String {
    document(kind, &format!("{{name: {name}, namespace: $NS}}"), spec)
}

/// What is allowed to the tenant's namespace.
pub fn allowance(spec: &str) -> String {
    let selector = "  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $NS}}";
    document("NamespaceAllowance", "{name: $NS}", &format!("{selector}\n{spec}"))
}

/// A ring of the installation's.
pub fn signing_key(name: &str, spec: &str) -> String {
    document("SigningKey", &format!("{{name: {name}, namespace: $SYSTEM}}"), spec)
}

/// The ring `default`, its keys so long published before they sign.
pub fn default_key(pre_publish: &str) -> String {
    signing_key("default", &format!("  algorithm: ES256\n  rotation: {{period: 720h, prePublish: {pre_publish}}}\n"))
}

/// The ring `default`, the policy and the client `checkout`.
pub fn shop(pre_publish: &str) -> String {
    [&default_key(pre_publish), ORDERS, &client("checkout", "")].concat()
}

/// The host and the target by which a verifier is asked over HTTP about a path of the policy.
pub fn question(namespace: &str, path: &str) -> (String, String) {
    (format!("orders.{namespace}.svc"), format!("/ext-authz/policy/{namespace}/orders{path}"))
}

fn document(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: countersign.dev/v1alpha1
kind: {kind}
metadata: {metadata}
spec:
  issuer: $ISSUER
{spec}"
    )
}

/// Says of a manifest what `$NS`, `$ISSUER` and `$SYSTEM` are.
pub fn fill(manifest: &str, installation: &Installation, namespace: &str) -> String {
    fill_in(manifest, namespace, &installation.issuer_name, &installation.system_namespace())
}

/// The same for an installation that is not ours to start.
pub fn fill_in(manifest: &str, namespace: &str, issuer: &str, system: &str) -> String {
    manifest.replace("$NS", namespace).replace("$ISSUER", issuer).replace("$SYSTEM", system)
}
