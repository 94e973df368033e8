//! Clients by their pods' ServiceAccount tokens: who gets in, who does not, and what becomes of the cluster's keys.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use countersign_core::client::ClientState;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::shop::{CLUSTER, Key, REFUSED, Shop, UNKNOWN_YET, claims, who};
use super::world::{BEGAN, ISSUER, World};
use crate::objects::{FolderStore, Key as ObjectKey, Objects, Preconditions};
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Beginning;
use crate::runtime::supervisor::Supervisor;
use crate::snapshot::pods::Pods;

#[tokio::test(start_paused = true)]
async fn a_pod_is_the_client_that_names_its_service_account_as_often_as_it_asks() {
    let shop = Shop::open();
    for account in ["cart", "cart-jobs"] {
        for client_id in [None, Some("shop.cart"), None] {
            assert_eq!(shop.gets(&claims("shop", account), client_id).await, "shop.cart", "{account} {client_id:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_service_account_may_be_several_clients_and_then_says_which() {
    let shop = Shop::open();
    shop.put("shop", "reports", &["cart"]);
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, r#"(400, "invalid_request")"#);
    for id in ["shop.cart", "shop.reports"] {
        assert_eq!(shop.gets(&claims("shop", "cart"), Some(id)).await, id);
    }
    shop.world.change_spec("shop.reports", |spec| spec.state = ClientState::Suspended);
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    assert_eq!(shop.gets(&claims("shop", "cart"), Some("shop.reports")).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn an_account_is_nobody_elses_client() {
    let shop = Shop::open();
    shop.put("web", "cart", &["cart"]);
    for (namespace, account, client_id) in [
        ("shop", "other", None),
        ("shop", "other", Some("shop.cart")),
        // A namesake in another namespace.
        ("web", "cart", Some("shop.cart")),
        ("shop", "cart", Some("web.cart")),
        // These have secrets.
        ("shop", "checkout", None),
        ("shop", "checkout", Some("shop.checkout")),
        ("shop", "cart", Some("shop.checkout")),
        ("shop", "cart", Some("no:client")),
        ("shop", "cart", Some("shop.nobody")),
        ("nowhere", "cart", None),
    ] {
        let got = shop.gets(&claims(namespace, account), client_id).await;
        assert_eq!(got, REFUSED, "{namespace} {account} {client_id:?}");
    }
    assert_eq!(shop.gets(&claims("web", "cart"), None).await, r#"(400, "invalid_scope")"#, "it is the client of web");
}

#[tokio::test(start_paused = true)]
async fn cla_05_to_07_every_other_assertion_is_refused_alike() {
    let shop = Shop::open();
    let good = claims("shop", "cart");
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let members = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            members.remove(name)
        } else {
            members.insert(name.to_owned(), value)
        };
        shop.key.token(&changed)
    };
    let other = Key::new("one");
    let header = |header: Value| shop.key.token_with(&header, &good);
    let whole = shop.key.token(&good);
    let (signed, _) = whole.rsplit_once('.').unwrap();
    let assertions = [
        ("aud of another", with("/aud", json!(["https://other.example"]))),
        ("aud of several", with("/aud", json!([ISSUER, CLUSTER]))),
        ("aud is the token endpoint", with("/aud", json!([format!("{ISSUER}/oauth2/token")]))),
        ("aud is the issuer and more", with("/aud", json!([format!("{ISSUER}/")]))),
        ("no aud", with("/aud", Value::Null)),
        ("no exp", with("/exp", Value::Null)),
        ("over", with("/exp", json!(BEGAN - 61))),
        ("lives longer than an hour", with("/exp", json!(BEGAN + 3601))),
        ("no iat", with("/iat", Value::Null)),
        ("from the future", with("/iat", json!(BEGAN + 1000))),
        ("not yet", with("/nbf", json!(BEGAN + 1000))),
        ("iss of another", with("/iss", json!("https://other.example"))),
        ("iss is the client", with("/iss", json!("shop.cart"))),
        ("sub of another", with("/sub", json!("system:serviceaccount:shop:other"))),
        ("sub is the client", with("/sub", json!("shop.cart"))),
        ("of no pod", with("/kubernetes.io/pod", Value::Null)),
        ("of a pod without a UID", with("/kubernetes.io/pod/uid", Value::Null)),
        ("of an account without a UID", with("/kubernetes.io/serviceaccount/uid", Value::Null)),
        ("of a Secret, as they once were", with("/kubernetes.io", Value::Null)),
        ("another's signature", other.token(&good)),
        ("alg none", header(json!({"alg": "none", "kid": "one"}))),
        ("alg of another key", header(json!({"alg": "RS256", "kid": "one"}))),
        ("HS256", header(json!({"alg": "HS256", "kid": "one"}))),
        ("no kid", header(json!({"alg": "ES256"}))),
        ("crit", header(json!({"alg": "ES256", "kid": "one", "crit": ["exp"]}))),
        ("an access token by its type", header(json!({"alg": "ES256", "kid": "one", "typ": "at+jwt"}))),
        ("no signature", format!("{signed}.")),
        ("our own access token", {
            let answer = shop.ask(&whole, None).await;
            answer.body["access_token"].as_str().unwrap().to_owned()
        }),
        ("no JWT", "a.b".to_owned()),
    ];
    let bytes = shop.ask(".", None).await;
    assert_eq!(bytes.error(), (401, "invalid_client"));
    for (number, (what, assertion)) in assertions.into_iter().enumerate() {
        for client_id in [None, Some("shop.cart")] {
            assert_eq!(shop.ask(&assertion, client_id).await, bytes, "{number} {what} {client_id:?}");
        }
        // So that failures are not held back.
        shop.world.clock.advance(Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_not_seen_yet_is_waited_for() {
    let shop = Shop::open();
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        shop.put("shop", "new", &["new"]);
    };
    let claims = claims("shop", "new");
    let (got, ()) = tokio::join!(shop.gets(&claims, None), arrives);
    assert_eq!(got, "shop.new");
}

#[tokio::test(start_paused = true)]
async fn a_key_the_cluster_began_to_use_is_asked_for() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    let (next, before) = (Key::new("two"), shop.cluster.asked());
    shop.pass(Duration::from_secs(11)).await;
    shop.cluster.set(Some(next.jwks()));
    let mut later = claims("shop", "cart");
    later["iat"] = json!(BEGAN + 11);
    assert_eq!(who(&shop.ask(&next.token(&later), None).await), "shop.cart");
    assert_eq!(shop.cluster.asked(), before + 1);
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, REFUSED, "the key it no longer uses");
}

#[tokio::test(start_paused = true)]
async fn a_key_the_cluster_gave_up_is_good_for_minutes_at_most() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    shop.cluster.set(Some(Key::new("two").jwks()));
    shop.pass(Duration::from_secs(301)).await;
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_sent_the_cluster_is_asked_no_more_than_every_ten_seconds() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    let before = shop.cluster.asked();
    for _ in 0..100 {
        let answer = shop.ask(&Key::new("nobody's").token(&claims("shop", "cart")), None).await;
        assert!([401, 429].contains(&answer.status.as_u16()), "{answer:?}");
        shop.pass(Duration::from_millis(300)).await;
    }
    assert!(shop.cluster.asked() - before <= 3, "in 30 seconds: {}", shop.cluster.asked() - before);
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_away_the_keys_known_so_far_are_used_but_not_for_ever() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    shop.cluster.set(None);
    let at = async |time: Duration| {
        shop.pass(time).await;
        let mut later = claims("shop", "cart");
        let now = shop.world.clock.now().as_second();
        (later["iat"], later["nbf"], later["exp"]) = (json!(now), json!(now), json!(now + 3600));
        shop.gets(&later, None).await
    };
    assert_eq!(at(Duration::from_hours(11)).await, "shop.cart");
    shop.cluster.set(Some(br#"{"keys": []}"#.to_vec()));
    assert_eq!(at(Duration::from_mins(30)).await, "shop.cart", "an empty set replaces nothing");
    assert_eq!(at(Duration::from_mins(31)).await, UNKNOWN_YET);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_when_the_keys_were_last_read() {
    let shop = Shop::open();
    let told = || {
        let text = shop.metrics.encode().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("countersign_issuer_cluster_keys_read_seconds "));
        line.unwrap_or(&text).parse::<i64>().expect("a time")
    };
    assert_eq!(told(), 0);
    shop.pass(Duration::from_mins(6)).await;
    let at = told();
    assert!((BEGAN + 290..=BEGAN + 360).contains(&at), "asked again after five minutes: {at}");
    shop.cluster.set(None);
    shop.pass(Duration::from_hours(2)).await;
    assert_eq!(told(), at, "while the API server is away");
    shop.cluster.set(Some(shop.key.jwks()));
    shop.pass(Duration::from_secs(11)).await;
    assert!(told() > at);
}

#[tokio::test(start_paused = true)]
async fn before_the_keys_are_known_nobody_is_told_that_an_assertion_is_wrong() {
    let shop = Shop::open();
    shop.cluster.set(None);
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, UNKNOWN_YET);
    shop.cluster.set(Some(shop.key.jwks()));
    shop.pass(Duration::from_secs(10)).await;
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
}

#[tokio::test(start_paused = true)]
async fn where_pods_are_watched_a_deleted_ones_token_is_refused_at_once() {
    let pods = Pods::new(&Metrics::new());
    let shop = Shop::with_pods(Some(pods.clone()));
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, UNKNOWN_YET, "nobody knows the pods yet");
    let objects = Objects::Folder(FolderStore::in_memory(Clock::system()).unwrap());
    let live = shop.world.live.clone();
    let [listed, listing] = ["first-listing", "pods"].map(|name| shop.world.readiness.condition(name));
    let (beginning, shutdown) = (Beginning::new(listed, listing), Supervisor::new().shutdown());
    drop(tokio::spawn(pods.follow(objects.clone(), live, beginning, shutdown)));
    let pod = json!({"metadata": {"name": "cart-7d9", "namespace": "shop"}, "spec": {"containers": []}});
    let pod: Pod = objects.create(&serde_json::from_value(pod).unwrap()).await.unwrap();
    let mut of_pod = claims("shop", "cart");
    of_pod["kubernetes.io"]["pod"]["uid"] = json!(pod.metadata.uid);
    assert_eq!(shop.gets(&of_pod, None).await, "shop.cart");
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, REFUSED, "of a pod there never was");
    let key = ObjectKey::namespaced("shop", "cart-7d9");
    objects.delete::<Pod>(&key, &Preconditions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(shop.gets(&of_pod, None).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn without_a_cluster_no_assertion_is_good() {
    let shop = Shop { world: World::new(), cluster: Arc::default(), key: Key::new("one"), metrics: Metrics::new() };
    shop.put("shop", "cart", &["cart"]);
    let answer = shop.ask(&shop.key.token(&claims("shop", "cart")), None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
