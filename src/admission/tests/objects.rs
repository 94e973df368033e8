//! What is said to objects that are written.

use serde_json::json;

use super::*;

#[tokio::test]
async fn what_is_good_is_allowed_in_silence() {
    let world = World::new(&[orders()]);
    for good in [orders(), client("checkout", reading()), allowance(), ring("other", json!({}))] {
        let said = world.create(&good).await;
        assert_eq!((said.refusal(), said.warnings()), (None, Vec::new()), "{good}");
    }
    let mut bare = client("checkout", reading());
    let metadata = bare["metadata"].as_object_mut().unwrap();
    metadata.remove("uid");
    metadata.remove("creationTimestamp");
    assert_eq!(world.create(&bare).await.refusal(), None, "a dry run asks before there is a UID");
}

#[tokio::test]
async fn each_refusal_names_the_element_and_says_what_to_write_instead() {
    let rule = |name: &str, path: &str, when: &str| {
        let allow = json!([{"scopes": ["orders:read"], "when": when}]);
        let matches = json!([{"methods": ["GET"], "path": {"type": "Exact", "value": path}}]);
        json!({"name": name, "matches": matches, "protection": "Scoped", "allow": allow})
    };
    let rules = |rules: Value| {
        let targets = json!([{"group": "", "kind": "Service", "name": "orders"}]);
        policy("shop", "orders", json!({"targetRefs": targets, "scopes": [{"name": "orders:read"}], "rules": rules}))
    };
    let shared = |namespace: &str| policy(namespace, "api", json!({"audience": "https://api.example.com"}));
    let secret =
        |name: &str| json!({"authentication": {"methods": [{"type": "ClientSecret", "secret": {"name": name}}]}});
    let world = World::new(&[orders(), allowance(), shared("other"), client("first", secret("one"))]);
    let true_ = "true";
    let cases = [
        (rules(json!([rule("a", "/a", "path.")])), "spec.rules[0]", reason::INVALID_CONDITION),
        (rules(json!([rule("a", "/a", true_), rule("b", "/a", true_)])), "spec.rules[", reason::AMBIGUOUS_RULE),
        (shared("shop"), "spec.audience", reason::CONFLICT),
        (policy("shop", "mine", json!({"audience": "https://a.example"})), "spec.audience", reason::RESERVED),
        (client("second", secret("one")), "secret", reason::SECRET_NAME_CONFLICT),
        (client("claims", json!({"tokens": {"claims": {"sub": "x"}}})), "spec.tokens.claims", reason::REGISTERED_CLAIM),
        (object("SigningKey", meta("shop", "mine"), json!({})), "metadata.namespace", reason::INVALID),
        (ring("quick", json!({"rotation": {"period": "10m", "prePublish": "1h"}})), "spec.rotation", reason::INVALID),
    ];
    for (bad, element, name) in cases {
        let refusal = world.create(&bad).await.refusal().unwrap_or_else(|| panic!("allowed: {bad}"));
        assert!(refusal.contains(element) && refusal.contains(&format!("({name})")), "{element} {name}: {refusal}");
        let next = Reason::find(name, Place::Element).expect("what to do").next;
        assert!(refusal.contains(next) && !next.is_empty(), "{refusal}");
    }
}

#[tokio::test]
async fn what_is_legal_and_left_out_is_a_warning() {
    let world = World::new(&[orders()]);
    let asks = |audience: &str, scope: &str| {
        client("checkout", json!({"access": [{"audience": audience, "scopes": [scope]}]}))
    };
    let cases = [
        (asks("https://orders.shop.svc", "orders:write"), "orders:write of https://orders.shop.svc is not granted yet"),
        (asks("https://later.other.svc", "read"), "is not granted yet"),
        (client("checkout", json!({"tokens": {"signingKey": "none"}})), "there is no SigningKey none yet"),
        (policy("shop", "api", json!({"audience": "https://api.example.com"})), "(NotAllowed)"),
    ];
    for (left_out, warning) in cases {
        let said = world.create(&left_out).await;
        assert_eq!(said.refusal(), None, "{left_out}");
        let warnings = said.warnings();
        assert!(warnings.iter().any(|said| said.contains(warning)), "{warning}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.len() <= 256), "{warnings:?}");
    }
}

#[tokio::test]
async fn what_was_wrong_before_keeps_nobody_from_changing_something_else() {
    let world = World::new(&[orders()]);
    let old = client("checkout", json!({"tokens": {"claims": {"sub": "x"}}}));
    let mut new = old.clone();
    new["spec"]["displayName"] = json!("Checkout");
    let said = world.ask("UPDATE", Some(&new), Some(&old)).await;
    assert_eq!(said.refusal(), None);
    assert!(said.warnings().iter().any(|warning| warning.contains("RegisteredClaim")), "{said:?}");
    new["spec"]["defaultAudience"] = json!("https://nowhere.shop.svc");
    assert!(world.ask("UPDATE", Some(&new), Some(&old)).await.refusal().is_some());
    new["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(world.ask("UPDATE", Some(&new), Some(&old)).await.refusal(), None, "what goes is let go");
}

#[tokio::test]
async fn objects_of_other_installations_are_theirs() {
    let world = World::new(&[]);
    let theirs = client("checkout", json!({"issuer": "other", "tokens": {"claims": {"sub": "x"}}}));
    assert_eq!(world.create(&theirs).await.refusal(), None);
    let theirs = ring("default", json!({"issuer": "other"}));
    assert_eq!(world.delete(&theirs).await.refusal(), None);
}
