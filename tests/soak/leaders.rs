//! F08: a leader stops in the middle of a write, another takes over, and the first wakes up.
//!
//! ```text
//! leader ──► write held by the proxy ──► SIGSTOP ──► the other leads and does the work ──► the write goes on, SIGCONT
//! ```
//! Flows in: the write to hold. Flows out: what became of the late write, and what the woken leader still wrote.

use crate::proxy::{Act, Call};
use crate::report::Case;
use crate::shop::{Plan, SOON, Shop};
use crate::support::await_condition;
use crate::support::testbed::Testbed;
use countersign_api::SigningKey;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TRIED: &str =
    "The leader's write is held on its way, the leader stopped (SIGSTOP); the other controller takes over and does
    the work; then the held write reaches the API server and the first leader wakes up (SIGCONT). Leases of 5 s.";

struct Held {
    /// How the API server answered the late write.
    status: u16,
    /// What the woken leader wrote after it, with the answers.
    later: Vec<(Call, u16)>,
}

async fn hold(
    shop: &mut Shop,
    is_it: impl Fn(&Call) -> bool + Send + 'static,
    act: impl AsyncFn(&Shop),
    done: impl AsyncFn(&Shop) -> bool,
) -> Held {
    let leader = shop.leader();
    let held: Arc<Mutex<Option<Call>>> = Arc::default();
    let seen = Arc::clone(&held);
    shop.controllers[leader].proxy().rule(move |call| {
        let mut held = seen.lock().unwrap();
        if held.is_some() || !is_it(call) {
            return Act::Pass;
        }
        *held = Some(call.clone());
        Act::Hold
    });
    act(shop).await;
    await_condition("the write", SOON, async || held.lock().unwrap().is_some(), |held| *held).await;
    shop.controllers[leader].replica.process.signal("STOP");
    await_condition("another leader", SOON, async || shop.leader_if_any() == Some(1 - leader), |other| *other).await;
    await_condition("the work to be done", SOON, async || done(shop).await, |done| *done).await;
    let proxy = shop.controllers[leader].proxy();
    proxy.take_steps();
    proxy.release();
    tokio::time::sleep(Duration::from_secs(1)).await;
    shop.controllers[leader].replica.process.signal("CONT");
    tokio::time::sleep(Duration::from_secs(8)).await;
    let mut later = proxy.take_steps();
    assert!(!later.is_empty(), "the held write was never answered");
    let (call, status) = later.remove(0);
    assert_eq!(Some(call.path), held.lock().unwrap().as_ref().map(|call| call.path.clone()));
    assert!(shop.controllers[leader].replica.process.ended().is_none(), "it goes on as a follower");
    Held { status, later }
}

impl Shop {
    fn leader_if_any(&self) -> Option<usize> {
        let args =
            ["get", "lease", "countersign-controller", "-n", &self.system(), "-o", "jsonpath={.spec.holderIdentity}"];
        let holder = self.installation.kubectl.must(&args);
        self.controllers.iter().position(|member| holder.ends_with(&format!("-{}", member.replica.admin.port())))
    }

    async fn ring(&self) -> Value {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.system());
        let map = maps.get("keyring-default").await.expect("the keyring");
        serde_json::from_str(&map.data.expect("its data")["keyring.json"]).expect("JSON")
    }

    /// Nothing is there that the keyring does not know, and one key signs.
    async fn ring_is_whole(&self) {
        let ring = self.ring().await;
        let keys = ring["keys"].as_array().expect("keys");
        let state = |state: &str| keys.iter().filter(|key| key["state"] == state).count();
        assert_eq!((state("Active"), state("Published")), (1, 1), "{ring:#}");
        let held = keys.iter().filter(|key| key["privateHalf"] == "Held").count();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &format!("{}-keys", self.system()));
        let secrets = secrets.list(&ListParams::default()).await.expect("list").items.len();
        assert_eq!(secrets, held, "a private half without a key: {ring:#}");
    }

    async fn active(&self) -> String {
        let keys: Api<SigningKey> = Api::namespaced(self.client.clone(), &self.system());
        let key = keys.get("default").await.expect("the SigningKey");
        key.status.and_then(|status| status.active_key_id).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_of_a_leader_that_slept_is_refused() {
    let mut case = Case::begin("F08 two leaders", TRIED, "the keyring's write, in a rotation");
    let testbed = Testbed::shared();
    let mut shop = Shop::open(&testbed, Plan { proxied: true, ..Plan::default() }).await;
    shop.rotate(SOON).await;
    shop.begin_load();
    // The next standby must have been published for a while before it can be due.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = shop.active().await;
    let keyring = |call: &Call| call.method == "PUT" && call.path.ends_with("configmaps/keyring-default");
    let rotated = async |shop: &Shop| shop.active().await != before;
    let held = hold(&mut shop, keyring, async |shop: &Shop| shop.ask_for_rotation().await, rotated).await;
    shop.ring_is_whole().await;
    shop.end_load().await;
    tell(&mut case, &held);
    case.held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_of_a_leader_that_slept_is_refused() {
    let mut case = Case::begin("F08 two leaders", TRIED, "a client Secret's write, in a rotation");
    let testbed = Testbed::shared();
    let mut shop = Shop::open(&testbed, Plan { proxied: true, ..Plan::default() }).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let before = shop.field("oac/checkout", ".status.secret.issuedAt");
    let secret = |call: &Call| call.method == "PUT" && call.path.ends_with("secrets/checkout-oauth");
    let act = async |shop: &Shop| {
        let at = shop.now().to_string();
        let patch = format!(r#"{{"metadata":{{"annotations":{{"countersign.dev/rotate-at":"{at}"}}}}}}"#);
        shop.patch("oac/checkout", &patch);
    };
    let rotated = async |shop: &Shop| shop.field("oac/checkout", ".status.secret.issuedAt") != before;
    let held = hold(&mut shop, secret, act, rotated).await;
    let value = shop.installation.secret_value(&shop.namespace, "checkout-oauth", "client_secret");
    let answer =
        crate::support::tenant::token(shop.issuers[0].replica.issuer, &format!("{}.checkout", shop.namespace), &value)
            .await;
    assert_eq!(answer.status, 200, "the value in the Secret is good");
    tell(&mut case, &held);
    case.held();
}

fn tell(case: &mut Case, held: &Held) {
    assert_eq!(held.status, 409, "the late write");
    let through: Vec<_> = held.later.iter().filter(|(_, status)| *status < 300).collect();
    assert!(through.is_empty(), "the woken leader wrote: {through:#?}");
    case.figure("answer to the late write", held.status);
    case.figure("writes of the woken leader", held.later.len());
    case.figure("of them carried out", 0);
}
