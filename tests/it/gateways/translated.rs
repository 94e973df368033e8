//! What Envoy Gateway's own translator makes of the objects: `ext_authz` on exactly the routes that policies name.
//!
//! Flows in: what the controller wrote, as it lies at the API server, with the Gateway and the routes. Flows out: Envoy's
//! configuration, as Envoy Gateway would send it.

use super::{GATEWAYS, LOOK, apply_kinds, policy, route, start, wired};
use crate::support::await_condition;
use crate::support::installation::Installation;
use crate::support::scratch::Scratch;
use crate::support::tenant::Tenant;
use crate::support::testbed::Testbed;
use crate::support::tool;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// A second Gateway of Envoy Gateway's, and the Services.
const MORE: &str = r"---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: inner, namespace: $NS}
spec: {gatewayClassName: eg, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: $NS}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: countersign-verifier, namespace: $SYSTEM}
spec: {ports: [{name: grpc, port: 9001}, {name: http, port: 9002}]}
";

/// Everything the translator takes, without what only the API server needs.
fn manifests(tenant: &Tenant<'_>) -> String {
    let mut all = Vec::new();
    for kind in ["gatewayclass/eg", "gateways", "httproutes", "services", "securitypolicies", "referencegrants"] {
        let mut args = vec!["get", kind, "-o", "json"];
        if !kind.contains('/') {
            args.push("--all-namespaces");
        }
        let found: Value = serde_json::from_str(&tenant.kubectl().must(&args)).unwrap();
        let items = found["items"].as_array().cloned().unwrap_or_else(|| vec![found.clone()]);
        for mut item in items {
            let object = item.as_object_mut().unwrap();
            object.remove("status");
            object["metadata"].as_object_mut().unwrap().remove("managedFields");
            all.push(format!("---\n{item}\n"));
        }
    }
    all.concat()
}

fn translate(manifests: &str) -> Value {
    let folder = Scratch::new("translated");
    let file = folder.join("all.yaml");
    std::fs::write(&file, manifests).unwrap();
    let mut egctl = Command::new(tool("egctl"));
    egctl.args([
        "experimental",
        "translate",
        "--from",
        "gateway-api",
        "--to",
        "xds,gateway-api",
        "--output",
        "json",
        "--file",
    ]);
    let output = egctl.arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every object of this type in a tree.
fn of_type<'a>(tree: &'a Value, suffix: &str, into: &mut Vec<&'a Value>) {
    let is_it = tree.get("@type").and_then(Value::as_str).is_some_and(|name| name.ends_with(suffix));
    if is_it {
        into.push(tree);
    }
    match tree {
        Value::Object(members) => members.values().for_each(|inner| of_type(inner, suffix, into)),
        Value::Array(items) => items.iter().for_each(|inner| of_type(inner, suffix, into)),
        _ => {}
    }
}

/// Each route of Envoy's by the HTTPRoute it comes from, with what it tells the verifier besides the request.
fn asked_about(xds: &Value) -> BTreeMap<String, Vec<Value>> {
    let mut configurations = Vec::new();
    of_type(xds, "RouteConfiguration", &mut configurations);
    let mut asked: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for host in configurations.iter().flat_map(|each| each["virtualHosts"].as_array().unwrap()) {
        for route in host["routes"].as_array().unwrap() {
            let name = route["metadata"]["filterMetadata"]["envoy-gateway"]["resources"][0]["name"].as_str().unwrap();
            let mut told = Vec::new();
            of_type(&route["typedPerFilterConfig"], "ExtAuthzPerRoute", &mut told);
            let told = told.into_iter().map(|each| each["checkSettings"]["contextExtensions"].clone());
            asked.entry(name.to_owned()).or_default().extend(told);
        }
    }
    asked
}

#[tokio::test]
async fn envoy_gateway_asks_about_exactly_the_targeted_routes_and_fails_closed() {
    let testbed = Testbed::own();
    apply_kinds(&testbed);
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let _controller = start(&installation).await;
    let routes = [("orders", "edge"), ("reports", "edge"), ("open", "edge"), ("below", "inner"), ("beside", "inner")];
    let routes = routes.map(|(name, gateway)| route(name, gateway)).concat();
    let policies = [
        ("orders", ("HTTPRoute", "orders")),
        ("reports", ("HTTPRoute", "reports")),
        ("inner", ("Gateway", "inner")),
        ("beside", ("HTTPRoute", "beside")),
    ];
    let policies = policies.map(|(name, target)| policy(name, target)).concat();
    tenant.apply(&[GATEWAYS, MORE, &routes, &policies].concat());
    for name in ["orders", "reports", "inner", "beside"] {
        let written = |said: &String| said.starts_with("Unknown AwaitingGateway");
        await_condition("what is to be translated", LOOK, async || wired(&tenant, name), written).await;
    }

    let translated = translate(&manifests(&tenant));
    let told = |policy: &str| vec![json!({"countersign.dev/policy": format!("{}/{policy}", tenant.namespace)})];
    let asked = asked_about(&translated["xds"]);
    let wanted = [
        ("orders", told("orders")),
        ("reports", told("reports")),
        ("open", vec![]),
        ("below", told("inner")),
        ("beside", told("beside")),
    ];
    assert_eq!(asked, wanted.map(|(name, told)| (name.to_owned(), told)).into());

    let mut filters = Vec::new();
    of_type(&translated["xds"], "ext_authz.v3.ExtAuthz", &mut filters);
    assert_eq!(filters.len(), 4, "one a policy");
    let authority = format!("countersign-verifier.{}:9001", installation.system_namespace());
    for filter in filters {
        assert_eq!(filter["grpcService"]["envoyGrpc"]["authority"], authority, "{filter}");
        assert_eq!(
            (filter["statusOnError"]["code"].as_str(), filter.get("failureModeAllow")),
            (Some("ServiceUnavailable"), None)
        );
        assert_eq!(filter.get("allowedHeaders"), None, "every header comes to the verifier");
    }
    for policy in translated["securityPolicies"].as_array().unwrap() {
        for ancestor in policy["status"]["ancestors"].as_array().unwrap() {
            assert_eq!(ancestor["conditions"][0]["reason"], "Accepted", "{policy}");
        }
    }
}

/// Without leave to refer to the verifier's Service the route answers 500: it is never open.
#[tokio::test]
async fn without_leave_to_refer_the_route_is_closed() {
    let testbed = Testbed::own();
    apply_kinds(&testbed);
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let controller = start(&installation).await;
    tenant.apply(&[GATEWAYS, MORE, &route("orders", "edge"), &policy("orders", ("HTTPRoute", "orders"))].concat());
    let written = |said: &String| said.starts_with("Unknown AwaitingGateway");
    await_condition("what is to be translated", LOOK, async || wired(&tenant, "orders"), written).await;
    drop(controller);
    tenant.kubectl().must(&["delete", "referencegrants", "--all", "-n", &installation.system_namespace()]);
    let translated = translate(&manifests(&tenant));
    let mut configurations = Vec::new();
    of_type(&translated["xds"], "RouteConfiguration", &mut configurations);
    let answer = &configurations[0]["virtualHosts"][0]["routes"][0]["directResponse"]["status"];
    assert_eq!(answer, &json!(500), "{translated}");
}
