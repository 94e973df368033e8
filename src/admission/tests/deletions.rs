//! Which SigningKeys may be deleted, and when.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_signing_key_stays_while_it_is_needed() {
    let named = client("batch", json!({"tokens": {"signingKey": "batch"}}));
    let world = World::new(&[named]);
    let says = |said: Said, what: &str| {
        let refusal = said.refusal().unwrap_or_else(|| panic!("may go: {what}"));
        assert!(refusal.contains(what), "{refusal}");
    };
    says(world.delete(&ring("default", json!({}))).await, "annotate it countersign.dev/rotate-at=<now>");
    says(world.delete(&ring("batch", json!({}))).await, "(shop/batch): set their spec.tokens.signingKey to another");
    assert_eq!(world.delete(&ring("spare", json!({}))).await.refusal(), None);
    assert_eq!(world.delete(&client("batch", json!({}))).await.refusal(), None);
    let elsewhere = object("SigningKey", meta("shop", "default"), json!({}));
    assert_eq!(world.delete(&elsewhere).await.refusal(), None, "it never counted");

    // Nobody names it any more; what it signed until then may be good for an hour and some.
    world.clock.advance(Duration::from_mins(30));
    world.rings.look(&world.live.load(), world.clock.now());
    let now = world.live.load_full();
    let name = |text: &str| ObjectName::new(text).unwrap();
    let directory = now.directory.apply([Change::Client("shop/batch".parse().unwrap(), None)]);
    let snapshot = Snapshot {
        directory: Arc::new(directory),
        rings: Arc::new(BTreeMap::from([(name("batch"), Arc::new(signing("batch")))])),
        ..(*now).clone()
    };
    world.live.publish(snapshot);
    says(world.delete(&ring("batch", json!({}))).await, "may be good until 2027-01-15T");
    world.clock.advance(Duration::from_mins(61));
    says(
        world.delete(&ring("batch", json!({}))).await,
        "delete it then, or declare its keys dead in spec.revokedKeyIds",
    );
    world.clock.advance(Duration::from_mins(4));
    assert_eq!(world.delete(&ring("batch", json!({}))).await.refusal(), None);
}

#[tokio::test]
async fn of_many_that_are_deleted_at_once_each_is_judged() {
    let world = World::new(&[]);
    // The API server does so for `kubectl delete --raw` of a whole collection: the object alone says its name.
    let mut one_of_many = review("DELETE", None, Some(&ring("default", json!({}))));
    one_of_many["request"].as_object_mut().unwrap().remove("name");
    assert!(world.send("application/json", one_of_many.to_string()).await.refusal().is_some());
}

#[tokio::test]
async fn a_namespace_that_ends_takes_every_signing_key_with_it() {
    let world = World::new(&[]);
    assert!(world.delete(&ring("default", json!({}))).await.refusal().is_some());
    let now = world.live.load_full();
    let name = Namespace::new("countersign-system").unwrap();
    let ending = NamespaceObject { name: name.clone(), labels: BTreeMap::new(), is_ending: true };
    let directory = now.directory.apply([Change::Namespace(name, Some(Arc::new(ending)))]);
    world.live.publish(Snapshot { directory: Arc::new(directory), ..(*now).clone() });
    assert_eq!(world.delete(&ring("default", json!({}))).await.refusal(), None);
}

/// A keyring whose one key signs.
fn signing(ring: &str) -> Keyring {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "alg": "EdDSA", "use": "sig", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"});
    let jwk = serde_json::from_value(jwk).unwrap();
    let at = Timestamp::from_second(NOW - 1_000).unwrap();
    let mut key = countersign_core::keyring::RingKey::published(1, jwk, (at, 1));
    key.state = KeyState::Active;
    let mut keyring = Keyring::empty(ObjectName::new(ring).unwrap());
    keyring.keys.push(key);
    keyring
}
