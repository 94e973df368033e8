//! Modes Reference and Adopt: other people's Secrets.

use countersign_core::client_secret::{Record, RecordKey};

use super::create::set_secret;
use super::*;
use crate::objects::layout::{RECORD_DATA, RECORD_KEY_DATA, UNTIL};

const STRONG: &str = "tq3VbN0xk2-LwZ8yRj5uHc7Df1GmEoPi";

fn mode(mode: &str) -> Json {
    json!({"authentication": {"methods": [{"type": "ClientSecret", "secret": {"mode": mode}}]}})
}

async fn put(bench: &Bench, value: &str, consents: bool) -> Secret {
    let annotations = if consents { json!({"countersign.dev/client": "checkout"}) } else { json!({}) };
    let secret = json!({
        "metadata": {"name": "checkout-oauth", "namespace": "shop", "annotations": annotations}, "type": "Opaque"
    });
    let mut secret: Secret = serde_json::from_value(secret).unwrap();
    let bytes = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
    secret.data = Some([("client_secret".to_owned(), bytes(value)), ("theirs".to_owned(), bytes("kept"))].into());
    bench.objects.create(&secret).await.unwrap()
}

/// Whether an issuer would take the value for one of someone else's.
async fn recorded(bench: &Bench, value: &str) -> bool {
    let Some(record): Option<Secret> = bench.objects.get(&bench.layout.reference_record(&checkout())).await.unwrap()
    else {
        return false;
    };
    let key: Secret = bench.objects.get(&bench.layout.reference_key()).await.unwrap().unwrap();
    let key = RecordKey::new(key.data.unwrap()[RECORD_KEY_DATA].0.as_slice().try_into().unwrap());
    let record: Record = serde_json::from_slice(&record.data.unwrap()[RECORD_DATA].0).unwrap();
    record.matches(&key, &ClientId::new("shop.checkout").unwrap(), value)
}

#[tokio::test]
async fn a_reference_waits_for_its_secret_and_never_invents_one() {
    let mut bench = Bench::new().await;
    bench.apply(mode("Reference")).await;
    assert_eq!((bench.secret().await, bench.condition("Ready").await.as_str()), (None, "False/SecretNotFound"));
    assert_eq!(bench.condition("Reconciling").await, "True/SecretNotFound");
    let theirs = put(&bench, STRONG, true).await;
    bench.pass(30).await;
    assert_eq!((bench.secret().await, bench.condition("Ready").await.as_str()), (Some(theirs), "True/Ready"));
    assert!(recorded(&bench, STRONG).await && !recorded(&bench, "other").await);
    let version = bench.versions().await;
    bench.pass(3_600).await;
    assert_eq!(bench.versions().await, version);
}

#[tokio::test]
async fn a_reference_needs_consent_and_a_strong_value() {
    let mut bench = Bench::new().await;
    put(&bench, STRONG, false).await;
    bench.apply(mode("Reference")).await;
    assert_eq!(bench.condition("Ready").await, "False/SecretNotOwned");
    bench.delete_secret().await;
    put(&bench, "passwordpasswordpasswordpassword", true).await;
    bench.pass(30).await;
    assert_eq!(bench.condition("Ready").await, "False/SecretTooWeak");
    assert!(!recorded(&bench, "passwordpasswordpasswordpassword").await);
}

#[tokio::test]
async fn a_referenced_value_ends_with_its_secret_and_with_its_client() {
    let mut bench = Bench::new().await;
    put(&bench, STRONG, true).await;
    bench.apply(mode("Reference")).await;
    assert!(recorded(&bench, STRONG).await);
    bench.delete_secret().await;
    bench.pass(30).await;
    assert!(!recorded(&bench, STRONG).await);
    let theirs = put(&bench, STRONG, true).await;
    bench.pass(30).await;
    assert!(recorded(&bench, STRONG).await);
    bench.delete_client().await;
    assert!(!recorded(&bench, STRONG).await);
    assert_eq!(bench.secret().await, Some(theirs), "a Secret that is not ours is never removed");
}

#[tokio::test]
async fn an_adopted_secret_keeps_its_other_keys_and_its_value_for_the_overlap() {
    let mut bench = Bench::new().await;
    put(&bench, STRONG, true).await;
    bench.apply(mode("Adopt")).await;
    let secret = bench.secret().await.unwrap();
    assert_eq!(text(&secret, "theirs").as_deref(), Some("kept"));
    assert_eq!(secret.annotations()["countersign.dev/owner"], "default/shop/checkout");
    assert!(bench.issued().await.is_some() && recorded(&bench, STRONG).await);
    assert_eq!(bench.condition("Ready").await, "True/Ready");
    bench.pass(23 * 3_600).await;
    assert!(recorded(&bench, STRONG).await);
    bench.pass(3_600).await;
    assert!(!recorded(&bench, STRONG).await);
}

#[tokio::test]
async fn a_record_whose_end_nobody_can_tell_is_written_anew_or_goes() {
    for (how, stays) in [("Reference", true), ("Adopt", false)] {
        let mut bench = Bench::new().await;
        put(&bench, STRONG, true).await;
        bench.apply(mode(how)).await;
        let key = bench.layout.reference_record(&checkout());
        let mut record: Secret = bench.objects.get(&key).await.unwrap().unwrap();
        record.annotations_mut().insert(UNTIL.to_owned(), "soon".to_owned());
        bench.objects.replace(&record).await.unwrap();
        bench.settle().await;
        let record: Option<Secret> = bench.objects.get(&key).await.unwrap();
        assert_eq!(record.map(|record| record.annotations().contains_key(UNTIL)), stays.then_some(false), "{how}");
    }
}

#[tokio::test]
async fn a_secret_without_consent_is_not_adopted_and_none_at_all_is_created() {
    let mut bench = Bench::new().await;
    let theirs = put(&bench, STRONG, false).await;
    bench.apply(mode("Adopt")).await;
    assert_eq!((bench.secret().await, bench.condition("Ready").await.as_str()), (Some(theirs), "False/SecretNotOwned"));
    bench.delete_secret().await;
    bench.pass(30).await;
    assert!(bench.issued().await.is_some());
}

#[tokio::test]
async fn a_client_that_changes_to_create_leaves_no_record() {
    let mut bench = Bench::new().await;
    put(&bench, STRONG, true).await;
    bench.apply(mode("Reference")).await;
    bench.objects.delete::<Secret>(&secret_key(), &Preconditions::default()).await.unwrap();
    bench.edit(|client| set_secret(client, json!({"mode": "Create"}))).await;
    assert!(bench.issued().await.is_some() && !recorded(&bench, STRONG).await);
}

#[tokio::test]
async fn a_compromised_value_stays_dead_when_a_reference_came_between() {
    let mut bench = Bench::new().await;
    bench.apply(json!({})).await;
    bench.clock.advance(Duration::from_secs(100));
    bench.edit(|client| set_secret(client, json!({"rejectIssuedBefore": at(1_000_050).to_string()}))).await;
    bench.edit(|client| set_secret(client, json!({"mode": "Reference"}))).await;
    let status = bench.status().await.secret.unwrap();
    assert_eq!((status.issued_at, status.accepted_since), (None, Some(at(1_000_100))));
    bench.edit(|client| set_secret(client, json!({}))).await;
    let status = bench.status().await.secret.unwrap();
    assert_eq!((status.issued_at, status.accepted_since), (Some(at(1_000_100)), Some(at(1_000_100))));
}
