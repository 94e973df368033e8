//! What is written for which world, and what is said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_core::names::ObjectRef;
use countersign_core::policy::{HostPattern, Target};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::envoy::ext_auth;
use super::*;

mod holders;
mod istio;
mod property;

const ENVOY: &str = "gateway.envoyproxy.io/gatewayclass-controller";
const OWNER: &str = "countersign.dev/owner";

fn shelf<K: kube::Resource<DynamicType = ()> + DeserializeOwned>(objects: &[Value]) -> Known<K> {
    let read = |object: &Value| serde_json::from_value::<K>(object.clone()).expect("an object");
    Known::There(objects.iter().map(read).map(|object| (place(object.meta()), Arc::new(object))).collect())
}

fn route(name: &str, hosts: &[&str], parents: &[&str]) -> Value {
    let parents: Vec<_> = parents.iter().map(|name| json!({"name": name, "namespace": "infra"})).collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"hostnames": hosts, "parentRefs": parents}
    })
}

fn gateway((namespace, name): (&str, &str), class: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"gatewayClassName": class, "listeners": [{"name": "http", "hostname": "*.example.com"}]}
    })
}

fn class(name: &str, controller: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": name}, "spec": {"controllerName": controller}
    })
}

fn security((namespace, name): (&str, &str), spec: &Value, owner: Option<&str>) -> Value {
    let annotations = owner.map_or(json!({}), |owner| json!({OWNER: owner}));
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "SecurityPolicy",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations, "generation": 1}, "spec": spec
    })
}

fn on(kind: &str, name: &str) -> Value {
    json!([{"group": GATEWAY_GROUP, "kind": kind, "name": name}])
}

/// A route and a Gateway of Envoy Gateway, and one of each other kind.
fn world(policies: &[Value]) -> World {
    World {
        routes: shelf(&[
            route("orders", &["api.example.com"], &["edge"]),
            route("meshed", &["api.example.com"], &["mesh"]),
            route("foreign", &["api.example.com"], &["other"]),
            route("both", &["api.example.com"], &["edge", "other"]),
            route("lost", &["api.example.com"], &["nowhere"]),
            route("loose", &["api.example.com"], &[]),
            route("unclaimed", &["api.example.com", "www.example.org"], &["edge"]),
            route("inherits", &[], &["edge"]),
        ]),
        grpc_routes: shelf(&[]),
        gateways: shelf(&[
            gateway(("infra", "edge"), "eg"),
            gateway(("infra", "mesh"), "istio"),
            gateway(("infra", "other"), "other"),
            gateway(("shop", "own"), "eg"),
            gateway(("shop", "waypoint"), "istio-waypoint"),
        ]),
        classes: shelf(&[
            class("eg", ENVOY),
            class("istio", "istio.io/gateway-controller"),
            class("istio-waypoint", "istio.io/mesh-controller"),
            class("other", "example.com/other"),
        ]),
        security: shelf(policies),
        authorization: shelf::<AuthorizationPolicy>(&[]),
        services: Known::There(BTreeMap::new()),
        mesh: Some(MeshConfig::default()),
    }
}

fn wiring() -> Wiring {
    let verifier = Verifier {
        namespace: "countersign-system".to_owned(),
        service: "countersign-verifier".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
    };
    Wiring { verifier, envoy_gateway: true, istio: true }
}

fn orders() -> ObjectRef {
    ObjectRef::new("shop", "orders").expect("a name")
}

fn http_route(name: &str) -> Target {
    Target::HttpRoute { name: name.parse().expect("a name") }
}

fn own_gateway(name: &str) -> Target {
    Target::Gateway { name: name.parse().expect("a name") }
}

fn owner(meta: &ObjectMeta) -> Option<ObjectRef> {
    meta.annotations.as_ref()?.get(OWNER)?.strip_prefix("default/")?.parse().ok()
}

