//! The first hour of a user: install, declare a policy and a client, get a token in a pod, have it checked.

use crate::cluster::{Cluster, Namespace};
use crate::release::Release;
use crate::support::orders::{ORDERS, client};
use crate::visitor::Visitor;

/// The policy `orders` and the client `checkout` in a namespace, ready.
pub fn open_shop(release: &Release<'_>, namespace: &Namespace<'_>) {
    release.apply(&namespace.name, &[ORDERS, &client("checkout", "")].concat());
    namespace.must(&["wait", "--for=condition=Ready", "--timeout=60s", "oac/checkout"]);
}

#[test]
fn a_pod_gets_a_token_with_its_secret_and_the_verifier_lets_it_pass() {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    let shop = cluster.namespace("shop");
    open_shop(&release, &shop);

    let checkout = Visitor::start(&shop, "checkout", Some("checkout-oauth"));
    let token = checkout.token();
    let host = format!("orders.{}.svc", shop.name);
    let url = format!("{}/ext-authz/policy/{}/orders/orders/7", release.verifier_url(), shop.name);
    let forged = format!("{token}x");
    let answers = [Some(token.as_str()), None, Some(&forged)].map(|token| checkout.verdict(&url, &host, token));
    assert_eq!(answers, ["200", "401", "401"]);

    let other = checkout.verdict(&url.replace("/orders/7", "/invoices/7"), &host, Some(&token));
    assert_eq!(other, "403", "no rule is about invoices");
}
