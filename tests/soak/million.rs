//! A million checks over fifty rotations with leader kills: no valid token is refused.
//!
//! ```text
//! 2 issuers ──► tokens ──► 3 verifiers, again and again
//!                  └─────► a poller that fetches the JWKS no sooner than its max-age is over, and checks with a library not ours
//! ```
//! Time runs sixty times as fast for all processes alike, so that the timings are a real installation's. Flows out: the counts.

use crate::load::{Load, Token};
use crate::report::{Case, asked};
use crate::shop::{Plan, SOON, Shop};
use crate::support::http::Request;
use crate::support::installation::Role;
use crate::support::standalone::now;
use crate::support::testbed::Testbed;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;

const TRIED: &str = "Two controllers, two issuers, three verifiers; time runs sixty times as fast for all of them, with
    protocol timings close to the defaults (tokens of 15 min, max-age 5 min, propagation 30 s, skew 60 s). The signing key is
    rotated on request as soon as its standby may sign; every fifth time the leader is killed in the middle of it. Every token
    goes to all verifiers again and again until it ends, and once to a poller that fetches the JWKS only when max-age is over
    and verifies with the library jsonwebtoken.";
const RATE: u32 = 60;
const FLAGS: [&str; 3] = ["--max-access-token-lifetime=15m", "--offline-grace=30m", "--test-clock-rate=60"];
/// A key must have been published for ten minutes before it signs: ten seconds here.
const PRE_PUBLISH: &str = "10m";

/// A resource server with a library of its own, which keeps a JWKS for as long as it may.
struct Poller {
    issuers: Vec<SocketAddr>,
    issuer_url: String,
    audience: String,
    held: Option<(JwkSet, Instant)>,
    fetched: AtomicU64,
    checked: AtomicU64,
}

impl Poller {
    async fn keys(&mut self) -> JwkSet {
        if let Some((keys, until)) = &self.held
            && Instant::now() < *until
        {
            return keys.clone();
        }
        let round = self.fetched.fetch_add(1, Ordering::Relaxed);
        let issuer = self.issuers[usize::try_from(round).unwrap_or(0) % self.issuers.len()];
        let answer = Request::get("/oauth2/jwks").send(issuer).await.expect("the JWKS");
        let control = answer.header("cache-control").unwrap_or_default();
        let age = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")).expect("a max-age");
        let age = Duration::from_secs(age.parse().expect("seconds")) / RATE;
        let keys: JwkSet = serde_json::from_slice(&answer.body).expect("a JWKS");
        self.held = Some((keys.clone(), Instant::now() + age));
        keys
    }

    async fn check(&mut self, token: &Token) -> Result<(), String> {
        let keys = self.keys().await;
        self.checked.fetch_add(1, Ordering::Relaxed);
        let Some(key) = keys.find(&token.key_id) else {
            return Err(format!("{} is not in the JWKS held", token.key_id));
        };
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&self.issuer_url]);
        // This process's clock is not the installation's; when a token ends the verifiers are asked about.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
        #[expect(clippy::disallowed_methods, reason = "a resource server with another library is what this plays")]
        decode::<Value>(&token.text, &key, &validation).map(drop).map_err(|error| error.to_string())
    }

    async fn run(mut self, load: Arc<Load>) -> [u64; 2] {
        let mut minted = load.minted.subscribe();
        while !load.has_ended() {
            // Looked up now and then, since no token comes any more once the load has ended.
            match tokio::time::timeout(Duration::from_secs(1), minted.recv()).await {
                Ok(Ok(token)) => {
                    if let Err(why) = self.check(&token).await {
                        load.seen.fail(&format!("the poller of the JWKS: {why}"));
                    }
                }
                Ok(Err(RecvError::Closed)) => break,
                Ok(Err(RecvError::Lagged(_))) | Err(_) => {}
            }
        }
        [&self.fetched, &self.checked].map(|count| count.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusive_million_checks_over_fifty_rotations_refuse_no_valid_token() {
    let mut case = Case::begin("A million checks", TRIED, "fifty rotations, leaders killed");
    let wanted: u64 = asked("COUNTERSIGN_SOAK_CHECKS", 1_000_000);
    let rotations: u32 = asked("COUNTERSIGN_SOAK_ROTATIONS", 50);
    let testbed = Testbed::shared();
    let since = now();
    let start = format!("--test-clock-start={since}");
    let flags = [&FLAGS[..], &[&start]].concat();
    let plan = Plan {
        replicas: [2, 2, 3],
        flags,
        pre_publish: PRE_PUBLISH,
        rate: RATE,
        since,
        rest: Duration::from_millis(40),
        ..Plan::default()
    };
    let mut shop = Shop::open(&testbed, plan).await;
    shop.begin_load();
    let poller = Poller {
        issuers: shop.issuers.iter().map(|member| member.replica.issuer).collect(),
        issuer_url: shop.installation.issuer_url(),
        audience: format!("https://orders.{}.svc", shop.namespace),
        held: None,
        fetched: AtomicU64::new(0),
        checked: AtomicU64::new(0),
    };
    let poller = tokio::spawn(poller.run(Arc::clone(&shop.load)));
    let (mut kills, mut slowest) = (0, Duration::ZERO);
    for round in 1..=rotations {
        let (before, begun) = (shop.signing_keys().await, Instant::now());
        shop.ask_for_rotation().await;
        if round % 5 == 0 {
            kills += 1;
            kill_the_leader(&mut shop, &testbed).await;
        }
        shop.rotated_from(&before, SOON * 2).await;
        slowest = slowest.max(begun.elapsed());
        shop.load.seen.nothing_failed();
        println!("rotation {round} in {:.1?}: {:?}", begun.elapsed(), shop.load.seen.counts());
    }
    while shop.load.seen.counts()[1] < wanted {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shop.load.seen.nothing_failed();
    }
    shop.end_load().await;
    let [fetched, checked] = poller.await.expect("the poller ends");
    let [tokens, checks] = shop.load.seen.counts();
    for (name, value) in
        [("rotations", u64::from(rotations)), ("leaders killed", kills), ("tokens", tokens), ("checks", checks)]
    {
        case.figure(name, value);
    }
    case.figure("JWKS fetched", fetched);
    case.figure("checked with it", checked);
    case.figure("slowest rotation", format!("{slowest:.1?}"));
    case.figure("refused", 0);
    case.held();
}

/// Kills it where it stands, and puts another in its place.
async fn kill_the_leader(shop: &mut Shop, testbed: &Testbed) {
    tokio::time::sleep(Duration::from_millis(300)).await;
    let leader = shop.leader();
    shop.controllers[leader].replica.process.kill().await;
    shop.controllers[leader] = shop.spawn(testbed, Role::Controller, &[]).await;
}