/// How a target is wired for a policy that holds `*.example.com`.
fn wire_with(target: &Target, world: &World, labels: &[(&str, &str)], older: Option<&ObjectRef>) -> Option<Attachment> {
    let object = orders();
    let subject = Subject {
        object: &object,
        targets: vec![target.clone()],
        hosts: vec!["*.example.com".parse::<HostPattern>().expect("a host")],
        older: &|_| older.cloned(),
        owner: &owner,
        namespace_labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    attach(&subject, world, &wiring()).pop()
}

fn wire(target: &Target, world: &World) -> Attachment {
    wire_with(target, world, &[], None).expect("an attachment")
}

fn accepted(mut policy: Value, condition: &str) -> Value {
    policy["status"] = json!({"ancestors": [{"ancestorRef": {"name": "edge"}, "controllerName": ENVOY, "conditions": [
        {"type": "Accepted", "status": condition, "reason": "Told", "message": "by the gateway", "observedGeneration": 1}
    ]}]});
    policy
}

/// Ours on a target, as it lies in the cluster.
fn in_place(target: &Target) -> Value {
    let policy = security_policy(&orders(), target, &wiring().verifier, false);
    let mut value = serde_json::to_value(policy).expect("JSON");
    value["metadata"]["annotations"] = json!({OWNER: "default/shop/orders"});
    value["metadata"]["generation"] = json!(1);
    value
}

#[test]
fn a_security_policy_names_the_policy_asks_the_verifier_and_fails_closed() {
    let policy = security_policy(&orders(), &http_route("orders"), &wiring().verifier, false);
    assert_eq!(
        serde_json::to_value(&policy).expect("JSON"),
        json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "SecurityPolicy",
            "metadata": {"name": "orders.httproute.orders", "namespace": "shop"},
            "spec": {
                "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "orders"}],
                "extAuth": {
                    "contextExtensions": [{"name": "countersign.dev/policy", "type": "Value", "value": "shop/orders"}],
                    "failOpen": false, "statusOnError": 503, "timeout": "1s",
                    "grpc": {"backendRefs": [
                        {"group": "", "kind": "Service", "name": "countersign-verifier", "namespace": "countersign-system", "port": 9001}
                    ]},
                },
            },
        })
    );
}

#[test]
fn leave_to_refer_is_for_the_namespace_of_the_policy_and_the_verifier_alone() {
    let verifier = wiring().verifier;
    let grant = reference_grant(&orders(), &verifier).expect("a grant");
    assert_eq!(
        serde_json::to_value(&grant).expect("JSON"),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
            "metadata": {"name": "shop.orders", "namespace": "countersign-system"},
            "spec": {
                "from": [{"group": "gateway.envoyproxy.io", "kind": "SecurityPolicy", "namespace": "shop"}],
                "to": [{"group": "", "kind": "Service", "name": "countersign-verifier"}],
            },
        })
    );
    let same = ObjectRef::new("countersign-system", "orders").expect("a name");
    assert_eq!(reference_grant(&same, &verifier), None);
}

