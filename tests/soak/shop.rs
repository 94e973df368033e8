//! An installation with as many replicas as a story wants, a policy, a client, and the load on them.
//!
//! Flows in: a plan. Flows out: everything ready, each replica with a proxy of its own where the plan says so.

use crate::load::Load;
use crate::proxy::Proxy;
use crate::support::await_condition;
use crate::support::installation::{Installation, LEASE, QUICK, Replica, Role};
use crate::support::orders::{fill, question, shop};
use crate::support::standalone::now;
use crate::support::testbed::Testbed;
use crate::wire::Wire;
use countersign_api::SigningKey;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long what takes a few writes may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(40);
/// With these and [`QUICK`] keys go through their whole life within a minute.
const LIVES: [&str; 4] = [
    "--max-access-token-lifetime=10s",
    "--default-access-token-lifetime=10s",
    "--offline-grace=15m",
    "--shutdown-delay=1s",
];

/// A real installation's, but for a key that is soon old enough to sign.
pub const MINUTES: [&str; 5] =
    ["--jwks-max-age=1s", "--propagation=1s", "--clock-skew=1s", "--heartbeat-period=5s", "--heartbeat-expiry=30s"];

/// What a story wants.
pub struct Plan<'a> {
    /// How many controllers, issuers, verifiers.
    pub replicas: [usize; 3],
    /// For every role.
    pub flags: Vec<&'a str>,
    pub pre_publish: &'a str,
    /// Whether each replica has a proxy before the API server.
    pub proxied: bool,
    /// How fast the processes' clocks run, and since when.
    pub rate: u32,
    pub since: Timestamp,
    /// How long an issuer's lane rests after a token.
    pub rest: Duration,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            replicas: [2, 2, 2],
            flags: [&QUICK[..], &LIVES].concat(),
            pre_publish: "1s",
            proxied: false,
            rate: 1,
            since: now(),
            rest: Duration::from_millis(20),
        }
    }
}

/// A replica and its way to the API server.
pub struct Member {
    pub role: Role,
    pub replica: Replica,
    proxy: Option<Proxy>,
}

pub struct Shop {
    pub installation: Installation,
    pub namespace: String,
    pub client: Client,
    pub controllers: Vec<Member>,
    pub issuers: Vec<Member>,
    pub verifiers: Vec<Member>,
    pub load: Arc<Load>,
    pub lanes: JoinSet<()>,
    proxied: bool,
    rate: u32,
    since: Timestamp,
}

// === impl Member ===

impl Member {
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the plan asked for proxies")
    }
}

// === impl Shop ===

impl Shop {
    pub async fn open(testbed: &Testbed, plan: Plan<'_>) -> Self {
        let installation = Installation::new(testbed, &plan.flags);
        let namespace = testbed.namespace("shop").await;
        installation.kubectl.apply(&fill(&shop(plan.pre_publish), &installation, &namespace));
        let load = Arc::new(Load::new(("", ""), Default::default(), Default::default(), (1, Duration::ZERO)));
        let mut shop = Self {
            client: testbed.client().await,
            installation,
            namespace,
            controllers: Vec::new(),
            issuers: Vec::new(),
            verifiers: Vec::new(),
            load,
            lanes: JoinSet::new(),
            proxied: plan.proxied,
            rate: plan.rate,
            since: plan.since,
        };
        for (role, count) in [Role::Controller, Role::Issuer, Role::Verifier].into_iter().zip(plan.replicas) {
            for _ in 0..count {
                let member = shop.spawn(testbed, role, &[]).await;
                shop.members(role).push(member);
            }
        }
        shop.ready().await;
        shop.load = shop.load(&plan);
        shop.serves().await;
        shop
    }

    fn members(&mut self, role: Role) -> &mut Vec<Member> {
        match role {
            Role::Controller | Role::Admission => &mut self.controllers,
            Role::Issuer => &mut self.issuers,
            Role::Verifier => &mut self.verifiers,
        }
    }

    /// Starts a replica, not waiting for it.
    pub async fn spawn(&self, testbed: &Testbed, role: Role, flags: &[&str]) -> Member {
        let proxy = if self.proxied { Some(Proxy::start(testbed).await) } else { None };
        let lease: &[&str] = if role == Role::Controller { &LEASE } else { &[] };
        let address = proxy.as_ref().map(|proxy| proxy.address);
        let replica = self.installation.spawn_at(role, address, &[lease, flags].concat());
        Member { role, replica, proxy }
    }

    /// Waits until every replica and the client are ready.
    pub async fn ready(&mut self) {
        for member in self.controllers.iter_mut().chain(&mut self.issuers).chain(&mut self.verifiers) {
            member.replica.process.ready(member.replica.admin).await;
        }
        let wait = ["wait", "oac/checkout", "-n", &self.namespace, "--for=condition=Ready", "--timeout=40s"];
        self.installation.kubectl.must(&wait);
    }

