//! Mode Create: the Secret's whole life, and silence in between.

use super::*;

fn rotating(rotation: Json) -> Json {
    json!({"authentication": {"methods": [{"type": "ClientSecret", "secret": {"rotation": rotation}}]}})
}

#[tokio::test]
async fn a_client_gets_its_secret_with_every_entry_and_a_status() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let secret = bench.secret().await.unwrap();
    let entries: Vec<_> =
        ["client_id", "issuer", "token_endpoint", "jwks_uri", "ca.crt"].map(|key| text(&secret, key).unwrap()).into();
    assert_eq!(
        entries,
        [
            "shop.checkout",
            "https://issuer.example",
            "https://issuer.example/oauth2/token",
            "https://issuer.example/oauth2/jwks",
            "-----BEGIN CERTIFICATE-----",
        ]
    );
    assert_eq!(secret.labels()["app.kubernetes.io/managed-by"], "countersign");
    assert_eq!(secret.annotations()["countersign.dev/owner"], "default/shop/checkout");
    assert_eq!(secret.metadata.owner_references, None);
    let status = bench.status().await;
    assert_eq!((status.client_id.as_deref(), status.grants.as_deref()), (Some("shop.checkout"), Some("1 of 1")));
    assert_eq!(status.secret.unwrap().issued_at, bench.issued().await);
    for (kind, says) in [
        ("Ready", "True/Ready"),
        ("Accepted", "True/Accepted"),
        ("CredentialsReady", "True/Written"),
        ("FullyGranted", "True/Granted"),
        ("ResolvedRefs", "True/ResolvedRefs"),
        ("Reconciling", ""),
        ("Stalled", ""),
    ] {
        assert_eq!(bench.condition(kind).await, says, "{kind}");
    }
}

#[tokio::test]
async fn nothing_is_written_once_all_is_as_it_should_be() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let versions = bench.versions().await;
    bench.pass(3_600).await;
    bench.restart().await;
    bench.settle().await;
    assert_eq!(bench.versions().await, versions);
    assert!(bench.epochs().is_empty());
}

#[tokio::test]
async fn a_deleted_secret_comes_back_with_a_fresh_value_and_the_old_one_stays_good() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let first = bench.issued().await.unwrap();
    bench.clock.advance(Duration::from_mins(1));
    bench.delete_secret().await;
    assert_eq!(bench.issued().await, Some(at(1_000_060)));
    assert_eq!(bench.status().await.secret.unwrap().accepted_since, Some(first));
}

#[tokio::test]
async fn an_edited_secret_is_put_right() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let whole = bench.secret().await.unwrap();
    let first = bench.issued().await;
    bench.edit_secret(|secret| drop(secret.data.as_mut().unwrap().remove("issuer"))).await;
    assert_eq!(bench.secret().await.unwrap().data, whole.data);
    assert_eq!(bench.issued().await, first, "the value was not touched, so it stays");
    bench.clock.advance(Duration::from_secs(10));
    let changed = k8s_openapi::ByteString(b"hunter2".to_vec());
    bench.edit_secret(|secret| drop(secret.data.as_mut().unwrap().insert("client_secret".to_owned(), changed))).await;
    assert_eq!(bench.issued().await, Some(at(1_000_010)));
    bench.edit_secret(|secret| secret.metadata.labels = None).await;
    assert_eq!(bench.secret().await.unwrap().metadata.labels, whole.metadata.labels);
}

#[tokio::test]
async fn a_secret_whose_owner_record_was_taken_off_is_known_by_its_value() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let whole = bench.secret().await.unwrap();
    bench.edit_secret(|secret| secret.metadata.annotations = None).await;
    assert_eq!(bench.secret().await.unwrap().annotations(), whole.annotations());
    assert_eq!(bench.secret().await.unwrap().data, whole.data);
}

#[tokio::test]
async fn a_foreign_secret_with_a_copy_of_our_value_is_never_overwritten() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let mut copy = bench.secret().await.unwrap();
    copy.metadata = serde_json::from_value(json!({"name": "theirs", "namespace": "shop"})).unwrap();
    copy.data.as_mut().unwrap().insert("password".to_owned(), k8s_openapi::ByteString(b"kept".to_vec()));
    let copy = bench.objects.create(&copy).await.unwrap();
    bench.edit(|client| set_secret(client, json!({"name": "theirs"}))).await;
    bench.pass(60).await;
    let now: Option<Secret> = bench.objects.get(&Key::namespaced("shop", "theirs")).await.unwrap();
    assert_eq!(now, Some(copy));
    assert_eq!(bench.condition("CredentialsReady").await, "False/SecretNotOwned");
}

