//! Status by case: what of a policy is said to be in force.

use std::sync::Arc;

use countersign_core::directory::{Change, Directory, PolicyObject, Settings};
use countersign_core::names::IssuerName;
use serde_json::{Value, json};

use super::*;

fn policy(namespace: &str, change: &Value) -> ScopePolicy {
    let mut spec = json!({
        "audience": "https://orders.shop.svc",
        "scopes": [{"name": "orders:read"}],
        "grants": [{"scopes": ["orders:read"], "to": [{"namespaces": "Same"}]}],
        "rules": [
            {"name": "read", "matches": [{"methods": ["GET"], "path": {"type": "Exact", "value": "/orders"}}],
             "protection": "Scoped", "allow": [{"scopes": ["orders:read"]}]},
            {"name": "health", "matches": [{"methods": ["GET"], "path": {"type": "Exact", "value": "/healthz"}}], "protection": "Public"}
        ]
    });
    spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let metadata = json!({
        "name": "orders", "namespace": namespace, "uid": "u1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"
    });
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn said(policy: &ScopePolicy, namespace: &str) -> ScopePolicyStatus {
    let settings =
        Settings::new(IssuerName::new("default").unwrap(), "https://issuer.example", "cluster.local", Vec::new());
    let object = Arc::new(PolicyObject::try_from(policy).unwrap());
    let key = object.object.clone();
    let directory = Directory::empty(Arc::new(settings)).apply([Change::Policy(key.clone(), Some(object))]);
    assert_eq!(key.namespace.as_str(), namespace);
    status(
        directory.policy(&key).unwrap(),
        &ScopePolicyStatus::default(),
        &Wired::off(),
        ("default", Timestamp::UNIX_EPOCH),
    )
}

fn conditions_of(status: &ScopePolicyStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect()
}

#[test]
fn each_state_of_a_policy_is_said_in_its_conditions() {
    let rule = |path: &str| {
        json!([{"name": "x", "matches": [{"methods": ["GET"], "path": {"type": "Exact", "value": path}}], "protection": "Scoped",
                "allow": [{"scopes": ["orders:gone"]}]}])
    };
    for (name, change, conditions, rules) in [
        ("whole", json!({}), ["True/Accepted", "False/Valid", "True/ResolvedRefs", "False/Enforce"], "2 of 2"),
        (
            "shadow",
            json!({"mode": "Shadow"}),
            ["True/Accepted", "False/Valid", "True/ResolvedRefs", "True/Shadow"],
            "2 of 2",
        ),
        (
            "foreign audience",
            json!({"audience": "https://orders.other.svc"}),
            ["False/NotAllowed", "True/NotAllowed", "True/ResolvedRefs", "False/Enforce"],
            "2 of 2",
        ),
        (
            "dangling scope",
            json!({"rules": rule("/a")}),
            ["True/Accepted", "True/UnknownScope", "False/UnknownScope", "False/Enforce"],
            "0 of 1",
        ),
        (
            "not built",
            json!({"tokenSources": ["Cookie"]}),
            ["False/NotImplemented", "True/NotImplemented", "True/ResolvedRefs", "False/Enforce"],
            "2 of 2",
        ),
    ] {
        let status = said(&policy("shop", &change), "shop");
        let kinds = ["Accepted", "PartiallyInvalid", "ResolvedRefs", "NotEnforcing"];
        let wanted: Vec<_> = kinds.iter().zip(conditions).map(|(kind, says)| format!("{kind}={says}")).collect();
        assert_eq!((conditions_of(&status), status.rules.as_deref()), (wanted, Some(rules)), "{name}");
    }
}

#[test]
fn the_same_policy_is_said_the_same_of_and_nothing_is_written() {
    let policy = policy("shop", &json!({"routes": [{"hosts": ["api.example.com"]}]}));
    let first = said(&policy, "shop");
    assert_eq!(first.problems[0].element, "spec.routes[0].hosts[0]");
    let settings =
        Settings::new(IssuerName::new("default").unwrap(), "https://issuer.example", "cluster.local", Vec::new());
    let object = Arc::new(PolicyObject::try_from(&policy).unwrap());
    let key = object.object.clone();
    let directory = Directory::empty(Arc::new(settings)).apply([Change::Policy(key.clone(), Some(object))]);
    let later = Timestamp::from_second(99).unwrap();
    assert_eq!(status(directory.policy(&key).unwrap(), &first, &Wired::off(), ("default", later)), first);
}
