//! What is written, put back, taken away and left alone.

use super::{GATEWAYS, LOOK, apply_kinds, policy, route, start, wired};
use crate::support::await_condition;
use crate::support::installation::Installation;
use crate::support::tenant::Tenant;
use crate::support::testbed::Testbed;
use serde_json::{Value, json};

const OURS: &str = "securitypolicy/orders.httproute.orders";

async fn until(tenant: &Tenant<'_>, policy: &str, word: &str) -> String {
    let what = format!("{policy} to be {word}");
    await_condition(&what, LOOK, async || wired(tenant, policy), |said| said.starts_with(word)).await
}

/// What of an object somebody would read.
fn read(tenant: &Tenant<'_>, object: &str) -> Value {
    serde_json::from_str(&tenant.run(&["get", object, "-o", "json"])).unwrap()
}

#[tokio::test]
async fn envoy_gateways_objects_follow_the_policy_and_nobody_elses_is_touched() {
    let testbed = Testbed::own();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let controller = start(&installation).await;
    tenant.apply(&policy("orders", ("HTTPRoute", "orders")));
    until(&tenant, "orders", "False NotInstalled").await;

    // The kinds appear, and what is written fits them.
    apply_kinds(&testbed);
    tenant.apply(&[GATEWAYS, &route("orders", "edge")].concat());
    until(&tenant, "orders", "Unknown AwaitingGateway").await;
    let made = read(&tenant, OURS);
    let (system, namespace) = (installation.system_namespace(), &tenant.namespace);
    let service = json!({"group": "", "kind": "Service", "name": "countersign-verifier", "namespace": system, "port": 9001, "weight": 1});
    assert_eq!(
        made["spec"],
        json!({
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "orders"}],
            "extAuth": {
                "contextExtensions": [{"name": "countersign.dev/policy", "type": "Value", "value": format!("{namespace}/orders")}],
                "failOpen": false, "grpc": {"backendRefs": [service]}, "statusOnError": 503, "timeout": "1s",
            },
        })
    );
    let owner = format!("{}/{namespace}/orders", installation.issuer_name);
    assert_eq!(made["metadata"]["annotations"]["countersign.dev/owner"], owner);
    let grant = format!("{namespace}.orders");
    let grants = || installation.kubectl.must(&["get", "referencegrant", "-n", &system, "-o", "name"]);
    assert_eq!(grants().trim(), format!("referencegrant.gateway.networking.k8s.io/{grant}"));

    // The gateway's word is passed on.
    let told = |status: &str| {
        json!({"status": {"ancestors": [{
            "ancestorRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": namespace},
            "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
            "conditions": [{"type": "Accepted", "status": status, "reason": "Told", "message": "by the gateway",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}],
        }]}})
        .to_string()
    };
    for (status, word) in [("False", "False GatewayRefused"), ("True", "True Wired")] {
        tenant.run(&["patch", OURS, "--subresource=status", "--type=merge", "-p", &told(status)]);
        until(&tenant, "orders", word).await;
    }
    let ancestor = read(&tenant, "scp/orders")["status"]["ancestors"][0].clone();
    assert_eq!(
        (&ancestor["ancestorRef"]["name"], &ancestor["conditions"][0]["type"]),
        (&json!("orders"), &json!("Wired"))
    );

    // Drift is put back; then nothing moves.
    for (object, path, patch) in [
        (OURS, "{.spec.extAuth.failOpen}", json!({"spec": {"extAuth": {"failOpen": true}}})),
        (OURS, "{.spec.cors}", json!({"spec": {"cors": {"allowOrigins": ["*"]}}})),
    ] {
        tenant.run(&["patch", object, "--type=merge", "-p", &patch.to_string()]);
        let look = async || tenant.run(&["get", object, "-o", &format!("jsonpath={path}")]);
        await_condition("drift to be put back", LOOK, look, |value| value.is_empty() || value == "false").await;
    }
    let version = || read(&tenant, OURS)["metadata"]["resourceVersion"].clone();
    let look = async || {
        let before = version();
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        before == version()
    };
    await_condition("rest", LOOK, look, |rests| *rests).await;

    // Without the target there is nothing left of it.
    let service = r#"{"spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "orders"}]}}"#;
    tenant.run(&["patch", "scp/orders", "--type=merge", "-p", service]);
    let left = async || [tenant.run(&["get", "securitypolicies", "-o", "name"]), grants()].concat();
    await_condition("all of it to go", LOOK, left, String::is_empty).await;
    await_condition("the word to go", LOOK, async || wired(&tenant, "orders"), String::is_empty).await;
    drop(controller);
}

