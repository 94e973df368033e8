//! How soon what the API server has accepted is in force at every verifier.

use super::{Site, orders, policy};
use crate::api::between;
use crate::asker::Asker;
use crate::figures::{Report, Target};
use crate::scenarios::abuse::unknown_key;
use crate::stream::{Target as Load, answers};
use crate::support::http::Request;
use crate::usage::{cpu_since, cpu_time, median, percentile};
use crate::world::check;
use bytes::Bytes;
use futures::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

const TIMES: usize = 100;

/// What is promised of the way of a change.
pub struct Bounds {
    p50: Target,
    p99: Target,
    max: Target,
}

impl Bounds {
    pub const POLICIES: Self = Self { p50: Target::AtMost(15.0), p99: Target::None, max: Target::AtMost(60.0) };
    pub const RULES: Self = Self { p50: Target::None, p99: Target::AtMost(100.0), max: Target::None };

    fn tell(&self, report: &mut Report, what: &str, millis: &[f64], detail: &str) {
        for (name, percent, target) in [("p50", 50.0, self.p50), ("p99", 99.0, self.p99), ("max", 100.0, self.max)] {
            let value = (percentile(millis, percent), "ms");
            report.add("changes", format!("{what}, {name}"), value, target, detail);
        }
    }
}

/// One rule of a policy of 50 changed, and a policy created.
pub async fn measure(site: &Site, among: &str, bounds: Bounds, report: &mut Report) {
    let token = site.token().await;
    let mut askers = askers(site).await;
    let cpu = cpu_time(site.verifiers[0].process.id());
    let mut changed = Vec::new();
    for version in 1..=TIMES {
        let message = check("shop/orders", ("orders.shop.svc", &format!("/v{version}/42")), &token);
        let rules = &orders(version)["spec"]["rules"];
        site.cluster.change("ScopePolicy", "shop", "orders", &json!({"spec": {"rules": rules}})).await;
        changed.extend(everywhere(&mut askers, &message, true).await);
    }
    let cpu = cpu_since(site.verifiers[0].process.id(), cpu).as_secs_f64() * 1e3 / TIMES as f64;
    let detail =
        format!("{TIMES} changes, 2 verifiers each; a verifier's CPU {cpu:.1} ms a change, the questions included");
    bounds.tell(report, &format!("a rule changed among {among} → enforced"), &changed, &detail);
    // Back to the version the other figures ask about.
    site.cluster.change("ScopePolicy", "shop", "orders", &json!({"spec": {"rules": orders(0)["spec"]["rules"]}})).await;
    let mut created = Vec::new();
    let prefix = among.replace([',', ' '], "");
    for number in 0..TIMES / 2 {
        let name = format!("new-{prefix}-{number}");
        let message = check(&format!("shop/{name}"), (&super::host("shop", &name), "/public"), "none");
        site.cluster.create(vec![policy("shop", &name, 50)]).await;
        created.extend(everywhere(&mut askers, &message, true).await);
    }
    bounds.tell(report, &format!("a policy of 50 rules created among {among} → enforced"), &created, "");
}

/// A token revoked at the issuer, a client suspended.
pub async fn revocations(site: &Site, report: &mut Report) {
    let mut askers = askers(site).await;
    let (id, secret) = site.credentials("shop", "checkout").expect("the client has credentials");
    let (mut revoked, mut answered) = (Vec::new(), Vec::new());
    // One client's share of the deny list is 64 tokens.
    for _ in 0..50 {
        let token = site.token().await;
        let message = check("shop/orders", ("orders.shop.svc", "/v0/42"), &token);
        everywhere(&mut askers, &message, true).await;
        let asked = Instant::now();
        let request = Request::form("/oauth2/revoke", &[("token", &token)]).basic(&id, &secret);
        let answer = request.send(site.issuer.issuer).await.expect("the issuer answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        answered.push(asked.elapsed().as_secs_f64() * 1e3);
        revoked.extend(everywhere(&mut askers, &message, false).await);
    }
    let detail =
        format!("50 tokens, 2 verifiers each, from the issuer's answer, which took {:.1} ms (p50)", median(&answered));
    Bounds::POLICIES.tell(report, "a token revoked → refused", &revoked, &detail);
    suspended(site, &mut askers, report).await;
}

async fn suspended(site: &Site, askers: &mut [Asker], report: &mut Report) {
    let mut refused = Vec::new();
    for number in 0..20 {
        let name = format!("hundred-{number}");
        let (id, secret) = site.credentials("shop", &name).expect("the client has credentials");
        let fields = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        let answer =
            Request::form("/oauth2/token", &fields).send(site.issuer.issuer).await.expect("the issuer answers");
        let token = answer.access_token();
        let message = check("shop/orders", ("orders.shop.svc", "/v0/42"), &token);
        everywhere(askers, &message, true).await;
        site.cluster.change("OAuthClient", "shop", &name, &json!({"spec": {"state": "Suspended"}})).await;
        refused.extend(everywhere(askers, &message, false).await);
    }
    let detail = "20 clients, 2 verifiers each, from the API server's answer: the controller writes the revocation";
    Bounds::POLICIES.tell(report, "a client suspended → its tokens refused", &refused, detail);
}

/// 5,000 tokens with kids nobody knows: what a verifier asks of anybody because of them.
pub async fn bad_tokens_fetch_nothing(site: &Site, report: &mut Report) {
    let token = site.token().await;
    let bodies: Vec<Bytes> =
        (0..5000).map(|at| check("shop/orders", ("orders.shop.svc", "/v0/42"), &unknown_key(at, &token))).collect();
    let before = site.cluster.requests().await;
    let answered = answers(Load::checks(site.verifiers[0].grpc), &Arc::new(bodies)).await;
    let asked = between(&before, &site.cluster.requests().await);
    let keys = |(verb, resource): &(String, String)| {
        (verb == "GET" || verb == "LIST") && ["configmaps", "secrets", "signingkeys"].contains(&resource.as_str())
    };
    let fetches: f64 = asked.iter().filter(|(key, _)| keys(key)).map(|(_, count)| count).sum();
    let detail = format!("{} checks; reads of keys the API server counted meanwhile, by anybody", answered.len());
    report.add("abuse", "key fetches caused by 5,000 unknown kids", (fetches, "requests"), Target::AtMost(1.0), detail);
}

async fn askers(site: &Site) -> Vec<Asker> {
    join_all(site.verifiers.iter().map(|verifier| Asker::new(verifier.grpc))).await
}

/// Milliseconds until each gives this answer.
async fn everywhere(askers: &mut [Asker], message: &Bytes, answer: bool) -> Vec<f64> {
    let since = Instant::now();
    join_all(askers.iter_mut().map(|asker| asker.until(message, answer, since))).await
}
