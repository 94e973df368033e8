//! What each role may do, held against what it does: the API server's audit log against the rules of the chart.
//!
//! ```text
//! Roles and ClusterRoles bound to a role ──► (where, verb, what) it may ─┐
//! audit log of a release's life ───────────► (where, verb, what) it did ─┴─► nothing refused, nothing granted in vain
//! ```
//! Only on the cluster of `make e2e`: a cluster of yours shows its audit log to nobody.

use crate::cluster::{Cluster, Namespace, until};
use crate::first_call::open_shop;
use crate::release::Release;
use crate::support::orders::{allowance, client};
use crate::support::standalone::now;
use crate::visitor::Visitor;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What one life is too short to show: role, verb, what, where, and when it happens.
const RARE: [(&str, &str, &str, &str, &str); 11] = [
    ("controller", "update", "events", "", "the same is to be told again"),
    ("controller", "get", "signingkeys", "system", "a SigningKey was deleted: is it gone for good?"),
    ("controller", "delete", "configmaps", "system", "the last token of a deleted SigningKey has ended"),
    ("controller", "delete", "configmaps", "system-replicas", "all revocations of a replica that is gone have ended"),
    ("issuer", "update", "configmaps", "system-replicas", "the same replica is given a second token back"),
    ("controller", "delete", "leases", "system-replicas", "a replica died an hour ago without a farewell"),
    ("controller", "update", "secrets", "system", "a certificate is renewed"),
    ("controller", "delete", "secrets", "system", "a key that signs client secrets has signed its last"),
    (
        "controller",
        "get",
        "secrets",
        "system-keys",
        "a key was made and not published, or a value of somebody else's is recorded",
    ),
    ("controller", "update", "secrets", "system-keys", "a value of somebody else's has changed"),
    ("controller", "delete", "secrets", "system-keys", "a key that signs tokens has signed its last"),
];

/// Role, verb, resource or URL, and where: the namespace's part in the release, or empty for the whole cluster.
type Right = (String, String, String, String);

#[test]
fn no_role_may_do_more_than_it_does() {
    let cluster = Cluster::new();
    let Some(log) = audit_log(&cluster) else {
        eprintln!("this cluster's audit log is not ours to read");
        return;
    };
    let release = Release::install(&cluster);
    let shop = cluster.namespace("shop");
    live(&release, &shop);

    let granted = granted(&release);
    let (done, refused) = done(&release, &std::fs::read_to_string(log).expect("read the audit log"));
    assert_eq!(refused, BTreeSet::new(), "asked for and refused");
    let rare = RARE.map(|(role, verb, what, place, _)| [role, verb, what, place].map(str::to_owned)).map(Right::from);
    let shown: BTreeSet<_> = done.into_iter().chain(rare).collect();
    let in_vain: Vec<_> = granted.difference(&shown).collect();
    assert!(in_vain.is_empty(), "granted in vain: {in_vain:#?}");
}

fn audit_log(cluster: &Cluster) -> Option<PathBuf> {
    Some(cluster.kubectl.kubeconfig().with_file_name("audit.log")).filter(|log| log.exists())
}

