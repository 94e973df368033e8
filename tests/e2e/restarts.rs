//! Operating it: roles restart and crash while services call each other, and no call notices.

use crate::cluster::{Cluster, Namespace};
use crate::first_call::open_shop;
use crate::load::Load;
use crate::release::Release;
use crate::sidecar::Sidecar;
use crate::visitor::Visitor;
use std::time::Duration;

/// How long a controller that cannot start is left like that.
const CRASHING: Duration = Duration::from_secs(20);

/// Runs the steps under load, after a call without a token was refused and one with a token was served.
pub fn under_load(what: &str, cluster: &Cluster, release: &Release<'_>, steps: impl FnOnce(&Namespace<'_>)) {
    let shop = cluster.namespace("shop");
    open_shop(release, &shop);
    let (orders, checkout) =
        (Sidecar::start(release, &shop), Visitor::start(&shop, "checkout", Some("checkout-oauth")));
    let host = format!("orders.{}.svc", shop.name);
    let refused = checkout.curl(&format!("--write-out %{{http_code}} http://{host}/orders/7"));
    assert_eq!(refused, "401");
    let bearer = checkout.token();
    let served = checkout.curl(&format!("--header 'Authorization: Bearer {bearer}' http://{host}/orders/7"));
    assert_eq!(served, format!("for {}.checkout", shop.name));
    std::thread::scope(|scope| {
        let load = Load::begin(scope, orders.address, &host, &checkout);
        steps(&shop);
        load.end(what);
    });
}

#[test]
fn rolling_restarts_of_every_role_fail_no_request() {
    restart_every_role(1);
}

#[test]
#[ignore = "a quarter of an hour: make soak runs it"]
fn twenty_rolling_restarts_of_every_role_fail_no_request() {
    restart_every_role(20);
}

fn restart_every_role(rounds: usize) {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    under_load(&format!("{rounds} rolling restarts of every role"), &cluster, &release, |_| {
        for _ in 0..rounds {
            for role in ["verifier", "issuer", "admission", "controller"] {
                release.must(&["rollout", "restart", &release.deployment(role)]);
                release.rolled_out();
            }
        }
    });
}

#[test]
fn a_controller_that_crashes_again_and_again_fails_no_request() {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    let selector = "--selector=app.kubernetes.io/component=controller";
    under_load("a crashing controller", &cluster, &release, |shop| {
        let broken = ["--set", "controller.extraArgs={--no-such-flag}", "--set", "controller.strategy.type=Recreate"];
        release.upgrade(&[&broken[..], &["--set", "controller.strategy.rollingUpdate=null"]].concat());
        std::thread::sleep(CRASHING);
        let restarts = release.must(&[
            "get",
            "pods",
            selector,
            "-o",
            "jsonpath={.items[*].status.containerStatuses[0].restartCount}",
        ]);
        assert!(restarts.split(' ').any(|count| count != "0" && !count.is_empty()), "it does not crash: {restarts:?}");
        release.upgrade(&[]);
        release.rolled_out();
        // It does its work again.
        release.apply(&shop.name, &crate::support::orders::client("another", ""));
        shop.must(&["wait", "--for=condition=Ready", "--timeout=60s", "oac/another"]);
    });
}
