//! What connects the traffic of routes and gateways: written by the controller at a real API server that has the kinds of the
//! Gateway API, Envoy Gateway and Istio, as their Go modules define them.
//!
//! A testbed of their own each: kinds are the whole cluster's.

mod translated;
mod written;

use crate::support::installation::{Installation, Replica, Role};
use crate::support::orders::object;
use crate::support::tenant::Tenant;
use crate::support::testbed::Testbed;
use crate::support::tool;
use std::time::Duration;

/// How long what waits for a look at which kinds there are may take.
const LOOK: Duration = Duration::from_secs(40);

/// Envoy Gateway's Gateway `edge` and Istio's `mesh`, in the tenant's namespace.
const GATEWAYS: &str = r"---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: eg}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: $NS}
spec: {gatewayClassName: eg, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: mesh, namespace: $NS}
spec: {gatewayClassName: istio, listeners: [{name: http, protocol: HTTP, port: 80, hostname: orders.$NS.svc}]}
";

/// A controller that writes for both.
async fn start(installation: &Installation) -> Replica {
    let mut controller = installation.spawn_with(Role::Controller, &["--wire=envoy-gateway", "--wire=istio"]);
    controller.process.ready(controller.admin).await;
    controller
}

/// Has the API server serve the kinds.
fn apply_kinds(testbed: &Testbed) {
    // A link: only with a slash behind it is it the folder.
    let kinds = tool("gateway-kinds").join("");
    let kinds = kinds.to_str().expect("the clone's path is text");
    let kubectl = crate::support::kubectl::Kubectl::new(testbed);
    kubectl.must(&["apply", "--server-side", "-f", kinds]);
    kubectl.must(&["wait", "--for=condition=Established", "--timeout=30s", "-f", kinds]);
}

/// A route at a Gateway, for requests to `orders.$NS.svc` below a path.
fn route(name: &str, gateway: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: $NS}}
spec:
  parentRefs: [{{name: {gateway}}}]
  hostnames: [orders.$NS.svc]
  rules: [{{matches: [{{path: {{type: PathPrefix, value: /{name}}}}}], backendRefs: [{{name: orders, port: 80}}]}}]
"
    )
}

/// A policy that holds `orders.$NS.svc` and attaches to a target.
fn policy(name: &str, (kind, target): (&str, &str)) -> String {
    let spec = format!(
        "  audience: https://orders.$NS.svc
  targetRefs:
  - {{group: \"\", kind: Service, name: orders}}
  - {{group: gateway.networking.k8s.io, kind: {kind}, name: {target}}}
"
    );
    object("ScopePolicy", name, &spec)
}

/// Reason and message of the condition `Wired`, with a bar between.
fn wired(tenant: &Tenant<'_>, policy: &str) -> String {
    let path = r#".status.conditions[?(@.type=="Wired")]['status','reason','message']"#;
    tenant.field(&format!("scp/{policy}"), path)
}
