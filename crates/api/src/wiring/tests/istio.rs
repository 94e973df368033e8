//! Targets of Istio.

use super::*;

const AMBIENT: (&str, &str) = ("istio.io/dataplane-mode", "ambient");
const WAYPOINT: (&str, &str) = ("istio.io/use-waypoint", "waypoint");
const SIDECARS: (&str, &str) = ("istio-injection", "enabled");

fn service() -> Target {
    Target::Service { name: "orders".parse().expect("a name") }
}

fn custom(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["action"] = json!("CUSTOM");
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec
    })
}

fn provided(policies: &[Value], provider: Option<Value>) -> World {
    let pods = [("app".to_owned(), "orders".to_owned())].into();
    let service = Service { labels: BTreeMap::new(), selector: pods };
    let services = [(("shop".to_owned(), "orders".to_owned()), Arc::new(service))].into();
    World {
        authorization: shelf(policies),
        services: Known::There(services),
        mesh: Some(MeshConfig { extension_providers: provider.into_iter().collect() }),
        ..world(&[])
    }
}

fn entry() -> Value {
    provider(&orders(), &wiring().verifier)
}

#[test]
fn a_provider_names_the_policy_in_its_path_and_fails_closed() {
    let entry = entry();
    assert_eq!(entry["name"], "countersign.shop.orders");
    let asks = &entry["envoyExtAuthzHttp"];
    assert_eq!(asks["pathPrefix"], "/ext-authz/policy/shop/orders");
    assert_eq!(asks["service"], "countersign-verifier.countersign-system.svc.cluster.local");
    assert_eq!((&asks["port"], &asks["failOpen"]), (&json!(9002), &json!(false)));
    assert_eq!(asks["includeRequestHeadersInCheck"][1], json!("x*"));
}

#[test]
fn a_service_is_wired_as_its_namespace_is_in_the_mesh() {
    let there = || provided(&[], Some(entry()));
    let wire = |labels: &[(&str, &str)]| wire_with(&service(), &there(), labels, None);
    assert_eq!(wire(&[]), None, "outside the mesh a Service only claims its names");
    let sidecars = wire(&[SIDECARS]).expect("an attachment");
    let spec = serde_json::to_value(sidecars.authorization.expect("a policy").spec).expect("JSON");
    let provider = json!({"name": "countersign.shop.orders"});
    let wanted = json!({"action": "CUSTOM", "provider": provider, "rules": [{}], "selector": {"matchLabels": {"app": "orders"}}});
    assert_eq!((spec, sidecars.word.reason), (wanted, "Wired"));
    let waypoint = wire(&[AMBIENT, WAYPOINT]).expect("an attachment");
    let spec = serde_json::to_value(waypoint.authorization.expect("a policy").spec).expect("JSON");
    let targets = json!([{"group": "", "kind": "Service", "name": "orders"}]);
    assert_eq!(spec, json!({"action": "CUSTOM", "provider": provider, "rules": [{}], "targetRefs": targets}));
    assert_eq!(wire(&[AMBIENT]).map(|each| each.word.reason), Some("NoWaypoint"));
}

#[test]
fn nothing_is_written_until_the_mesh_has_the_provider_as_it_must_be() {
    let mut changes: Vec<Option<Value>> = vec![None];
    for change in [
        json!({"failOpen": true}),
        json!({"pathPrefix": "/ext-authz/by-host"}),
        json!({"service": "other"}),
        json!({"port": 80}),
    ] {
        let mut other = entry();
        for (key, value) in change.as_object().expect("members") {
            other["envoyExtAuthzHttp"][key] = value.clone();
        }
        changes.push(Some(other));
    }
    for provider in changes {
        let world = provided(&[], provider.clone());
        let attachment = wire_with(&service(), &world, &[SIDECARS], None).expect("an attachment");
        assert_eq!((attachment.word.reason, attachment.authorization), ("ProviderMissing", None), "{provider:?}");
        let (_, printed) = attachment.word.message.split_once("extensionProviders: ").expect("the entry to add");
        assert_eq!(serde_json::from_str::<Value>(printed).expect("JSON"), entry());
        assert!(attachment.word.message.len() < 1024, "{}", attachment.word.message.len());
    }
    let unreadable = World { mesh: None, ..provided(&[], None) };
    assert_eq!(
        wire_with(&service(), &unreadable, &[SIDECARS], None).map(|each| each.word.reason),
        Some("ProviderMissing")
    );
}

#[test]
fn what_is_in_place_stays_when_the_provider_goes() {
    let mut ours = serde_json::to_value(authorization_policy(&orders(), &own_gateway("waypoint"), None)).expect("JSON");
    ours["metadata"]["annotations"] = json!({OWNER: "default/shop/orders"});
    let attachment = wire(&own_gateway("waypoint"), &provided(&[ours], None));
    assert_eq!((attachment.word.reason, attachment.authorization.is_some()), ("ProviderMissing", true));
}

#[test]
fn a_workload_that_asks_another_provider_is_left_alone() {
    let taken = [
        json!({"selector": {"matchLabels": {"app": "orders"}}}),
        json!({"selector": {"matchLabels": {"version": "v1"}}}),
        json!({}),
    ];
    for spec in taken {
        let world = provided(&[custom("theirs", &spec)], Some(entry()));
        let attachment = wire_with(&service(), &world, &[SIDECARS], None).expect("an attachment");
        assert_eq!((attachment.word.reason, attachment.authorization), ("TargetHasPolicy", None), "{spec}");
    }
    let elsewhere = custom("theirs", &json!({"selector": {"matchLabels": {"app": "billing"}}}));
    let world = provided(&[elsewhere], Some(entry()));
    let attachment = wire_with(&service(), &world, &[SIDECARS], None).expect("an attachment");
    assert_eq!(attachment.word.reason, "Wired");
}

#[test]
fn a_gateway_and_a_waypoint_are_targets() {
    let world = provided(&[], Some(entry()));
    let attachment = wire(&own_gateway("waypoint"), &world);
    let spec = serde_json::to_value(attachment.authorization.expect("a policy").spec).expect("JSON");
    assert_eq!(spec["targetRefs"], on("Gateway", "waypoint"));
    assert_eq!(spec.get("selector"), None);
}
