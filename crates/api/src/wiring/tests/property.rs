//! Whatever other people have written: nothing fails open, nothing stands over theirs, nothing of ours goes because of it.

use proptest::prelude::*;

use super::*;

/// A SecurityPolicy by anybody: where, what it is called, on what, what it asks, and whose it is.
fn anybodys() -> impl Strategy<Value = Value> {
    let places =
        prop::sample::select(vec![("shop", "theirs"), ("shop", "orders.httproute.orders"), ("infra", "platform")]);
    let targets = prop::sample::select(vec![
        ("HTTPRoute", "orders"),
        ("HTTPRoute", "x"),
        ("Gateway", "edge"),
        ("Gateway", "own"),
    ]);
    let asks = prop::sample::select(vec![
        json!({}),
        json!({"extAuth": {"http": {}}}),
        json!({"cors": {}, "mergeType": "StrategicMerge"}),
        json!({"extAuth": {"failOpen": true, "contextExtensions": [{"name": POLICY_EXTENSION, "value": "shop/orders"}]}}),
    ]);
    let owners = prop::sample::select(vec![None, Some("default/shop/orders"), Some("default/shop/other")]);
    (places, targets, asks, owners).prop_map(|(place, (kind, name), mut spec, owner)| {
        spec["targetRefs"] = on(kind, name);
        security(place, &spec, owner)
    })
}

proptest! {
    #[test]
    fn what_is_written_fails_closed_and_stands_over_nobody(
        policies in prop::collection::vec(anybodys(), 0..4),
        target in prop::sample::select(vec![http_route("orders"), http_route("unclaimed"), own_gateway("own")]),
    ) {
        let world = world(&policies);
        let attachment = wire(&target, &world);
        prop_assert_eq!(attachment.keeps, attachment.security.is_none());
        let Some(ours) = attachment.security else { return Ok(()) };
        let auth = ours.spec.ext_auth.clone().expect("whom to ask");
        prop_assert_eq!(auth.fail_open, Some(false));
        prop_assert_eq!(auth.context_extensions.iter().map(|told| told.value.as_deref()).collect::<Vec<_>>(), [Some("shop/orders")]);
        let (_, kind, name) = parts(&target);
        for (at, there) in world.security.of("shop") {
            let foreign = owner(&there.metadata) != Some(orders());
            prop_assert!(!foreign || *at != place(&ours.metadata), "{at:?} is not ours");
            let same = there.spec.target_refs.iter().any(|on| (&*on.kind, &*on.name) == (kind, name));
            // All are as old: ours was there first if it is there, and its name comes first.
            let ours_holds = world.security.get(&place(&ours.metadata)).is_some_and(|found| {
                let on_it = found.spec.target_refs.iter().any(|on| (&*on.kind, &*on.name) == (kind, name));
                owner(&found.metadata) == Some(orders()) && on_it && place(&found.metadata) < *at
            });
            prop_assert!(!foreign || !same || ours_holds, "{at:?} has the target");
        }
    }
}
