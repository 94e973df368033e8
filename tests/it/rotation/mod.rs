//! Rotations and lost replicas under load: two of each role, and a client that never rests.
//!
//! ```text
//! lane i ──► issuer i ──► token ──► both verifiers ──► pool ──► verifier i, again and again, until the token ends
//! ```
//! Flows in: forced rotations of the signing key, replicas that are killed or told to go. Flows out: how many valid tokens
//! were refused, and how many requests no replica served. Both must be none.

mod load;

use self::load::{Load, Token};
use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::installation::{Installation, LEASE, QUICK, Replica, Role};
use crate::support::orders::{fill, question, shop};
use crate::support::standalone::now;
use crate::support::testbed::Testbed;
use countersign_api::SigningKey;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A key is published for a second before it signs, tokens live four, a retired key ends thirteen seconds after its last token
/// began: within a minute keys go through their whole life.
const LIVES: [&str; 4] = [
    "--max-access-token-lifetime=4s",
    "--default-access-token-lifetime=4s",
    "--offline-grace=8s",
    "--shutdown-delay=1s",
];
/// How long a rotation may take, also when its leader dies.
const SOON: Duration = Duration::from_secs(20);

/// An installation with two of each role, and a client that may read orders.
struct Shop {
    installation: Installation,
    signing_keys: Api<SigningKey>,
    controllers: [Replica; 2],
    issuers: [Replica; 2],
    verifiers: [Replica; 2],
    load: Arc<Load>,
    lanes: JoinSet<()>,
}

// === impl Shop ===

impl Shop {
    async fn open(testbed: &Testbed, tries_the_other: bool) -> Self {
        let installation = Installation::new(testbed, &[&QUICK[..], &LIVES].concat());
        let namespace = testbed.namespace("shop").await;
        let signing_keys = Api::namespaced(testbed.client().await, &installation.system_namespace());
        let kubectl = &installation.kubectl;
        kubectl.apply(&fill(&shop("1s"), &installation, &namespace));
        let mut controllers = [(); 2].map(|()| installation.spawn_with(Role::Controller, &LEASE));
        let mut issuers = [(); 2].map(|()| installation.spawn(Role::Issuer));
        let mut verifiers = [(); 2].map(|()| installation.spawn(Role::Verifier));
        for replica in controllers.iter_mut().chain(&mut issuers).chain(&mut verifiers) {
            replica.process.ready(replica.admin).await;
        }
        kubectl.must(&["wait", "oac/checkout", "-n", &namespace, "--for=condition=Ready", "--timeout=20s"]);
        let value = |key| installation.secret_value(&namespace, "checkout-oauth", key);
        let form = Request::form("/oauth2/token", &[("grant_type", "client_credentials")])
            .basic(&value("client_id"), &value("client_secret"));
        let addresses = [issuers.each_ref().map(|issuer| issuer.issuer), verifiers.each_ref().map(|it| it.http)];
        let load = Arc::new(Load::new(form, question(&namespace, "/orders/7"), addresses, tries_the_other));
        let lanes = JoinSet::new();
        let mut shop = Self { installation, signing_keys, controllers, issuers, verifiers, load, lanes };
        shop.begin().await;
        shop
    }

    /// Starts the lanes once every replica serves what the manifest asks for.
    async fn begin(&mut self) {
        let first = async || {
            for issuer in &self.issuers {
                let token = Token::read(&self.load.form.send(issuer.issuer).await.ok()?)?;
                for verifier in &self.verifiers {
                    self.load.is_taken(&token, verifier.http).await.then_some(())?;
                }
            }
            Some(())
        };
        await_condition("every replica to serve", SOON, first, Option::is_some).await;
        self.lanes = Arc::clone(&self.load).begin();
        self.rotated_from("").await;
    }

    fn key_in_use(&self) -> String {
        self.load.seen.latest.lock().unwrap()[0].clone()
    }

    async fn ask_for_rotation(&self) {
        let asked = json!({"metadata": {"annotations": {"countersign.dev/rotate-at": now().to_string()}}});
        self.signing_keys.patch("default", &PatchParams::default(), &Patch::Merge(asked)).await.unwrap();
    }

    /// Waits until both issuers sign with one other key.
    async fn rotated_from(&self, before: &str) {
        let latest = async || self.load.seen.latest.lock().unwrap().clone();
        let other = |[one, other]: &[String; 2]| one == other && one != before;
        await_condition("another key to sign", SOON, latest, other).await;
    }

    async fn rotate(&self) -> Duration {
        let (before, begun) = (self.key_in_use(), Instant::now());
        self.ask_for_rotation().await;
        self.rotated_from(&before).await;
        begun.elapsed()
    }

    /// Which controller leads.
    fn leader(&self) -> usize {
        self.controllers.iter().position(|replica| self.installation.leads(replica)).expect("one leads")
    }

