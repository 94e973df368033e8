//! A release over its life: upgraded in every knob and rolled back while services call each other, uninstalled, installed again.

use crate::cluster::{Cluster, Namespace, until};
use crate::first_call::open_shop;
use crate::release::{Release, Version};
use crate::restarts::under_load;
use crate::support::orders::client;
use crate::support::standalone::now;
use crate::visitor::Visitor;

const KEEP: [&str; 4] = ["--set", "crds.keep=true", "--set", "namespaces.keep=true"];

#[test]
fn an_upgrade_of_every_knob_and_the_way_back_fail_no_request() {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    under_load("upgrade and rollback", &cluster, &release, |_| {
        release.upgrade(&["--values", "tests/e2e/upgrade.yaml"]);
        release.rolled_out();
        let running = release.must(&[
            "get",
            "pods",
            "--selector=cost=shared",
            "--field-selector=status.phase=Running",
            "--output=name",
        ]);
        assert!(running.lines().count() >= 6, "not the upgraded pods: {running}");
        release.helm(&["rollback", &release.name, "1"]);
        release.rolled_out();
    });
}

#[test]
fn what_teams_declared_and_the_keys_outlive_an_uninstall() {
    let cluster = Cluster::new();
    let release = Release::install_with(&cluster, &KEEP);
    let shop = cluster.namespace("shop");
    open_shop(&release, &shop);
    let checkout = Visitor::start(&shop, "checkout", Some("checkout-oauth"));
    let (token, secret) =
        (checkout.token(), shop.must(&["get", "secret", "checkout-oauth", "-o", "jsonpath={.data.client_secret}"]));
    let url = format!("{}/ext-authz/policy/{}/orders/orders/7", release.verifier_url(), shop.name);
    let host = format!("orders.{}.svc", shop.name);
    assert_eq!(checkout.verdict(&url, &host, Some(&token)), "200");

    release.helm(&["uninstall", &release.name, "--wait", "--timeout=60s"]);
    release.until_none_ends();
    assert_eq!(release.must(&["get", "pods", "--output=name"]), "", "uninstalled, and pods are left");
    shop.must(&["get", "oac/checkout", "scp/orders", "secret/checkout-oauth"]);

    release.install_again(&KEEP);
    assert_eq!(checkout.verdict(&url, &host, Some(&token)), "200", "a token from before");
    assert_eq!(checkout.verdict(&url, &host, Some(&checkout.token())), "200");
    assert_eq!(shop.must(&["get", "secret", "checkout-oauth", "-o", "jsonpath={.data.client_secret}"]), secret);
    // So that nothing outlives the story.
    release.upgrade(&[]);
}

#[test]
#[ignore = "builds the version before: make soak does"]
fn the_version_before_to_this_one_and_back_fail_no_request() {
    let cluster = Cluster::new();
    let former = Version::former();
    let release = Release::install_version(&cluster, &former, &KEEP);
    under_load("the version before, this one, the version before, this one", &cluster, &release, |shop| {
        works(&release, shop, "before");
        release.upgrade(&KEEP);
        release.rolled_out();
        works(&release, shop, "after");
        // As docs/upgrade.md says: with the later definitions left in place.
        release.change_to(&former, &[&KEEP[..], &["--set", "crds.enabled=false"]].concat());
        release.rolled_out();
        works(&release, shop, "back");
        // And so that nothing outlives the story.
        release.upgrade(&[]);
        release.rolled_out();
        works(&release, shop, "again");
    });
}

/// A new client gets ready, and the one under load gets a new value of its secret, signed by the controller of the moment.
fn works(release: &Release<'_>, shop: &Namespace<'_>, name: &str) {
    release.apply(&shop.name, &client(name, ""));
    shop.must(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("oac/{name}")]);
    let secret = || shop.must(&["get", "secret", "checkout-oauth", "-o", "jsonpath={.data.client_secret}"]);
    let held = secret();
    let asked = format!("countersign.dev/rotate-at={}", now());
    shop.must(&["annotate", "--overwrite", "oac/checkout", &asked]);
    until("the secret is rotated", || secret() != held);
}
