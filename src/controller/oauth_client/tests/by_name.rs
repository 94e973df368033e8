//! Secrets that are read by name, since the controller may not list or watch them.

use super::create::set_secret;
use super::*;
use crate::controller::Urgency;

fn bench() -> Pin<Box<dyn Future<Output = Bench>>> {
    Box::pin(async {
        let mut bench = Bench::with(SecretAccess { reread: Some(Duration::from_mins(1)), role: None }).await;
        bench.apply(json!({})).await;
        assert_eq!(bench.condition("Ready").await, "True/Ready");
        bench
    })
}

#[tokio::test]
async fn a_deleted_or_edited_secret_is_put_back_within_the_reread() {
    let mut bench = bench().await;
    let first = bench.issued().await.unwrap();
    bench.delete_secret().await;
    bench.pass(59).await;
    assert_eq!(bench.secret().await, None, "nobody has looked");
    bench.pass(1).await;
    assert!(bench.issued().await.unwrap() > first, "a fresh value");
    bench.edit_secret(|secret| drop(secret.data.as_mut().unwrap().remove("issuer"))).await;
    bench.pass(60).await;
    let secret = bench.secret().await.unwrap();
    assert_eq!(text(&secret, "issuer").as_deref(), Some("https://issuer.example"));
    assert_eq!(bench.condition("Ready").await, "True/Ready");
}

#[tokio::test]
async fn looking_again_writes_nothing() {
    let mut bench = bench().await;
    let versions = bench.versions().await;
    for _ in 0..5 {
        bench.pass(60).await;
    }
    assert_eq!(bench.versions().await, versions);
    assert!(bench.process.kind.versions_in_use().is_some(), "each value in use is known");
}

#[tokio::test]
async fn a_client_takes_its_secret_with_it_also_where_nobody_has_looked_yet() {
    let mut bench = bench().await;
    bench.delete_client().await;
    assert_eq!(bench.secret().await, None);
    let mut bench = self::bench().await;
    bench.restart().await;
    // It is listed, and gone before anybody looked at its Secret.
    bench.process.take_in_clients(bench.clock.now());
    bench.delete_client().await;
    assert_eq!(bench.secret().await, None);
}

#[tokio::test]
async fn what_is_retained_or_somebody_elses_stays() {
    let mut bench = bench().await;
    bench.edit(|client| client.spec.deletion_policy = countersign_api::oauthclient::DeletionPolicy::Retain).await;
    bench.delete_client().await;
    assert!(bench.secret().await.is_some());
    let mut bench = self::bench().await;
    bench
        .edit_secret(|secret| {
            drop(secret.annotations_mut().insert("countersign.dev/owner".to_owned(), "other/shop/checkout".to_owned()));
        })
        .await;
    bench.pass(60).await;
    assert_eq!(bench.condition("Ready").await, "False/SecretNotOwned");
    bench.delete_client().await;
    assert!(bench.secret().await.is_some());
}

#[tokio::test]
async fn a_secret_under_a_former_name_goes_also_after_a_restart() {
    let mut bench = bench().await;
    bench.restart().await;
    bench.edit(|client| set_secret(client, json!({"name": "another"}))).await;
    assert_eq!(bench.secret().await, None, "under its former name");
    let another: Option<Secret> = bench.objects.get(&Key::namespaced("shop", "another")).await.unwrap();
    assert!(another.is_some());
}

#[tokio::test]
async fn what_is_taken_away_ends_before_the_secret_has_its_turn() {
    let mut bench = bench().await;
    bench.restart().await;
    while bench.process.kind.reads.ask(Urgency::Ready, bench.clock.now()).is_ok() {}
    let secret = bench.secret().await;
    bench.edit_policy(|policy| policy.spec.grants.clear()).await;
    assert_eq!((bench.epochs().len(), bench.status().await.epoch), (1, Some(1)));
    assert_eq!(bench.condition("FullyGranted").await, "True/Granted", "the rest of status waits");
    bench.pass(1).await;
    assert_eq!(bench.condition("Ready").await, "False/NothingGranted");
    assert_eq!((bench.epochs().len(), bench.secret().await == secret), (1, true));
}
