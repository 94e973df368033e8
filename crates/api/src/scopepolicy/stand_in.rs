//! What stands in for a ScopePolicy that cannot be read as one.
//!
//! Flows in: the object as it came. Flows out: a `PolicyObject` that claims what can be read of its claims, so that nobody
//! else gets them meanwhile, and lets nothing pass. An element that cannot be read might have claimed anything.

use countersign_core::directory::PolicyObject;
use countersign_core::policy::Unreadable;
use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::convert::source;
use super::{Route, ScopePolicySpec, TargetRef};
use crate::metadata;

/// The stand-in, where it is known which object it is. None for an object of another installation.
pub fn stand_in(body: &Value, issuer: &str) -> Option<PolicyObject> {
    let nothing = Map::new();
    let found = body.get("spec").and_then(Value::as_object);
    let spec = found.unwrap_or(&nothing);
    // Whose it is must be known for it to be another's.
    let named =
        if found.is_some() { spec.get("issuer").map_or(Some(crate::DEFAULT_ISSUER), Value::as_str) } else { None };
    if named.is_some_and(|named| named != issuer) {
        return None;
    }
    let identity = metadata::identity(&identifying(body.get("metadata")?)?).ok()?;
    let audience = spec.get("audience").and_then(Value::as_str).unwrap_or_default();
    let mut read: ScopePolicySpec = serde_json::from_value(json!({"audience": audience})).ok()?;
    let (targets, all_targets) = elements::<TargetRef>(spec.get("targetRefs"));
    let (routes, all_routes) = elements::<Route>(spec.get("routes"));
    (read.target_refs, read.routes) = (targets, routes);
    let known = if found.is_some() && all_targets && all_routes { Unreadable::Rules } else { Unreadable::Everything };
    let mut source = source(&read);
    source.unreadable = Some(known);
    let metadata::Identity { object, uid, created_at, generation } = identity;
    Some(PolicyObject::new(object, uid, created_at, generation, source))
}

/// The metadata that says which object it is, less what might not be readable beside it.
fn identifying(metadata: &Value) -> Option<ObjectMeta> {
    let fields = ["name", "namespace", "uid", "creationTimestamp", "generation"];
    let fields = fields.into_iter().filter_map(|name| Some((name.to_owned(), metadata.get(name)?.clone())));
    serde_json::from_value(Value::Object(fields.collect())).ok()
}

/// The elements of a list that can be read, and whether these are all.
fn elements<T: DeserializeOwned>(list: Option<&Value>) -> (Vec<T>, bool) {
    match list {
        None | Some(Value::Null) => (Vec::new(), true),
        Some(Value::Array(items)) => {
            let read: Vec<T> = items.iter().filter_map(|item| T::deserialize(item).ok()).collect();
            let all = read.len() == items.len();
            (read, all)
        }
        Some(_) => (Vec::new(), false),
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::policy::Target;

    use super::*;

    fn of(spec: &Value) -> Option<PolicyObject> {
        let metadata = json!({
            "name": "orders", "namespace": "shop", "uid": "u1", "generation": 3,
            "creationTimestamp": "2026-11-22T04:00:00Z", "labels": {"a": 1}
        });
        stand_in(&json!({"metadata": metadata, "spec": spec}), "default")
    }

    #[test]
    fn what_can_be_read_of_its_claims_is_claimed_and_the_rest_counts_as_anything() {
        let service = json!({"group": "", "kind": "Service", "name": "orders"});
        let route = json!({"hosts": ["api.example.com"]});
        for (spec, targets, routes, known) in [
            (json!({"rules": "x", "targetRefs": [service], "routes": [route]}), 1, 1, Unreadable::Rules),
            (json!({"rules": "x"}), 0, 0, Unreadable::Rules),
            (json!({"targetRefs": [service, 7]}), 1, 0, Unreadable::Everything),
            (json!({"routes": [route, {"hosts": "api.example.com"}]}), 0, 1, Unreadable::Everything),
            (json!({"routes": {"hosts": ["api.example.com"]}}), 0, 0, Unreadable::Everything),
            (json!("text"), 0, 0, Unreadable::Everything),
        ] {
            let stand_in = of(&spec).unwrap_or_else(|| panic!("{spec}"));
            let source = &stand_in.source;
            assert_eq!((source.targets.len(), source.routes.len()), (targets, routes), "{spec}");
            assert_eq!((source.unreadable, stand_in.generation), (Some(known), 3), "{spec}");
        }
        let named = of(&json!({"audience": "https://orders.shop.svc", "targetRefs": [service]})).expect("a stand-in");
        assert_eq!(
            named.source.audience.map(|audience| audience.to_string()),
            Ok("https://orders.shop.svc".to_owned())
        );
        assert!(
            matches!(named.source.targets.first(), Some(Ok(Target::Service { name })) if name.as_str() == "orders")
        );
    }

    #[test]
    fn only_an_object_known_to_be_anothers_has_none() {
        for (spec, has_one) in [
            (json!({"rules": 1}), true),
            (json!({"rules": 1, "issuer": "default"}), true),
            (json!({"issuer": ["other"]}), true),
            (json!({"rules": 1, "issuer": "other"}), false),
        ] {
            assert_eq!(of(&spec).is_some(), has_one, "{spec}");
        }
        assert!(stand_in(&json!({"metadata": {"name": "orders"}, "spec": {}}), "default").is_none());
    }
}