    fn load(&self, plan: &Plan<'_>) -> Arc<Load> {
        let value = |key| self.installation.secret_value(&self.namespace, "checkout-oauth", key);
        let question = question(&self.namespace, "/orders/7");
        let issuers: Vec<SocketAddr> = self.issuers.iter().map(|member| member.replica.issuer).collect();
        let verifiers: Vec<SocketAddr> = self.verifiers.iter().map(|member| member.replica.http).collect();
        let credentials = (value("client_id"), value("client_secret"));
        let credentials = (credentials.0.as_str(), credentials.1.as_str());
        Arc::new(Load::new(credentials, question, [issuers, verifiers], (plan.rate, plan.rest)))
    }

    /// Waits until every issuer gives a token that every verifier takes.
    pub async fn serves(&self) {
        let look = async || {
            for issuer in &self.issuers {
                let token = self.load.token(&mut Wire::default(), issuer.replica.issuer).await?;
                for verifier in &self.verifiers {
                    let verdict = self.load.verdict(&mut Wire::default(), verifier.replica.http, &token.text).await?;
                    (verdict == 200).then_some(()).ok_or(format!("{verdict}"))?;
                }
            }
            Ok::<(), String>(())
        };
        await_condition("every replica to serve", SOON, look, Result::is_ok).await.expect("accepted as serving");
    }

    pub fn begin_load(&mut self) {
        self.lanes = self.load.begin();
    }

    /// Applies what the tenant is.
    pub fn apply(&self, pre_publish: &str) {
        self.installation.kubectl.apply(&fill(&shop(pre_publish), &self.installation, &self.namespace));
    }

    /// Waits until every replica serves the client with what lies in its Secret then.
    pub async fn with_new_credentials(&mut self, patience: Duration) {
        let ready = ["get", "oac", "checkout", "-n", &self.namespace, "--ignore-not-found", "-o"];
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        let look = async || self.installation.kubectl.must(&[&ready[..], &[path]].concat());
        await_condition("the client to be ready", patience, look, |ready| ready == "True").await;
        self.load = self.load(&Plan::default());
        self.serves().await;
    }

    /// Ends the load; nothing may have failed.
    pub async fn end_load(&mut self) {
        self.load.end(std::mem::take(&mut self.lanes)).await;
        self.load.seen.nothing_failed();
    }

    /// The time by the processes' clocks.
    pub fn now(&self) -> Timestamp {
        self.since + now().duration_since(self.since) * i32::try_from(self.rate).unwrap_or(1)
    }

    pub fn system(&self) -> String {
        self.installation.system_namespace()
    }

    pub async fn ask_for_rotation(&self) {
        let keys: Api<SigningKey> = Api::namespaced(self.client.clone(), &self.system());
        let asked = json!({"metadata": {"annotations": {"countersign.dev/rotate-at": self.now().to_string()}}});
        keys.patch("default", &PatchParams::default(), &Patch::Merge(asked)).await.expect("annotate the SigningKey");
    }

    /// The key each issuer signs with.
    pub async fn signing_keys(&self) -> Vec<Result<String, String>> {
        let mut keys = Vec::new();
        for issuer in &self.issuers {
            keys.push(self.load.token(&mut Wire::default(), issuer.replica.issuer).await.map(|token| token.key_id));
        }
        keys
    }

    /// Rotates the signing key and waits until every issuer signs with another; how long that took.
    pub async fn rotate(&self, patience: Duration) -> Duration {
        let (before, begun) = (self.signing_keys().await, Instant::now());
        self.ask_for_rotation().await;
        self.rotated_from(&before, patience).await;
        begun.elapsed()
    }

    pub async fn rotated_from(&self, before: &[Result<String, String>], patience: Duration) {
        let other = |keys: &Vec<Result<String, String>>| {
            keys.iter().all(|key| key.is_ok() && !before.contains(key)) && keys.iter().all(|key| key == &keys[0])
        };
        await_condition("another key to sign", patience, async || self.signing_keys().await, other).await;
    }

    /// Which controller leads.
    pub fn leader(&self) -> usize {
        self.controllers.iter().position(|member| self.installation.leads(&member.replica)).expect("one leads")
    }

    /// Patches an object of the tenant.
    pub fn patch(&self, object: &str, patch: &str) {
        self.installation.kubectl.must(&["patch", object, "-n", &self.namespace, "--type=merge", "-p", patch]);
    }

    /// A field of an object of the tenant, empty where there is none.
    pub fn field(&self, object: &str, path: &str) -> String {
        let path = format!("jsonpath={{{path}}}");
        self.installation.kubectl.must(&["get", object, "-n", &self.namespace, "--ignore-not-found", "-o", &path])
    }
}