    /// Puts a new replica into a place, and sends it requests once it is ready.
    async fn replace(&mut self, role: Role, place: usize) {
        let flags: &[&str] = if role == Role::Controller { &LEASE } else { &[] };
        let mut replica = self.installation.spawn_with(role, flags);
        replica.process.ready(replica.admin).await;
        match role {
            Role::Controller | Role::Admission => {}
            Role::Issuer => self.load.issuers.lock().unwrap()[place] = replica.issuer,
            Role::Verifier => self.load.verifiers.lock().unwrap()[place] = replica.http,
        }
        *self.place(role, place) = replica;
    }

    fn place(&mut self, role: Role, place: usize) -> &mut Replica {
        match role {
            Role::Controller | Role::Admission => &mut self.controllers[place],
            Role::Issuer => &mut self.issuers[place],
            Role::Verifier => &mut self.verifiers[place],
        }
    }

    /// Sends the requests for a place to the other replica.
    fn avoid(&self, role: Role, place: usize) {
        let addresses = match role {
            Role::Controller | Role::Admission => return,
            Role::Issuer => &self.load.issuers,
            Role::Verifier => &self.load.verifiers,
        };
        let mut addresses = addresses.lock().unwrap();
        addresses[place] = addresses[1 - place];
    }

    /// Goes on until the tokens there are have ended; then nothing may have failed.
    async fn end(self) -> Arc<Load> {
        self.load.end(self.lanes).await;
        let first: Vec<_> = self.load.seen.failures.lock().unwrap().iter().take(9).cloned().collect();
        assert!(first.is_empty(), "{}; the first: {first:#?}", self.load.seen.figures());
        self.load
    }
}

// === the stories ===

/// How many rotations; more of them are for a person with time.
fn rotations() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test has no flags")]
    let asked = std::env::var("COUNTERSIGN_TEST_ROTATIONS");
    asked.map_or(8, |count| count.parse().expect("a number of rotations"))
}

#[tokio::test(flavor = "multi_thread")]
async fn exclusive_rotations_under_load_refuse_no_valid_token_for_minutes() {
    let testbed = Testbed::shared();
    let shop = Shop::open(&testbed, false).await;
    let (count, begun) = (rotations(), Instant::now());
    let mut slowest = Duration::ZERO;
    for _ in 0..count {
        slowest = slowest.max(shop.rotate().await);
    }
    let lasted = begun.elapsed();
    let load = shop.end().await;
    println!("{count} rotations in {lasted:.1?}, the slowest {slowest:.1?}: {}", load.seen.figures());
    assert_eq!(load.seen.keys.lock().unwrap().len(), count + 1, "each rotation brought one key into use");
}

#[tokio::test(flavor = "multi_thread")]
async fn exclusive_loss_of_any_one_replica_loses_no_request_for_minutes() {
    let testbed = Testbed::shared();
    let mut shop = Shop::open(&testbed, true).await;
    shop.rotate().await;
    let leader = shop.leader();
    shop.place(Role::Controller, leader).process.kill().await;
    let takeover = shop.rotate().await;
    println!("rotated {takeover:.1?} after the leader's death: {}", shop.load.seen.figures());
    shop.replace(Role::Controller, leader).await;
    for (role, place) in [(Role::Issuer, 0), (Role::Verifier, 0), (Role::Issuer, 1), (Role::Verifier, 1)] {
        // Killed in the middle of a rotation, which may wait for it until its heartbeat counts as gone.
        let before = shop.key_in_use();
        shop.ask_for_rotation().await;
        shop.place(role, place).process.kill().await;
        shop.replace(role, place).await;
        shop.rotated_from(&before).await;
        println!("{role:?} {place} killed and replaced: {}", shop.load.seen.figures());
    }
    let load = shop.end().await;
    assert!(load.seen.retries.load(Ordering::Relaxed) > 0, "the dead were asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn exclusive_replicas_told_to_go_fail_no_request_of_who_follows_readiness_for_minutes() {
    let testbed = Testbed::shared();
    let mut shop = Shop::open(&testbed, false).await;
    for (role, place) in [(Role::Controller, 0), (Role::Controller, 1), (Role::Issuer, 0), (Role::Verifier, 0)] {
        let before = shop.key_in_use();
        shop.ask_for_rotation().await;
        let (admin, process) = {
            let replica = shop.place(role, place);
            replica.process.signal("TERM");
            (replica.admin, replica.process.id())
        };
        let readiness = async || Request::get("/readyz").send(admin).await.map(|answer| answer.status);
        drop(await_condition("readiness to end", SOON, readiness, |status| !matches!(status, Ok(200))).await);
        shop.avoid(role, place);
        let ended = shop.place(role, place).process.wait().await;
        assert!(ended.success(), "{role:?} {process}: {ended}");
        shop.replace(role, place).await;
        shop.rotated_from(&before).await;
        println!("{role:?} {place} went and came: {}", shop.load.seen.figures());
    }
    shop.end().await;
}
