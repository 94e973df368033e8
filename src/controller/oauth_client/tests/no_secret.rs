//! Clients that prove themselves without a Secret: their ConfigMap's whole life, and the way there and back.

use countersign_api::oauthclient::ClientState;

use super::*;

fn by_service_account() -> Json {
    json!({"authentication": {"methods": [{"type": "ServiceAccount", "serviceAccounts": [{"name": "checkout"}]}]}})
}

fn set_methods(client: &mut OAuthClient, spec: &Json) {
    client.spec.authentication = Some(serde_json::from_value(spec["authentication"].clone()).unwrap());
}

async fn config_map(bench: &Bench) -> Option<ConfigMap> {
    bench.objects.get(&secret_key()).await.unwrap()
}

async fn edit(bench: &mut Bench, change: impl FnOnce(&mut ConfigMap)) {
    let mut map = config_map(bench).await.unwrap();
    change(&mut map);
    bench.objects.managed_by("kubectl-edit").replace(&map).await.unwrap();
    bench.settle().await;
}

async fn delete(bench: &mut Bench) {
    bench.objects.delete::<ConfigMap>(&secret_key(), &Preconditions::default()).await.unwrap();
    bench.settle().await;
}

#[tokio::test]
async fn a_client_without_a_secret_gets_a_config_map_with_every_entry_but_one() {
    let mut bench = Bench::new().await;
    bench.apply(by_service_account()).await;
    let map = config_map(&bench).await.unwrap();
    let entries = [
        ("ca.crt", "-----BEGIN CERTIFICATE-----"),
        ("client_id", "shop.checkout"),
        ("issuer", "https://issuer.example"),
        ("jwks_uri", "https://issuer.example/oauth2/jwks"),
        ("token_endpoint", "https://issuer.example/oauth2/token"),
    ];
    assert_eq!(map.data, Some(entries.map(|(key, text)| (key.to_owned(), text.to_owned())).into()));
    assert_eq!(map.labels()["app.kubernetes.io/managed-by"], "countersign");
    assert_eq!(map.annotations()["countersign.dev/owner"], "default/shop/checkout");
    assert_eq!(bench.secret().await, None);
    assert_eq!(bench.status().await.secret, None);
    for (kind, says) in
        [("Ready", "True/Ready"), ("CredentialsReady", "True/NoSecret"), ("Reconciling", ""), ("Stalled", "")]
    {
        assert_eq!(bench.condition(kind).await, says, "{kind}");
    }
}

#[tokio::test]
async fn nothing_is_written_for_it_once_all_is_as_it_should_be() {
    let mut bench = Bench::new().await;
    bench.apply(by_service_account()).await;
    let (map, client) = (config_map(&bench).await, bench.versions().await);
    bench.pass(3_600).await;
    bench.restart().await;
    bench.settle().await;
    assert_eq!((config_map(&bench).await, bench.versions().await), (map, client));
}

#[tokio::test]
async fn a_config_map_that_is_deleted_or_edited_is_put_right() {
    let mut bench = Bench::new().await;
    bench.apply(by_service_account()).await;
    let whole = config_map(&bench).await.unwrap();
    delete(&mut bench).await;
    assert_eq!(config_map(&bench).await.unwrap().data, whole.data);
    edit(&mut bench, |map| drop(map.data.as_mut().unwrap().insert("issuer".to_owned(), "x".to_owned()))).await;
    assert_eq!(config_map(&bench).await.unwrap().data, whole.data);
    edit(&mut bench, |map| drop(map.data.as_mut().unwrap().insert("more".to_owned(), "x".to_owned()))).await;
    assert_eq!(config_map(&bench).await.unwrap().data, whole.data);
    edit(&mut bench, |map| map.metadata.labels = None).await;
    assert_eq!(config_map(&bench).await.unwrap().labels(), whole.labels());
    edit(&mut bench, |map| map.metadata.annotations = None).await;
    assert_eq!(config_map(&bench).await.unwrap().annotations(), whole.annotations());
}

#[tokio::test]
async fn a_config_map_made_immutable_is_made_anew() {
    let mut bench = Bench::new().await;
    bench.apply(by_service_account()).await;
    let whole = config_map(&bench).await.unwrap();
    edit(&mut bench, |map| map.immutable = Some(true)).await;
    let map = config_map(&bench).await.unwrap();
    assert_eq!((map.immutable, map.data), (None, whole.data));
}

#[tokio::test]
async fn a_fight_over_a_config_map_is_fought_less_and_less_often_and_told() {
    let mut bench = Bench::new().await;
    bench.apply(by_service_account()).await;
    for _ in 0..5 {
        delete(&mut bench).await;
        assert!(config_map(&bench).await.is_some());
    }
    delete(&mut bench).await;
    assert_eq!(config_map(&bench).await, None);
    assert_eq!(bench.condition("CredentialsReady").await, "False/ConfigMapContested");
    bench.pass(5).await;
    assert_eq!(bench.condition("Ready").await, "True/Ready");
}

