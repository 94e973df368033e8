//! Grants, epochs, and what a client that goes leaves behind.

use countersign_api::oauthclient::ClientState;

use super::*;

#[tokio::test]
async fn a_refused_scope_is_named_and_leaves_the_client_ready() {
    let mut bench = Bench::new().await;
    let access = json!([{"audience": ORDERS, "scopes": ["orders:read", "orders:delete"]}]);
    bench.apply(json!({"access": access})).await;
    let status = bench.status().await;
    assert_eq!((status.grants.as_deref(), status.refused[0].reason.as_str()), (Some("1 of 2"), "UnknownScope"));
    assert_eq!(bench.condition("Ready").await, "True/Ready");
    assert_eq!(bench.condition("FullyGranted").await, "False/SomeRefused");
    assert_eq!(bench.condition("ResolvedRefs").await, "False/UnknownScope");
}

#[tokio::test]
async fn a_client_that_is_granted_nothing_has_its_secret_and_is_not_ready() {
    let mut bench = Bench::new().await;
    bench.apply(json!({"access": [{"audience": "https://other.shop.svc", "scopes": ["a"]}]})).await;
    assert!(bench.secret().await.is_some());
    assert_eq!(bench.condition("Ready").await, "False/NothingGranted");
    let mut bench = Bench::new().await;
    bench.apply(json!({"access": []})).await;
    assert_eq!(bench.condition("Ready").await, "True/Ready");
}

#[tokio::test]
async fn a_withdrawn_grant_ends_the_tokens_of_that_audience() {
    let mut bench = Bench::new().await;
    let access = json!([{"audience": ORDERS, "scopes": ["orders:read", "orders:write"]}]);
    bench.apply(json!({"access": access})).await;
    bench.edit_policy(|policy| policy.spec.grants[0].scopes = vec!["orders:read".to_owned()]).await;
    let status = bench.status().await;
    assert_eq!((bench.epochs(), status.epoch), (vec![(Some(ORDERS.to_owned()), 1)], Some(1)));
    assert_eq!(status.granted[0].scopes, ["orders:read"]);
    bench.edit_policy(|policy| policy.spec.grants[0].scopes.push("orders:write".to_owned())).await;
    assert_eq!((bench.epochs().len(), bench.status().await.epoch), (1, Some(1)), "a grant given back revokes nothing");
}

#[tokio::test]
async fn a_suspension_and_a_raised_tokens_not_before_each_start_an_epoch() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.edit(|client| client.spec.state = ClientState::Suspended).await;
    assert_eq!(bench.status().await.epoch, Some(1));
    bench.edit(|client| client.spec.state = ClientState::Active).await;
    assert_eq!(bench.status().await.epoch, Some(1));
    bench.edit(|client| client.spec.tokens_not_before = Some(at(1_000_000))).await;
    assert_eq!((bench.epochs(), bench.status().await.epoch), (vec![(None, 2)], Some(2)));
}

#[tokio::test]
async fn a_choice_that_is_not_built_is_not_accepted_and_nothing_is_revoked() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let secret = bench.secret().await;
    bench.edit(|client| client.spec.grant_types = vec![countersign_api::oauthclient::GrantType::DeviceCode]).await;
    assert_eq!(bench.condition("Accepted").await, "False/NotImplemented");
    assert_eq!(bench.condition("Ready").await, "False/NotImplemented");
    assert_eq!(bench.condition("Stalled").await, "True/NotImplemented");
    assert_eq!((bench.secret().await, bench.epochs()), (secret, vec![]));
    assert_eq!(bench.status().await.granted.len(), 1, "the memory of what was granted stays");
}

#[tokio::test]
async fn a_deleted_client_takes_its_secret_and_its_tokens_with_it() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.delete_client().await;
    assert_eq!((bench.secret().await, bench.epochs()), (None, vec![(None, 1)]));
}

#[tokio::test]
async fn a_retained_secret_stays_whoever_saw_the_client_go() {
    let mut bench = Bench::new().await;
    bench.apply(json!({"deletionPolicy": "Retain"})).await;
    bench.delete_client().await;
    assert!(bench.secret().await.is_some());
    bench.restart().await;
    bench.pass(7_200).await;
    assert!(bench.secret().await.is_some());
}

#[tokio::test]
async fn a_client_made_anew_at_once_gets_a_new_value_and_the_old_one_is_dead() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let first = bench.issued().await.unwrap();
    bench.clock.advance(Duration::from_secs(10));
    bench.objects.delete::<OAuthClient>(&Key::from(&checkout()), &Preconditions::default()).await.unwrap();
    bench.apply(json!({})).await;
    let status = bench.status().await.secret.unwrap();
    assert_eq!((bench.issued().await, status.accepted_since), (Some(at(1_000_011)), Some(at(1_000_011))));
    assert!(first < at(1_000_010));
    assert_eq!(bench.epochs(), [(None, 1)]);
}

/// A value says its second, and nothing of the object it was made for.
#[tokio::test]
async fn a_client_made_anew_within_a_second_gets_another_value_than_the_one_before() {
    let mut bench = Bench::new().await;
    let mut values = Vec::new();
    for _ in 0..4 {
        bench.apply(json!({})).await;
        let (value, status) = (bench.issued().await.unwrap(), bench.status().await.secret.unwrap());
        assert_eq!(status.accepted_since, Some(value));
        values.push(value);
        bench.delete_client().await;
    }
    assert!(values.is_sorted_by(|one, next| one < next), "{values:?}");
}