#[tokio::test]
async fn somebody_elses_policy_on_the_target_is_left_alone_and_told_what_to_take_in() {
    let testbed = Testbed::own();
    apply_kinds(&testbed);
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let theirs = "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: theirs, namespace: $NS}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: orders}]
  cors: {allowOrigins: ['https://www.example.com']}
";
    // Before the controller runs: one that it hears of after the policy may come to lie beside ours.
    tenant.apply(&[GATEWAYS, &route("orders", "edge"), theirs].concat());
    let _controller = start(&installation).await;
    tenant.apply(&policy("orders", ("HTTPRoute", "orders")));
    let said = until(&tenant, "orders", "False TargetHasPolicy").await;
    let before = read(&tenant, "securitypolicy/theirs");
    let (_, taken_in) = said.split_once("extAuth: ").unwrap();
    let merged = json!({"spec": {"extAuth": serde_json::from_str::<Value>(taken_in).unwrap()}});
    assert_eq!(tenant.run(&["get", "securitypolicies", "-o", "name"]).lines().count(), 1);

    // Its owner takes it in: the API server finds nothing wrong, and the target is wired.
    tenant.run(&["patch", "securitypolicy/theirs", "--type=merge", "-p", &merged.to_string()]);
    until(&tenant, "orders", "True Wired").await;
    let after = read(&tenant, "securitypolicy/theirs");
    assert_eq!(after["spec"]["cors"], before["spec"]["cors"]);

    // The policy goes, and theirs stays as it is.
    tenant.run(&["delete", "scp/orders"]);
    let system = installation.system_namespace();
    let grants = async || installation.kubectl.must(&["get", "referencegrant", "-n", &system, "-o", "name"]);
    await_condition("leave to refer to go", LOOK, grants, String::is_empty).await;
    assert_eq!(
        read(&tenant, "securitypolicy/theirs")["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn istios_object_waits_for_the_provider_that_the_message_prints() {
    let testbed = Testbed::own();
    apply_kinds(&testbed);
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let _controller = start(&installation).await;
    let mesh = |providers: &str| {
        format!(
            "---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |-
    accessLogFile: /dev/stdout
    extensionProviders: [{providers}]
"
        )
    };
    let namespaces = "---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: $NS, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: $NS}
spec: {selector: {app: orders}, ports: [{port: 80}]}
";
    tenant.apply(&[namespaces, &mesh(""), GATEWAYS, &policy("orders", ("Gateway", "mesh"))].concat());
    // Until the mesh's configuration is read, the message says that it is not.
    let look = async || until(&tenant, "orders", "False ProviderMissing").await;
    let said = await_condition("the entry to add", LOOK, look, |said| said.contains("extensionProviders: ")).await;
    assert_eq!(tenant.run(&["get", "authorizationpolicies", "-o", "name"]), "", "Istio would refuse every request");
    let (_, entry) = said.split_once("extensionProviders: ").unwrap();
    tenant.apply(&mesh(entry));
    until(&tenant, "orders", "True Wired").await;
    let spec = |name: &str| read(&tenant, &format!("authorizationpolicy/{name}"))["spec"].clone();
    let provider = json!({"name": format!("countersign.{}.orders", tenant.namespace)});
    assert_eq!(
        spec("orders.gateway.mesh"),
        json!({
            "action": "CUSTOM", "provider": provider, "rules": [{}],
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "mesh"}],
        })
    );
    assert_eq!(
        spec("orders.service.orders"),
        json!({"action": "CUSTOM", "provider": provider, "rules": [{}], "selector": {"matchLabels": {"app": "orders"}}})
    );

    // The pods of the Service change their label, and the policy follows.
    tenant.run(&["patch", "service/orders", "--type=merge", "-p", r#"{"spec": {"selector": {"app": "orders-v2"}}}"#]);
    let look = async || spec("orders.service.orders")["selector"]["matchLabels"]["app"].clone();
    await_condition("the selector to follow", LOOK, look, |app| *app == json!("orders-v2")).await;
    tenant.run(&["delete", "scp/orders"]);
    let left = async || tenant.run(&["get", "authorizationpolicies", "-o", "name"]);
    await_condition("all of it to go", LOOK, left, String::is_empty).await;
}