/// The target, policies of the namespace, whether something is written, and the word.
#[test]
fn each_target_of_envoy_gateway_gets_its_object_and_its_word() {
    let ours = || in_place(&http_route("orders"));
    let foreign = |spec: Value| security(("shop", "theirs"), &spec, None);
    let on_edge = |spec: Value| security(("infra", "platform"), &spec, None);
    let cases: [(&str, Target, Vec<Value>, bool, &str); 18] = [
        ("fresh", http_route("orders"), vec![], true, "Unknown/AwaitingGateway"),
        ("told nothing", http_route("orders"), vec![ours()], true, "Unknown/AwaitingGateway"),
        ("accepted", http_route("orders"), vec![accepted(ours(), "True")], true, "True/Wired"),
        ("refused", http_route("orders"), vec![accepted(ours(), "False")], true, "False/GatewayRefused"),
        ("no route", http_route("nothing"), vec![], false, "False/TargetNotFound"),
        ("no gateway", http_route("lost"), vec![], false, "False/TargetNotFound"),
        ("no parent", http_route("loose"), vec![], false, "False/TargetNotSupported"),
        ("Istio's route", http_route("meshed"), vec![], false, "False/TargetNotSupported"),
        ("somebody's gateway", http_route("foreign"), vec![], false, "False/TargetNotSupported"),
        ("one of two", http_route("both"), vec![], true, "False/TargetNotSupported"),
        ("unclaimed host", http_route("unclaimed"), vec![], true, "False/HostNotClaimed"),
        ("hosts of the listener", http_route("inherits"), vec![], true, "Unknown/AwaitingGateway"),
        (
            "taken",
            http_route("orders"),
            vec![foreign(json!({"targetRefs": on("HTTPRoute", "orders")}))],
            false,
            "False/TargetHasPolicy",
        ),
        (
            "taken by label",
            http_route("orders"),
            vec![foreign(json!({"targetSelectors": [{"kind": "HTTPRoute", "matchLabels": {"app": "orders"}}]}))],
            false,
            "False/TargetHasPolicy",
        ),
        (
            "another's name",
            http_route("orders"),
            vec![security(("shop", "orders.httproute.orders"), &json!({"targetRefs": on("HTTPRoute", "x")}), None)],
            false,
            "False/NotOwned",
        ),
        (
            "the gateway asks another",
            http_route("orders"),
            vec![on_edge(json!({"targetRefs": on("Gateway", "edge"), "extAuth": {"http": {}}}))],
            false,
            "False/TargetHasPolicy",
        ),
        ("a gateway", own_gateway("own"), vec![], true, "Unknown/AwaitingGateway"),
        (
            "a gateway's listener",
            own_gateway("own"),
            vec![foreign(
                json!({"targetRefs": [{"group": GATEWAY_GROUP, "kind": "Gateway", "name": "own", "sectionName": "http"}]}),
            )],
            true,
            "False/Overridden",
        ),
    ];
    for (name, target, policies, writes, word) in cases {
        let attachment = wire(&target, &world(&policies));
        let holds = attachment.word.holds.map_or("Unknown", |holds| if holds { "True" } else { "False" });
        let said = format!("{holds}/{}", attachment.word.reason);
        assert_eq!((attachment.security.is_some(), &*said), (writes, word), "{name}: {}", attachment.word.message);
        assert_eq!(attachment.keeps, !writes, "{name}: what is in place is never taken away by what others do");
    }
}

#[test]
fn a_policy_of_the_gateway_that_asks_nobody_is_merged_with_and_a_route_that_stands_apart_is_told() {
    let cors = security(("infra", "platform"), &json!({"targetRefs": on("Gateway", "edge"), "cors": {}}), None);
    let attachment = wire(&http_route("orders"), &world(&[cors]));
    assert_eq!(attachment.security.and_then(|policy| policy.spec.merge_type).as_deref(), Some("StrategicMerge"));
    assert_eq!(wire(&http_route("orders"), &world(&[])).security.and_then(|policy| policy.spec.merge_type), None);

    let mut world = world(&[security(("shop", "apart"), &json!({"targetRefs": on("HTTPRoute", "below")}), None)]);
    let Known::There(routes) = &mut world.routes else { panic!("routes") };
    let mut below = route("below", &["api.example.com"], &[]);
    below["spec"]["parentRefs"] = json!([{"name": "own"}]);
    let below: HttpRoute = serde_json::from_value(below).expect("a route");
    routes.insert(place(&below.metadata), Arc::new(below));
    let attachment = wire(&own_gateway("own"), &world);
    assert_eq!((attachment.word.reason, attachment.security.is_some()), ("Overridden", true));
    assert!(attachment.word.message.contains("SecurityPolicy shop/apart"), "{}", attachment.word.message);
}

#[test]
fn somebody_elses_policy_that_takes_in_what_is_needed_wires_the_target() {
    let refused = wire(
        &http_route("orders"),
        &world(&[security(("shop", "theirs"), &json!({"targetRefs": on("HTTPRoute", "orders")}), None)]),
    );
    let (_, printed) = refused.word.message.split_once("extAuth: ").expect("what to merge");
    assert!(refused.word.message.len() < 1024, "all of it fits a condition");
    let printed: Value = serde_json::from_str(printed).expect("JSON");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut auth = printed.clone();
        change(&mut auth);
        let spec = json!({"targetRefs": on("HTTPRoute", "orders"), "extAuth": auth});
        let attachment = wire(&http_route("orders"), &world(&[security(("shop", "theirs"), &spec, None)]));
        (attachment.word.reason, attachment.refers, attachment.security)
    };
    assert_eq!(with(&|_| {}), ("Wired", true, None));
    let never: [&dyn Fn(&mut Value); 5] = [
        &|auth| auth["failOpen"] = json!(true),
        &|auth| auth["contextExtensions"][0]["value"] = json!("shop/*"),
        &|auth| auth["grpc"]["backendRefs"][0]["name"] = json!("another"),
        &|auth| auth["grpc"]["backendRefs"] = json!([]),
        &|auth| auth["headersToExtAuth"] = json!(["authorization"]),
    ];
    for (number, change) in never.iter().enumerate() {
        assert_eq!(with(*change), ("TargetHasPolicy", false, None), "{number}");
    }
}