#[tokio::test]
async fn a_reject_issued_before_far_ahead_is_not_accepted_until_it_comes() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let first = bench.issued().await;
    bench.edit(|client| set_secret(client, json!({"rejectIssuedBefore": at(1_010_000).to_string()}))).await;
    assert_eq!(bench.condition("Accepted").await, "False/Invalid");
    assert_eq!((bench.condition("Ready").await.as_str(), bench.issued().await), ("False/Invalid", first));
    bench.pass(10_000 - 3_600).await;
    assert_eq!(bench.condition("Accepted").await, "True/Accepted");
    assert_eq!(bench.issued().await, Some(at(1_010_000)));
}

#[tokio::test]
async fn a_malformed_rotate_at_is_said_to_ask_for_nothing() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let rotate_at = ("countersign.dev/rotate-at".to_owned(), "now".to_owned());
    bench.edit(|client| client.annotations_mut().extend([rotate_at])).await;
    let status = bench.status().await;
    let said = status.conditions.iter().find(|condition| condition.type_ == "CredentialsReady").unwrap();
    assert!(said.reason == "RotateAtInvalid" && said.message.contains("rotate-at"), "{said:?}");
    assert_eq!(bench.condition("Ready").await, "True/Ready");
}

#[tokio::test]
async fn a_suspended_client_stands_and_says_so() {
    let mut bench = Bench::new().await;
    bench.apply(json!({"state": "Suspended"})).await;
    assert_eq!(bench.condition("Ready").await, "True/Suspended");
    bench.edit(|client| client.spec.state = countersign_api::oauthclient::ClientState::Active).await;
    assert_eq!(bench.condition("Ready").await, "True/Ready");
}

#[tokio::test]
async fn a_secret_made_immutable_is_made_mutable_again() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let (whole, first) = (bench.secret().await.unwrap(), bench.issued().await);
    bench.edit_secret(|secret| secret.immutable = Some(true)).await;
    let secret = bench.secret().await.unwrap();
    assert_eq!((secret.immutable, secret.data), (None, whole.data));
    assert_eq!(bench.issued().await, first, "the value stays");
}

#[tokio::test]
async fn a_fight_over_a_secret_is_fought_less_and_less_often_and_told() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    for _ in 0..5 {
        bench.delete_secret().await;
        assert!(bench.secret().await.is_some());
    }
    bench.delete_secret().await;
    assert_eq!(bench.secret().await, None);
    assert_eq!(bench.condition("CredentialsReady").await, "False/SecretContested");
    bench.pass(5).await;
    assert_eq!(bench.condition("Ready").await, "True/Ready");
}

#[tokio::test]
async fn an_immutable_secret_and_one_of_another_type_are_made_anew() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.edit_secret(|secret| secret.immutable = Some(true)).await;
    bench.edit(|client| set_secret(client, json!({"template": {"labels": {"team": "web"}}}))).await;
    let secret = bench.secret().await.unwrap();
    assert_eq!((secret.immutable, secret.labels()["team"].as_str()), (None, "web"));
    let mut other = secret.clone();
    bench.objects.delete::<Secret>(&secret_key(), &Preconditions::default()).await.unwrap();
    other.type_ = Some("kubernetes.io/tls".to_owned());
    other.metadata.resource_version = None;
    bench.objects.create(&other).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.secret().await.unwrap().type_.as_deref(), Some("Opaque"));
}

#[tokio::test]
async fn a_foreign_secret_is_never_overwritten() {
    let mut bench = Bench::new().await;
    let foreign = json!({"metadata": {"name": "checkout-oauth", "namespace": "shop"}, "data": {"k": "dg=="}});
    let foreign: Secret = bench.objects.create(&serde_json::from_value(foreign).unwrap()).await.unwrap();
    bench.apply(json!({})).await;
    assert_eq!(bench.secret().await.unwrap(), foreign);
    assert_eq!(bench.condition("Ready").await, "False/SecretNotOwned");
    assert_eq!(bench.condition("Stalled").await, "True/SecretNotOwned");
    bench.delete_secret().await;
    bench.pass(30).await;
    assert_eq!(bench.condition("Ready").await, "True/Ready");
}