/// Everything a role does in the course of its life, once.
fn live(release: &Release<'_>, shop: &Namespace<'_>) {
    open_shop(release, shop);
    let checkout = Visitor::start(shop, "checkout", Some("checkout-oauth"));
    checkout.revoke(&checkout.token());
    release.apply(&shop.name, &allowance("  hosts: [api.example.com]\n"));
    // A client comes, its Secret is lost, it is rotated, suspended and goes.
    release.apply(&shop.name, &client("another", ""));
    shop.must(&["wait", "--for=condition=Ready", "--timeout=60s", "oac/another"]);
    let value =
        || shop.must(&["get", "secret", "another-oauth", "--ignore-not-found", "-o", "jsonpath={.data.client_secret}"]);
    shop.must(&["delete", "secret", "another-oauth"]);
    until("the Secret is back", || !value().is_empty());
    let before = value();
    // A value made within this second is not older than it.
    until("the Secret is rotated", || {
        let at = format!("countersign.dev/rotate-at={}", now());
        shop.must(&["annotate", "--overwrite", "oac/another", &at]);
        value() != before
    });
    let epoch = || shop.must(&["get", "oac/another", "-o", "jsonpath={.status.epoch}"]);
    let first = epoch();
    shop.must(&["patch", "oac/another", "--type=merge", "--patch", r#"{"spec": {"state": "Suspended"}}"#]);
    until("its tokens are revoked", || epoch() != first);
    shop.must(&["delete", "oac/another"]);
    until("the Secret is gone", || value().is_empty());
    // A client without a secret comes, its ConfigMap is edited, and it goes.
    let by_pod = "  authentication: {methods: [{type: ServiceAccount, serviceAccounts: [{name: nightly}]}]}\n";
    release.apply(&shop.name, &client("nightly", by_pod));
    shop.must(&["wait", "--for=condition=Ready", "--timeout=60s", "oac/nightly"]);
    let issuer = || shop.must(&["get", "cm", "nightly-oauth", "--ignore-not-found", "-o", "jsonpath={.data.issuer}"]);
    let right = issuer();
    shop.must(&["patch", "cm", "nightly-oauth", "--patch", r#"{"data": {"issuer": "x"}}"#]);
    until("the ConfigMap is put right", || issuer() == right);
    shop.must(&["delete", "oac/nightly"]);
    until("the ConfigMap is gone", || issuer().is_empty());
    // Replicas go and come.
    for role in ["controller", "issuer", "verifier", "admission"] {
        release.must(&["rollout", "restart", &release.deployment(role)]);
    }
    release.rolled_out();
}

fn granted(release: &Release<'_>) -> BTreeSet<Right> {
    let labelled = format!("--selector=app.kubernetes.io/instance={}", release.name);
    let kinds = "clusterroles,clusterrolebindings,roles,rolebindings";
    let objects = release.must(&["get", kinds, "--all-namespaces", &labelled, "--output=json"]);
    let objects: Value = serde_json::from_str(&objects).expect("kubectl prints JSON");
    let objects = objects["items"].as_array().expect("a list");
    let rules = |binding: &Value| {
        let role = |object: &&Value| {
            object["kind"] == binding["roleRef"]["kind"]
                && object["metadata"]["name"] == binding["roleRef"]["name"]
                && object["metadata"]["namespace"] == binding["metadata"]["namespace"]
        };
        let role = objects.iter().find(role).unwrap_or_else(|| panic!("bound to nothing: {binding}"));
        texts(&role["rules"], expand)
    };
    let mut granted = BTreeSet::new();
    for binding in objects.iter().filter(|object| object.get("subjects").is_some()) {
        let place = place(release, &binding["metadata"]["namespace"]);
        for subject in binding["subjects"].as_array().expect("a list") {
            let role = role_of(release, subject["name"].as_str().expect("a name"));
            granted.extend(rules(binding).into_iter().map(|(verb, what)| (role.clone(), verb, what, place.clone())));
        }
    }
    granted
}

/// Each verb of a rule with each thing it is about.
fn expand(rule: &Value) -> Vec<(String, String)> {
    let words = |name: &str| texts(&rule[name], |word| word.as_str().map(str::to_owned).into_iter().collect());
    let things = [words("resources"), words("nonResourceURLs")].concat();
    words("verbs").into_iter().flat_map(|verb| things.iter().map(move |thing| (verb.clone(), thing.clone()))).collect()
}

fn texts<T>(list: &Value, of: impl Fn(&Value) -> Vec<T>) -> Vec<T> {
    list.as_array().into_iter().flatten().flat_map(of).collect()
}

/// What was done, and what of it was refused. What was done in one namespace a rule for the whole cluster may have allowed.
fn done(release: &Release<'_>, log: &str) -> (BTreeSet<Right>, BTreeSet<Right>) {
    let ours = format!("system:serviceaccount:{}:", release.system_namespace());
    let (mut done, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).expect("a line of the audit log is JSON");
        let Some(account) = event["user"]["username"].as_str().and_then(|name| name.strip_prefix(&ours)) else {
            continue;
        };
        let object = &event["objectRef"];
        let what = match (object["resource"].as_str(), object["subresource"].as_str()) {
            (Some(resource), Some(subresource)) => format!("{resource}/{subresource}"),
            (Some(resource), None) => resource.to_owned(),
            (None, _) => event["requestURI"].as_str().unwrap_or_default().to_owned(),
        };
        let verb = event["verb"].as_str().unwrap_or_default().to_owned();
        let role = role_of(release, account);
        let place = place(release, &object["namespace"]);
        if event["responseStatus"]["code"] == 403 {
            refused.insert((role.clone(), verb.clone(), what.clone(), place.clone()));
        }
        done.extend([place, String::new()].map(|place| (role.clone(), verb.clone(), what.clone(), place)));
    }
    (done, refused)
}

fn role_of(release: &Release<'_>, account: &str) -> String {
    account.trim_start_matches(&release.name).trim_start_matches('-').to_owned()
}

/// The namespace's part in the release, such as `system-keys`; empty for the whole cluster.
fn place(release: &Release<'_>, namespace: &Value) -> String {
    namespace
        .as_str()
        .map(|name| name.trim_start_matches(&release.name).trim_start_matches('-').to_owned())
        .unwrap_or_default()
}