#[test]
fn of_two_policies_the_one_in_place_keeps_a_target_else_the_older() {
    let other = ObjectRef::new("shop", "older").expect("a name");
    let target = http_route("orders");
    let yields = wire_with(&target, &world(&[]), &[], Some(&other)).expect("an attachment");
    assert_eq!((yields.word.reason, yields.security), ("TargetHasPolicy", None));
    assert!(yields.word.message.contains("ScopePolicy shop/older"), "{}", yields.word.message);
    let stays = wire_with(&target, &world(&[in_place(&target)]), &[], Some(&other)).expect("an attachment");
    assert!(stays.security.is_some());
    let theirs = security(("shop", "x"), &json!({"targetRefs": on("HTTPRoute", "orders")}), Some("default/shop/older"));
    assert_eq!(wire(&target, &world(&[theirs])).word.reason, "TargetHasPolicy");
}

#[test]
fn nothing_is_said_for_certain_of_what_is_not_read_and_nothing_written_without_the_kinds() {
    let unread = World { routes: Known::Unread, ..world(&[]) };
    assert_eq!(wire(&http_route("orders"), &unread).word.reason, "NotRead");
    let unread = World { security: Known::Unread, ..world(&[]) };
    assert_eq!(wire(&http_route("orders"), &unread).word.reason, "NotRead");
    let absent = World { security: Known::Absent, ..world(&[]) };
    assert_eq!(wire(&http_route("orders"), &absent).word.reason, "NotInstalled");
    assert_eq!(wire(&http_route("orders"), &World::default()).word.reason, "NotInstalled");
    let object = orders();
    let subject = Subject {
        object: &object,
        targets: vec![http_route("orders"), own_gateway("waypoint")],
        hosts: Vec::new(),
        older: &|_| None,
        owner: &owner,
        namespace_labels: BTreeMap::new(),
    };
    let off = Wiring { envoy_gateway: false, istio: false, ..wiring() };
    let words: Vec<_> =
        attach(&subject, &world(&[]), &off).into_iter().map(|each| (each.word.reason, each.keeps)).collect();
    assert_eq!(words, [("NotEnabled", true), ("NotEnabled", true)]);
}

#[test]
fn the_first_target_that_is_not_wired_speaks_for_all() {
    let word = |holds, reason| Word { holds, reason, message: "because".to_owned() };
    let (one, two) = (http_route("one"), own_gateway("two"));
    let all = [(&one, &word(None, "NotRead")), (&two, &word(Some(false), "NotOwned"))];
    let said = Word::of_all(all.into_iter()).expect("a word");
    assert_eq!((said.reason, &*said.message), ("NotOwned", "Gateway two: because"));
    let all = [(&one, &word(Some(true), "Wired")), (&two, &word(Some(true), "Wired"))];
    assert_eq!(Word::of_all(all.into_iter()).map(|word| word.holds), Some(Some(true)));
    assert_eq!(Word::of_all(std::iter::empty()), None);
}

#[test]
fn names_that_are_too_long_end_with_a_digest_of_their_own() {
    let long = |end: &str| {
        let policy = ObjectRef::new("shop", &format!("{}{end}", "a".repeat(200))).expect("a name");
        object_name(&policy, &http_route(&"b".repeat(200)))
    };
    assert!(long("c").len() <= 253 && long("c") != long("d"), "{}", long("c"));
    assert_eq!(
        reference_grant(&orders(), &wiring().verifier).map(|grant| grant.name_any()).as_deref(),
        Some("shop.orders")
    );
}