#[tokio::test]
async fn a_rotation_keeps_both_values_good_until_the_overlap_ends() {
    let mut bench = Bench::new().await;
    bench.apply(rotating(json!({"period": "720h", "overlap": "24h", "retirement": "AfterOverlap"}))).await;
    let first = bench.issued().await.unwrap();
    // The first value carries the second after it was made.
    bench.pass(720 * 3_600 + 1).await;
    let second = bench.issued().await.unwrap();
    let status = bench.status().await.secret.unwrap();
    assert_eq!(second, first + Duration::from_hours(720));
    assert_eq!((status.issued_at, status.accepted_since), (Some(second), Some(first)));
    assert_eq!(bench.condition("CredentialsReady").await, "True/Rotating");
    bench.pass(24 * 3_600).await;
    assert_eq!(bench.status().await.secret.unwrap().accepted_since, Some(second));
    assert_eq!(bench.condition("CredentialsReady").await, "True/Written");
    assert!(bench.epochs().is_empty());
}

#[tokio::test]
async fn rotate_at_asks_for_one_rotation() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.clock.advance(Duration::from_secs(100));
    let rotate_at = ("countersign.dev/rotate-at".to_owned(), at(1_000_050).to_string());
    bench.edit(|client| client.annotations_mut().extend([rotate_at])).await;
    assert_eq!(bench.issued().await, Some(at(1_000_100)));
    bench.pass(100).await;
    assert_eq!(bench.issued().await, Some(at(1_000_100)));
}

#[tokio::test]
async fn a_compromised_value_and_its_tokens_die_at_once() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.clock.advance(Duration::from_secs(100));
    bench.edit(|client| set_secret(client, json!({"rejectIssuedBefore": at(1_000_050).to_string()}))).await;
    let status = bench.status().await;
    assert_eq!(bench.issued().await, Some(at(1_000_100)));
    assert_eq!(status.secret.unwrap().accepted_since, Some(at(1_000_100)));
    assert_eq!((bench.epochs(), status.epoch), (vec![(None, 1)], Some(1)));
}

#[tokio::test]
async fn a_secret_under_a_former_name_goes_once_the_new_one_is_there() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.edit(|client| set_secret(client, json!({"name": "other"}))).await;
    assert_eq!(bench.secret().await, None);
    let other: Option<Secret> = bench.objects.get(&Key::namespaced("shop", "other")).await.unwrap();
    assert!(other.is_some());
    assert_eq!(bench.status().await.secret.unwrap().name.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_paused_client_is_left_as_it_is() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench
        .edit(|client| drop(client.annotations_mut().insert("countersign.dev/paused".to_owned(), "true".to_owned())))
        .await;
    let (version, _) = bench.versions().await;
    bench.delete_secret().await;
    assert_eq!((bench.secret().await, bench.versions().await.0), (None, version));
    bench.edit(|client| client.spec.state = countersign_api::oauthclient::ClientState::Suspended).await;
    assert_eq!(bench.epochs(), [(None, 1)], "a revocation is never paused");
    bench.edit(|client| drop(client.annotations_mut().remove("countersign.dev/paused"))).await;
    assert!(bench.secret().await.is_some());
}

#[tokio::test]
async fn a_malformed_client_is_left_as_it_is() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let secret = bench.secret().await;
    let malformed = crate::objects::Malformed {
        key: Key::from(&checkout()),
        uid: None,
        generation: None,
        error: "spec.access: expected a list".to_owned(),
        body: None,
    };
    let offered = bench.process.kind.world().see(Seen::Client(Box::new(Change::Malformed(malformed))), at(0));
    assert!(offered.is_empty());
    bench.process.kind.reconcile(&checkout()).await.unwrap();
    assert_eq!(bench.secret().await, secret);
    assert!(bench.epochs().is_empty());
}

#[tokio::test]
async fn a_lost_status_is_made_anew_and_the_value_stays_good() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let (secret, status) = (bench.secret().await.unwrap(), bench.status().await.secret.unwrap());
    bench.objects.delete::<OAuthClient>(&Key::from(&checkout()), &Preconditions::default()).await.unwrap();
    bench.clock.advance(Duration::from_secs(500));
    bench.restart().await;
    bench.apply(json!({})).await;
    assert_eq!(bench.secret().await.unwrap().data, secret.data);
    assert_eq!(bench.status().await.secret.unwrap().accepted_since, status.issued_at);
}

pub(super) fn set_secret(client: &mut OAuthClient, secret: Json) {
    let authentication = json!({"methods": [{"type": "ClientSecret", "secret": secret}]});
    client.spec.authentication = Some(serde_json::from_value(authentication).unwrap());
}
