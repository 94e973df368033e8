//! What a crowd costs the others: whose proof is good waits behind nobody's failures, and what a wait tells is nothing.

use std::time::Duration;

use axum::http::StatusCode;
use countersign_core::client::ClientState;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::shop::{Key, REFUSED, Shop, UNKNOWN_YET, claims};
use super::world::{Answer, BEGAN, World};
use crate::objects::{FolderStore, Key as ObjectKey, Objects, Preconditions};
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Beginning;
use crate::runtime::supervisor::Supervisor;
use crate::snapshot::pods::Pods;

const GRANT: [(&str, &str); 1] = [("grant_type", "client_credentials")];
const SECOND: Duration = Duration::from_secs(1);

async fn try_secret(world: &World, id: &str, secret: &str) -> Answer {
    world.post("/oauth2/token", (id, secret), &GRANT).await
}

/// Wrong secrets of so many tries, for many clients, until the address has no failure left.
async fn exhaust(world: &World, tries: usize) {
    for number in 0..tries {
        try_secret(world, &format!("shop.nobody-{}", number % 50), "wrong").await;
    }
    assert_eq!(try_secret(world, "shop.nobody", "wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn who_shares_an_address_with_an_attacker_gets_in_with_an_assertion_never_seen_before() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    // More than are checked beyond the limit, too.
    exhaust(&shop.world, 1000).await;
    for number in 0..50 {
        let forged = Key::new("one").token(&claims("shop", "cart"));
        assert_eq!(shop.ask(&forged, Some("shop.cart")).await.status, StatusCode::TOO_MANY_REQUESTS, "{number}");
        let mut anew = claims("shop", "cart-jobs");
        anew["jti"] = json!(format!("number-{number}"));
        assert_eq!(shop.gets(&anew, Some("shop.cart")).await, "shop.cart", "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_shares_an_address_with_an_attacker_gets_in_with_a_secret_never_seen_before() {
    let world = World::new();
    exhaust(&world, 250).await;
    assert_eq!(try_secret(&world, "shop.checkout", &world.secret("shop.checkout", 0)).await.status, StatusCode::OK);
    assert_eq!(try_secret(&world, "shop.checkout", "wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
}

/// The answer to a token of the ServiceAccount `shop/cart` that names a client, and how long it took.
async fn timed(shop: &Shop, client_id: &str) -> (Answer, Duration) {
    let begun = Instant::now();
    let answer = shop.ask(&shop.key.token(&claims("shop", "cart")), Some(client_id)).await;
    (answer, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn neither_answer_nor_time_tells_which_clients_there_are() {
    let shop = Shop::open();
    for (namespace, client) in [("shop", "others"), ("shop", "asleep"), ("web", "cart"), ("web", "asleep")] {
        shop.put(namespace, client, &["other"]);
    }
    for id in ["shop.asleep", "web.asleep"] {
        shop.world.change_spec(id, |spec| spec.state = ClientState::Suspended);
    }
    let (refused, _) = timed(&shop, "web.nobody").await;
    assert_eq!(refused.error(), (401, "invalid_client"));
    for (waited, ids) in [
        (SECOND, ["shop.nobody", "shop.others", "shop.asleep", "shop.checkout", "shop."]),
        (Duration::ZERO, ["web.nobody", "web.cart", "web.asleep", "web.frontend", "legacy"]),
    ] {
        for id in ids {
            let (answer, took) = timed(&shop, id).await;
            assert_eq!((&answer, took), (&refused, waited), "{id}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_about_to_name_the_account_is_waited_for_whether_it_is_there_or_not() {
    let shop = Shop::open();
    shop.put("shop", "soon", &["other"]);
    for id in ["shop.soon", "shop.new"] {
        let arrives = async {
            tokio::time::sleep(SECOND / 2).await;
            shop.put("shop", id.trim_start_matches("shop."), &["cart"]);
        };
        let of_cart = claims("shop", "cart");
        let (got, ()) = tokio::join!(shop.gets(&of_cart, Some(id)), arrives);
        assert_eq!(got, id);
    }
}

/// How many of those that ask together, each from its address, are told at once to come back.
async fn turned_away(shop: &Shop, assertion: &str, (client_id, many): (Option<&str>, usize), one: bool) -> usize {
    let begun = Instant::now();
    let ask = |n: usize| async move {
        let address = if one { "192.0.2.1".to_owned() } else { format!("192.{}.{}.1", n / 256, n % 256) };
        let answer = shop.ask_from(&address, assertion, client_id).await;
        let expected = if begun.elapsed().is_zero() { 503 } else { 401 };
        assert_eq!(answer.status.as_u16(), expected, "{answer:?}");
        expected == 503
    };
    futures::future::join_all((0..many).map(ask)).await.into_iter().filter(|at_once| *at_once).count()
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_one_namespace_leave_seats_to_those_of_others() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    let (of_evil, of_shop) = (shop.key.token(&claims("evil", "cart")), claims("shop", "new"));
    let newcomer = async {
        tokio::time::sleep(SECOND / 2).await;
        let arrives = async {
            tokio::time::sleep(SECOND / 4).await;
            shop.put("shop", "new", &["new"]);
        };
        tokio::join!(shop.gets(&of_shop, None), arrives).0
    };
    let crowd = turned_away(&shop, &of_evil, (Some("evil.nobody"), 300), false);
    let (turned_away, newcomer) = tokio::join!(crowd, newcomer);
    assert_eq!((turned_away, &*newcomer), (300 - 16, "shop.new"));
}

/// An issuer that is to watch pods, and where they are.
fn with_pods() -> (Shop, Pods, Objects) {
    let pods = Pods::new(&Metrics::new());
    (Shop::with_pods(Some(pods.clone())), pods, Objects::Folder(FolderStore::in_memory(Clock::system()).unwrap()))
}

fn watch(shop: &Shop, pods: Pods, objects: &Objects) {
    let [listed, listing] = ["first-listing", "pods"].map(|name| shop.world.readiness.condition(name));
    let (live, shutdown) = (shop.world.live.clone(), Supervisor::new().shutdown());
    drop(tokio::spawn(pods.follow(objects.clone(), live, Beginning::new(listed, listing), shutdown)));
}

/// The claims of the token of a pod made there.
async fn pod(objects: &Objects, name: &str) -> Value {
    let pod = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": []}});
    let pod: Pod = objects.create(&serde_json::from_value(pod).unwrap()).await.unwrap();
    let mut claims = claims("shop", "cart");
    claims["kubernetes.io"]["pod"]["uid"] = json!(pod.metadata.uid);
    claims
}

#[tokio::test(start_paused = true)]
async fn who_names_unknown_keys_takes_no_seat_from_pods_nor_from_another_address() {
    let (shop, pods, objects) = with_pods();
    let of_pod = pod(&objects, "cart-1").await;
    assert_eq!(shop.gets(&of_pod, None).await, UNKNOWN_YET, "the keys are known then, the pods are not");
    // Nothing comes of asking for keys: whoever names one waits in vain.
    shop.cluster.set(None);
    shop.pass(Duration::from_secs(11)).await;
    let unknown = Key::new("unknown").token(&claims("shop", "cart"));
    let crowd = turned_away(&shop, &unknown, (None, 100), true);
    let others = async {
        tokio::time::sleep(SECOND / 2).await;
        let elsewhere = async { shop.ask_from("198.51.100.7", &unknown, None).await.status };
        let news = async {
            tokio::time::sleep(SECOND / 4).await;
            watch(&shop, pods, &objects);
        };
        tokio::join!(shop.gets(&of_pod, None), elsewhere, news)
    };
    let (turned_away, (got, elsewhere, ())) = tokio::join!(crowd, others);
    assert_eq!((turned_away, &*got, elsewhere), (100 - 8, "shop.cart", StatusCode::UNAUTHORIZED));
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_pod_long_gone_is_refused_without_a_wait() {
    let (shop, pods, objects) = with_pods();
    let mut of_pod = pod(&objects, "cart-1").await;
    watch(&shop, pods, &objects);
    assert_eq!(shop.gets(&of_pod, None).await, "shop.cart");
    objects.delete::<Pod>(&ObjectKey::namespaced("shop", "cart-1"), &Preconditions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    for (age, waited) in [(0, SECOND), (59, SECOND), (60, Duration::ZERO), (1800, Duration::ZERO)] {
        for time in ["iat", "nbf"] {
            of_pod[time] = json!(BEGAN - age);
        }
        of_pod["exp"] = json!(BEGAN + 600);
        let begun = Instant::now();
        assert_eq!(shop.gets(&of_pod, None).await, REFUSED, "{age}");
        assert_eq!(begun.elapsed(), waited, "a token of {age} s");
    }
}