#[tokio::test]
async fn a_foreign_config_map_is_never_overwritten() {
    for metadata in [
        json!({}),
        json!({"labels": {"app.kubernetes.io/managed-by": "countersign"}}),
        json!({"annotations": {"countersign.dev/owner": "default/shop/another"}}),
        json!({"annotations": {"countersign.dev/owner": "other/shop/checkout"}}),
    ] {
        let mut bench = Bench::new().await;
        let mut theirs = json!({"metadata": metadata, "data": {"issuer": "https://theirs.example"}});
        theirs["metadata"]["name"] = json!("checkout-oauth");
        theirs["metadata"]["namespace"] = json!("shop");
        let theirs: ConfigMap = bench.objects.create(&serde_json::from_value(theirs).unwrap()).await.unwrap();
        bench.apply(by_service_account()).await;
        assert_eq!(config_map(&bench).await, Some(theirs.clone()));
        assert_eq!(bench.condition("Ready").await, "False/ConfigMapNotOwned");
        assert_eq!(bench.condition("Stalled").await, "True/ConfigMapNotOwned");
        bench.delete_client().await;
        bench.pass(7_200).await;
        assert_eq!(config_map(&bench).await, Some(theirs));
    }
}

#[tokio::test]
async fn what_a_foreign_config_map_held_up_goes_on_once_it_is_gone() {
    let mut bench = Bench::new().await;
    let theirs = json!({"metadata": {"name": "checkout-oauth", "namespace": "shop"}});
    bench.objects.create::<ConfigMap>(&serde_json::from_value(theirs).unwrap()).await.unwrap();
    bench.apply(by_service_account()).await;
    delete(&mut bench).await;
    bench.pass(30).await;
    assert_eq!(bench.condition("Ready").await, "True/Ready");
}

#[tokio::test]
async fn its_config_map_goes_with_the_client() {
    let mut bench = Bench::new().await;
    bench.apply(by_service_account()).await;
    bench.delete_client().await;
    assert_eq!(config_map(&bench).await, None);
}

#[tokio::test]
async fn a_config_map_whose_client_went_unseen_goes_once_it_is_old() {
    let mut bench = Bench::new().await;
    bench.apply(by_service_account()).await;
    bench.objects.delete::<OAuthClient>(&Key::from(&checkout()), &Preconditions::default()).await.unwrap();
    bench.restart().await;
    bench.settle().await;
    assert!(config_map(&bench).await.is_some());
    bench.pass(3_601).await;
    assert_eq!(config_map(&bench).await, None);
}

#[tokio::test]
async fn a_client_that_gives_its_secret_up_loses_it_once_the_config_map_is_there() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.edit(|client| set_methods(client, &by_service_account())).await;
    assert!(config_map(&bench).await.is_some());
    assert_eq!(bench.secret().await, None);
    assert_eq!(bench.status().await.secret.and_then(|secret| secret.issued_at), None);
    assert!(bench.process.kind.versions_in_use().is_some_and(|versions| versions.is_empty()));
    assert_eq!(bench.condition("CredentialsReady").await, "True/NoSecret");
    bench.edit(|client| client.spec.authentication = None).await;
    assert_eq!(config_map(&bench).await, None);
    assert!(bench.issued().await.is_some());
    assert_eq!(bench.condition("CredentialsReady").await, "True/Written");
}

#[tokio::test]
async fn a_secret_is_kept_where_the_client_says_retain() {
    let mut bench = Bench::new().await;
    bench.apply(json!({"deletionPolicy": "Retain"})).await;
    bench.edit(|client| set_methods(client, &by_service_account())).await;
    assert!(bench.secret().await.is_some() && config_map(&bench).await.is_some());
}

#[tokio::test]
async fn a_client_with_both_methods_has_its_secret_alone() {
    let mut bench = Bench::new().await;
    let both = json!({"authentication": {"methods": [
        {"type": "ServiceAccount", "serviceAccounts": [{"name": "checkout"}]}, {"type": "ClientSecret"}
    ]}});
    bench.apply(both).await;
    assert!(bench.secret().await.is_some());
    assert_eq!(config_map(&bench).await, None);
    assert_eq!(bench.condition("CredentialsReady").await, "True/Written");
}

#[tokio::test]
async fn a_paused_client_gets_no_config_map_and_a_suspended_one_keeps_it() {
    let mut bench = Bench::new().await;
    bench.apply(by_service_account()).await;
    bench.edit(|client| client.spec.state = ClientState::Suspended).await;
    assert!(config_map(&bench).await.is_some());
    bench
        .edit(|client| drop(client.annotations_mut().insert("countersign.dev/paused".to_owned(), "true".to_owned())))
        .await;
    delete(&mut bench).await;
    assert_eq!(config_map(&bench).await, None);
    bench.edit(|client| drop(client.annotations_mut().remove("countersign.dev/paused"))).await;
    assert!(config_map(&bench).await.is_some());
}
