//! Which of several SecurityPolicies holds what, and what that leaves to ours.

use super::*;

/// One with this spec, made in that second.
fn made(name: &str, second: u32, spec: &Value) -> Value {
    let mut policy = security(("shop", name), spec, None);
    policy["metadata"]["creationTimestamp"] = json!(format!("2026-11-01T00:00:{second:02}Z"));
    policy
}

fn part(kind: &str, name: &str, section: &str) -> Value {
    json!([{"group": GATEWAY_GROUP, "kind": kind, "name": name, "sectionName": section}])
}

fn asks_us() -> Value {
    serde_json::to_value(ext_auth(&orders(), &wiring().verifier)).expect("JSON")
}

fn word(target: &Target, policies: &[Value]) -> (&'static str, String, bool) {
    let attachment = wire(target, &world(policies));
    (attachment.word.reason, attachment.word.message, attachment.security.is_some())
}

#[test]
fn a_policy_on_one_rule_of_a_route_does_not_wire_the_route() {
    let target = http_route("orders");
    let on_rule = |spec: Value| {
        let mut spec = spec;
        spec["targetRefs"] = part("HTTPRoute", "orders", "read");
        made("a-rule", 1, &spec)
    };
    let (reason, _, written) = word(&target, &[on_rule(json!({"extAuth": asks_us()}))]);
    assert_eq!((reason, written), ("AwaitingGateway", true), "ours is for the rest of the route");
    for spec in [json!({}), json!({"cors": {}, "mergeType": "StrategicMerge"}), json!({"extAuth": {"http": {}}})] {
        let (reason, message, written) = word(&target, &[on_rule(spec.clone()), accepted(in_place(&target), "True")]);
        assert_eq!((reason, written), ("Overridden", true), "{spec}");
        assert!(message.contains("SecurityPolicy shop/a-rule (part read)"), "{message}");
    }
    // The whole asks us, the rule asks nobody.
    let whole = made("whole", 2, &json!({"targetRefs": on("HTTPRoute", "orders"), "extAuth": asks_us()}));
    assert_eq!(word(&target, std::slice::from_ref(&whole)).0, "Wired");
    assert_eq!(word(&target, &[whole, on_rule(json!({}))]).0, "Overridden");
}

#[test]
fn a_gateways_policy_that_asks_us_is_not_the_whole_where_a_listener_or_route_has_another() {
    let target = own_gateway("own");
    let whole = made("whole", 1, &json!({"targetRefs": on("Gateway", "own"), "extAuth": asks_us()}));
    let listener =
        |auth: Value| made("listener", 2, &json!({"targetRefs": part("Gateway", "own", "http"), "extAuth": auth}));
    assert_eq!(word(&target, &[whole.clone(), listener(asks_us())]).0, "Wired");
    let (reason, message, _) = word(&target, &[whole, listener(json!({"http": {}}))]);
    assert_eq!(reason, "Overridden");
    assert!(message.contains("SecurityPolicy shop/listener (part http)"), "{message}");
}

#[test]
fn of_several_on_one_target_the_oldest_is_named_whatever_it_is_called() {
    let target = http_route("orders");
    let on_route = |name, second, auth: Option<Value>| {
        let mut spec = json!({"targetRefs": on("HTTPRoute", "orders")});
        if let Some(auth) = auth {
            spec["extAuth"] = auth;
        }
        made(name, second, &spec)
    };
    for (policies, holder) in [
        ([on_route("a-younger", 2, Some(asks_us())), on_route("z-older", 1, None)], "shop/z-older"),
        ([on_route("b-same", 1, Some(asks_us())), on_route("a-same", 1, None)], "shop/a-same"),
    ] {
        let (reason, message, written) = word(&target, &policies);
        assert_eq!((reason, written), ("TargetHasPolicy", false));
        assert!(message.contains(holder), "{message}");
    }
    let (reason, message, _) =
        word(&target, &[on_route("a-younger", 2, None), on_route("z-older", 1, Some(asks_us()))]);
    assert_eq!((reason, &*message), ("Wired", "SecurityPolicy shop/z-older asks the verifier"));
}

/// One of ours by another name holds nothing: it goes as soon as it is seen.
#[test]
fn one_of_ours_that_was_put_on_another_target_keeps_nobody_out() {
    let spec = json!({"targetRefs": on("Gateway", "own")});
    let ours = security(("shop", "orders.httproute.orders"), &spec, Some("default/shop/orders"));
    let theirs = security(("shop", "theirs"), &spec, None);
    let (reason, message, written) = word(&own_gateway("own"), &[ours, theirs]);
    assert_eq!((reason, written), ("TargetHasPolicy", false));
    assert!(message.contains("shop/theirs"), "{message}");
}

/// Who may write in the route's namespace may write any annotation.
#[test]
fn a_record_that_names_another_namespace_is_nobodys() {
    let spec = json!({"targetRefs": on("HTTPRoute", "below")});
    let theirs = security(("web", "theirs"), &spec, Some("default/shop/orders"));
    let mut route = route("below", &["api.example.com"], &[]);
    route["metadata"]["namespace"] = json!("web");
    route["spec"]["parentRefs"] = json!([{"name": "own", "namespace": "shop"}]);
    let mut world = world(&[theirs]);
    world.routes = shelf(&[route]);
    let attachment = wire(&own_gateway("own"), &world);
    assert_eq!(attachment.word.reason, "Overridden");
    assert!(attachment.word.message.contains("SecurityPolicy web/theirs"), "{}", attachment.word.message);
}

#[test]
fn a_younger_one_beside_ours_changes_nothing_and_an_older_one_does() {
    let target = http_route("orders");
    let mut ours = accepted(in_place(&target), "True");
    ours["metadata"]["creationTimestamp"] = json!("2026-11-01T00:00:10Z");
    let theirs = |second| made("a-theirs", second, &json!({"targetRefs": on("HTTPRoute", "orders")}));
    assert_eq!(word(&target, &[ours.clone(), theirs(11)]).0, "Wired");
    let attachment = wire(&target, &world(&[ours, theirs(9)]));
    assert_eq!((attachment.word.reason, attachment.keeps), ("TargetHasPolicy", true));
}

#[test]
fn a_policy_on_a_grpc_route_below_the_gateway_is_seen() {
    let target = own_gateway("own");
    let grpc = |parent: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
            "metadata": {"name": "calls", "namespace": "shop", "labels": {"app": "calls"}},
            "spec": {"hostnames": ["api.example.com"], "parentRefs": [{"name": parent}]}
        })
    };
    let apart = made("apart", 1, &json!({"targetRefs": on("GRPCRoute", "calls")}));
    let below = |parent: &str, policy: &Value| {
        let world = World { grpc_routes: shelf(&[grpc(parent)]), ..world(std::slice::from_ref(policy)) };
        wire(&target, &world).word.reason
    };
    assert_eq!(below("own", &apart), "Overridden");
    let by_label = json!({"targetSelectors": [{"kind": "GRPCRoute", "matchLabels": {"app": "calls"}}]});
    assert_eq!(below("own", &made("apart", 1, &by_label)), "Overridden");
    assert_eq!(below("elsewhere", &apart), "AwaitingGateway");
    assert_eq!(below("own", &made("apart", 1, &json!({"targetRefs": on("HTTPRoute", "calls")}))), "AwaitingGateway");
    let unread = World { grpc_routes: Known::Unread, ..world(&[]) };
    assert_eq!(wire(&target, &unread).word.reason, "NotRead");
}
