//! Zero code, by annotation: pods that ask get an agent, call a resource server behind the verifier, and no client secret exists.
//!
//! ```text
//! reader: curl, with the token of a file ──────────────────┐
//! caller: curl ──► Envoy, with the token of an SDS file ───┴──► orders: Envoy ──► nginx
//!                                                                  └─► verifier
//! ```

use crate::cluster::{Cluster, Namespace, image, until};
use crate::release::Release;
use crate::sidecar::Sidecar;
use crate::support::orders::{ORDERS, client};
use crate::support::root;
use crate::support::scratch::Scratch;
use serde_json::Value;

const BY_ACCOUNT: &str =
    "  authentication: {methods: [{type: ServiceAccount, serviceAccounts: [{name: storefront}]}]}\n";

/// The example's outbound Envoy, for this namespace.
fn settings(shop: &Namespace<'_>) {
    let example = std::fs::read_to_string(root().join("examples/envoy-agent/outbound.yaml")).unwrap();
    let folder = Scratch::new("outbound");
    let file = folder.join("outbound.yaml");
    std::fs::write(&file, example.replace("orders.shop.svc", &format!("orders.{}.svc", shop.name))).unwrap();
    shop.must(&["create", "configmap", "outbound", &format!("--from-file={}", file.display())]);
}

/// What a command prints in a Deployment's pod.
fn sh(shop: &Namespace<'_>, of: &str, command: &str) -> String {
    let args = ["exec", &format!("deployment/{of}"), "--container", of, "--", "/bin/sh", "-c", command];
    shop.must(&args).trim().to_owned()
}

/// What a call answers, and its status.
fn call(shop: &Namespace<'_>, of: &str, more: &str) -> String {
    // The node's proxy knows a new Service later than the API server does.
    let curl = "/bin/curl --silent --show-error --max-time 20 --retry 10 --retry-connrefused --write-out %{http_code}";
    sh(shop, of, &format!("{curl} {more}")).replace('\n', " ")
}

#[test]
fn pods_that_ask_by_annotation_call_with_tokens_and_no_secret_exists() {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    let shop = cluster.namespace("shop");
    release.apply(&shop.name, &[ORDERS, &client("storefront", BY_ACCOUNT)].concat());
    shop.must(&["wait", "--for=condition=Ready", "--timeout=60s", "oac/storefront"]);
    settings(&shop);
    let manifest =
        include_str!("injected.yaml").replace("$VISITOR", &image("visitor")).replace("$ENVOY", &image("envoy"));
    release.apply(&shop.name, &manifest);
    Sidecar::trusting(&release, &shop, "configMap: {name: storefront-oauth");
    for deployment in ["deployment/reader", "deployment/caller"] {
        shop.must(&["rollout", "status", "--timeout=120s", deployment]);
    }

    let served = format!("for {}.storefront 200", shop.name);
    let url = format!("http://orders.{}.svc/orders/7", shop.name);
    let with_token =
        format!("--header \"Authorization: Bearer $(/bin/cat /var/run/secrets/countersign.dev/default)\" {url}");
    until("a call with the token of the file", || call(&shop, "reader", &with_token) == served);
    until("a call through Envoy", || call(&shop, "caller", "http://127.0.0.1:9080/orders/7") == served);
    assert_eq!(call(&shop, "caller", &format!("--output /dev/null {url}")), "401", "past its own Envoy");
    let tokens =
        sh(&shop, "caller", "for file in /run/tokens/* /var/run/secrets/*/*; do [ ! -e $file ] || echo $file; done");
    assert_eq!(tokens, "", "the program itself sees none");

    assert_eq!(shop.must(&["get", "secrets", "--output", "name"]), "", "nobody holds a secret");
    let pods: Value = serde_json::from_str(&shop.must(&["get", "pods", "--output", "json"])).unwrap();
    let restarts = |pod: &Value| {
        let lists = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array().cloned());
        lists.into_iter().flatten().flatten().map(|each| each["restartCount"].as_u64().unwrap()).sum::<u64>()
    };
    let restarted: Vec<_> = pods["items"].as_array().unwrap().iter().filter(|pod| restarts(pod) > 0).collect();
    assert!(restarted.is_empty(), "a program started before its token was there: {restarted:#?}");
}
