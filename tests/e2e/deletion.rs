//! Leaving: nothing of ours holds up what a user deletes, in whatever order.

use crate::cluster::{Cluster, Namespace};
use crate::first_call::open_shop;
use crate::release::Release;
use crate::support::root;

/// What a user takes away.
#[derive(Clone, Copy, Debug)]
enum Thing {
    Tenant,
    Definitions,
    Chart,
}

use Thing::{Chart, Definitions, Tenant};

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

#[test]
fn definitions_go_first_and_nothing_hangs() {
    take_away(&[Definitions, Tenant, Chart]);
}

#[test]
#[ignore = "five installations: make soak runs it"]
fn in_whatever_order_it_is_taken_away_nothing_hangs() {
    for order in [
        [Definitions, Chart, Tenant],
        [Tenant, Definitions, Chart],
        [Tenant, Chart, Definitions],
        [Chart, Definitions, Tenant],
        [Chart, Tenant, Definitions],
    ] {
        take_away(&order);
    }
}

/// Takes an installation with a tenant away in this order; each is gone within a minute, and at the end all of it.
fn take_away(order: &[Thing]) {
    let cluster = Cluster::new();
    let release = Release::install_with(&cluster, &["--set", "crds.keep=true"]);
    let shop = cluster.namespace("shop");
    open_shop(&release, &shop);
    for thing in order {
        eprintln!("{thing:?} of {order:?}");
        thing.take_away(&release, &shop);
    }
    let ours = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,\
                validatingwebhookconfiguration,mutatingwebhookconfiguration,namespace,crd";
    let left = cluster.kubectl.must(&["get", ours, "--output=name"]);
    let left: Vec<_> =
        left.lines().filter(|name| name.contains(&release.name) || name.contains("countersign.dev")).collect();
    let system = format!("namespace/{}", release.system_namespace());
    assert_eq!(left, [system], "after {order:?}");
}

impl Thing {
    fn take_away(self, release: &Release<'_>, shop: &Namespace<'_>) {
        match self {
            Tenant => drop(shop.kubectl.must(&["delete", "namespace", &shop.name, "--timeout=60s"])),
            Definitions => {
                let crds = root().join("crds");
                let crds = crds.to_str().expect("the clone's path is text");
                shop.kubectl.must(&["delete", "--timeout=60s", "--filename", crds]);
            }
            Chart => {
                release.helm(&["uninstall", &release.name, "--wait", "--timeout=60s"]);
                release.until_none_ends();
            }
        }
    }
}