#[tokio::test]
async fn a_value_that_status_was_never_told_of_is_not_the_next_clients() {
    let mut bench = Bench::new().await;
    bench.writes_left.store(1, Ordering::Relaxed);
    bench.apply(json!({})).await;
    let first = bench.issued().await.unwrap();
    assert_eq!(bench.client().await.status.and_then(|status| status.secret), None);
    bench.writes_left.store(1_000, Ordering::Relaxed);
    bench.delete_client().await;
    assert_eq!(bench.secret().await, None);
    bench.apply(json!({})).await;
    assert!(first < bench.issued().await.unwrap());
}

#[tokio::test]
async fn what_nobody_saw_go_is_found_by_its_owner_record_after_a_while() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let copy = Secret {
        metadata: kube::api::ObjectMeta {
            namespace: Some("elsewhere".to_owned()),
            resource_version: None,
            uid: None,
            ..bench.secret().await.unwrap().metadata
        },
        ..bench.secret().await.unwrap()
    };
    let copy = bench.objects.create(&copy).await.unwrap();
    bench.objects.delete::<OAuthClient>(&Key::from(&checkout()), &Preconditions::default()).await.unwrap();
    bench.restart().await;
    bench.settle().await;
    assert!(bench.secret().await.is_some(), "its client may be on its way");
    bench.pass(3_600).await;
    assert_eq!(bench.secret().await, None);
    let kept: Option<Secret> = bench.objects.get(&Key::of(&copy.metadata)).await.unwrap();
    assert_eq!(kept, Some(copy), "a copy in another namespace is not ours to remove");
}

#[tokio::test]
async fn a_retained_secret_is_taken_up_again() {
    let mut bench = Bench::new().await;
    bench.apply(json!({"deletionPolicy": "Retain"})).await;
    let secret = bench.secret().await.unwrap();
    bench.delete_client().await;
    bench.clock.advance(Duration::from_secs(10));
    bench.apply(json!({})).await;
    assert_eq!(bench.secret().await.unwrap().data, secret.data);
    assert!(!bench.secret().await.unwrap().annotations().contains_key("countersign.dev/deletion-policy"));
}

/// So many single tokens of the client that a shard makes an epoch of them.
async fn revoke_many(bench: &mut Bench) {
    let uid = countersign_core::names::Uid::new(&bench.client().await.uid().unwrap()).unwrap();
    let now = bench.clock.now();
    for n in 0..=Shard::MAX_TOKENS_OF_CLIENT {
        let token = countersign_core::names::TokenId::new(&format!("token-{n}")).unwrap();
        let revocation = Revocation::Token { token, client: Some(uid.clone()), epoch: 0 };
        let entry = Entry { revocation, written_at: now, ends_at: now + Duration::from_hours(1) };
        bench.sink.revoke(entry).await.unwrap();
    }
    bench.settle().await;
}

#[tokio::test]
async fn status_catches_up_with_an_epoch_that_an_issuers_shard_made_of_many_tokens() {
    for paused in ["false", "true"] {
        let mut bench = Bench::new().await;
        bench.apply(json!({})).await;
        let pause = |client: &mut OAuthClient| {
            drop(client.annotations_mut().insert("countersign.dev/paused".to_owned(), paused.to_owned()));
        };
        bench.edit(pause).await;
        revoke_many(&mut bench).await;
        assert_eq!((bench.epochs(), bench.status().await.epoch), (vec![(None, 1)], Some(1)), "paused: {paused}");
    }
}

#[tokio::test]
async fn a_lost_status_gets_its_epoch_back_from_the_revocations_and_from_what_this_process_holds() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.edit(|client| client.spec.tokens_not_before = Some(at(1_000_000))).await;
    assert_eq!(bench.status().await.epoch, Some(1));
    let lose = async |bench: &mut Bench| {
        let client = OAuthClient { status: None, ..bench.client().await };
        bench.objects.replace_status(&client).await.unwrap();
        bench.settle().await;
        bench.status().await.epoch
    };
    assert_eq!(lose(&mut bench).await, Some(1));
    bench.clock.advance(Duration::from_hours(24));
    *bench.sink.0.lock().unwrap() = Shard::default();
    assert_eq!(lose(&mut bench).await, Some(1), "the entries have ended, the tokens of other processes may not have");
}

#[tokio::test]
async fn a_secret_that_cannot_be_written_does_not_hold_up_the_epoch() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    let issued = bench.issued().await;
    // A version of the signer whose private half is nowhere: every value is to be issued anew, and none can be.
    let key = bench.layout.client_secret_keyring();
    let mut map: ConfigMap = bench.objects.get(&key).await.unwrap().unwrap();
    let next = keyring(&bench.objects, &bench.layout).await.with_version(&[7; 32], bench.clock.now());
    map.data = Some([(KEYRING_DATA.to_owned(), serde_json::to_string(&next).unwrap())].into());
    bench.objects.replace(&map).await.unwrap();
    bench.edit(|client| client.spec.state = ClientState::Suspended).await;
    assert_eq!((bench.epochs(), bench.status().await.epoch), (vec![(None, 1)], Some(1)));
    assert_eq!(bench.issued().await, issued, "and it was not written");
}
