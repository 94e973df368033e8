//! The roles as processes of their own before a real kube-apiserver: how much memory, how soon ready, how soon a change is in force.
//!
//! ```text
//! small ─► 100 clients ─► 1,000 at once ─► 2,000 policies ─► 100,000 rules
//! start    verifier RSS   time, requests   cold start, RSS,  RSS a rule, rate, a change's way
//!                         issuer RSS       changes' way
//! ```
//! The API server and its etcd share the machine with everything measured. Changes are timed from the API server's answer.

mod changes;
mod clients;
pub mod many;
mod rules;
mod start;

use crate::api::Cluster;
use crate::asker::Asker;
use crate::figures::Report;
use crate::support::http::Request;
use crate::support::installation::{Installation, Replica, Role};
use crate::support::testbed::Testbed;
use crate::support::{await_condition, scratch::Scratch};
use crate::world::check;
use serde_json::{Value, json};
use std::time::Duration;

use super::Effort;

pub const PATIENCE: Duration = Duration::from_mins(2);

/// The installation under load.
pub struct Site {
    /// Lives as long as the site.
    _testbed: Testbed,
    pub cluster: Cluster,
    pub installation: Installation,
    pub controller: Replica,
    pub issuer: Replica,
    pub verifiers: Vec<Replica>,
    pub folder: Scratch,
}

pub async fn measure(effort: Effort, report: &mut Report) {
    let mut site = Site::start().await;
    start::measure(&mut site, report).await;
    clients::hundred(&mut site, effort, report).await;
    clients::at_once(&mut site, report).await;
    many::foreign_secrets(&site, report).await;
    let small = rules::rate(&site, effort).await;
    start::with_policies(&mut site, report).await;
    changes::measure(&site, "2,000 policies", changes::Bounds::POLICIES, report).await;
    changes::revocations(&site, report).await;
    changes::bad_tokens_fetch_nothing(&site, report).await;
    rules::measure(&mut site, small, effort, report).await;
}

impl Site {
    /// Controller, issuer and two verifiers, with one policy of 50 rules and one client that can get tokens.
    pub async fn start() -> Self {
        let testbed = Testbed::own();
        let cluster = Cluster::new(&testbed).await;
        let installation = Installation::named(&testbed, "default", &[]);
        cluster.create(vec![namespace("shop")]).await;
        cluster.create(vec![orders(0), client("shop", "checkout", ORDERS)]).await;
        let [controller, issuer, verifier] = installation.start_all().await;
        let second = installation.start(Role::Verifier).await;
        let folder = Scratch::new("cluster");
        let it = Self {
            _testbed: testbed,
            cluster,
            installation,
            controller,
            issuer,
            verifiers: vec![verifier, second],
            folder,
        };
        it.token().await;
        it
    }

    /// A token of `shop.checkout`; waits until it can have one.
    pub async fn token(&self) -> String {
        let look = async || {
            let (id, secret) = self.credentials("shop", "checkout")?;
            let fields = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
            let answer = Request::form("/oauth2/token", &fields).send(self.issuer.issuer).await.ok()?;
            answer.json()["access_token"].as_str().map(str::to_owned)
        };
        await_condition("a token", PATIENCE, look, Option::is_some).await.expect("accepted as a token")
    }

    pub fn credentials(&self, namespace: &str, client: &str) -> Option<(String, String)> {
        let secret = format!("{client}-oauth");
        let there = self.installation.kubectl.run(&["get", "secret", &secret, "-n", namespace]).status.success();
        let value = |key| self.installation.secret_value(namespace, &secret, key);
        there.then(|| (value("client_id"), value("client_secret")))
    }

    /// Waits until every verifier has this public rule of a policy.
    pub async fn served(&self, namespace: &str, policy: &str) {
        let message = check(&format!("{namespace}/{policy}"), (&host(namespace, policy), "/public"), "none");
        for verifier in &self.verifiers {
            let mut asker = Asker::new(verifier.grpc).await;
            asker.until(&message, true, std::time::Instant::now()).await;
        }
    }
}

pub const ORDERS: &str = "https://orders.shop.svc";

pub fn host(namespace: &str, policy: &str) -> String {
    format!("{policy}.{namespace}.svc")
}

pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub fn client(namespace: &str, name: &str, audience: &str) -> Value {
    json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"access": [{"audience": audience, "scopes": ["orders:read"]}]},
    })
}

/// A policy with so many rules, the first of them public.
pub fn policy(namespace: &str, name: &str, rules: usize) -> Value {
    let public = json!({
        "name": "public", "protection": "Public",
        "matches": [{"methods": ["GET"], "path": {"type": "Exact", "value": "/public"}}],
    });
    let rules: Vec<_> = [public]
        .into_iter()
        .chain((1..rules).map(|at| rule(&format!("rule-{at}"), &format!("/{name}/r{at}/{{id}}"))))
        .collect();
    json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "ScopePolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "audience": format!("https://{name}.{namespace}.svc"),
            "targetRefs": [{"group": "", "kind": "Service", "name": name}],
            "scopes": [{"name": "orders:read"}],
            "grants": [{"scopes": ["orders:read"], "to": [{"namespaces": "Same"}]}],
            "rules": rules,
        },
    })
}

fn rule(name: &str, template: &str) -> Value {
    json!({
        "name": name, "protection": "Scoped", "allow": [{"scopes": ["orders:read"]}],
        "matches": [{"methods": ["GET", "HEAD"], "path": {"type": "Template", "value": template}}],
    })
}

/// The policy that is changed and asked about: 50 rules, one of them differing by version.
pub fn orders(version: usize) -> Value {
    let mut policy = policy("shop", "orders", 50);
    policy["spec"]["rules"][1] = rule("rule-1", &format!("/v{version}/{{id}}"));
    policy
}
