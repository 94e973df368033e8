//! Leaving: nothing of ours holds up what a user deletes.

use crate::cluster::Cluster;
use crate::first_call::open_shop;
use crate::release::Release;

#[test]
fn a_tenants_namespace_goes_when_the_operator_is_gone() {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    let shop = cluster.namespace("shop");
    open_shop(&release, &shop);
    shop.must(&["get", "secret", "checkout-oauth"]);
    release.scale_to_nothing();
    shop.kubectl.must(&["delete", "namespace", &shop.name, "--timeout=60s"]);
    let left = shop.kubectl.must(&[
        "get",
        "oac,scp,secret",
        "--all-namespaces",
        "--output=name",
        "--field-selector",
        &format!("metadata.namespace={}", shop.name),
    ]);
    assert_eq!(left, "");
}
