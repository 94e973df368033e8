//! F10: the kinds are deleted and come back; a tenant's namespace is emptied.
//!
//! Flows in: a running installation with a served client. Flows out: that nothing is served for what is gone, that nothing of
//! ours holds a deletion up, and how soon all serves again.

use crate::report::Case;
use crate::shop::{MINUTES, Plan, Shop};
use crate::support::await_condition;
use crate::support::kubectl::Kubectl;
use crate::support::testbed::Testbed;
use crate::wire::Wire;
use std::time::{Duration, Instant};

const TRIED: &str =
    "Under a running installation the custom resource definitions are deleted and applied again, or everything in a
    tenant's namespace is deleted, as a namespace controller would do it (the testbed has none), and applied again.";
const LONG: Duration = Duration::from_secs(90);

async fn gone_and_back(case: &str, delete: impl Fn(&Kubectl, &str), come_back: impl Fn(&Testbed)) {
    let mut case = Case::begin("F10 uninstall", TRIED, case);
    let testbed = Testbed::own();
    let plan = Plan { replicas: [1, 1, 1], flags: MINUTES.to_vec(), pre_publish: "5s", ..Plan::default() };
    let mut shop = Shop::open(&testbed, plan).await;
    let token = shop.load.token(&mut Wire::default(), shop.issuers[0].replica.issuer).await.expect("a token");
    let begun = Instant::now();
    delete(&shop.installation.kubectl, &shop.namespace);
    case.figure("deletion took", format!("{:.1?}", begun.elapsed()));
    let verdict = async || shop.load.verdict(&mut Wire::default(), shop.verifiers[0].replica.http, &token.text).await;
    drop(await_condition("the token to be refused", LONG, verdict, |verdict| matches!(verdict, Ok(401 | 403))).await);
    let asked =
        async || shop.load.token(&mut Wire::default(), shop.issuers[0].replica.issuer).await.map(|token| token.key_id);
    drop(await_condition("no token to be given", LONG, asked, Result::is_err).await);
    case.figure("nothing served after", format!("{:.1?}", begun.elapsed()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    for member in shop.controllers.iter_mut().chain(&mut shop.issuers).chain(&mut shop.verifiers) {
        assert!(member.replica.process.ended().is_none(), "{:?} ended", member.role);
    }
    let back = Instant::now();
    come_back(&testbed);
    shop.apply("5s");
    shop.with_new_credentials(LONG).await;
    case.figure("served again after", format!("{:.1?}", back.elapsed()));
    case.held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_deleted_and_applied_again() {
    let delete = |kubectl: &Kubectl, _: &str| {
        let crds = crate::support::root().join("crds");
        kubectl.must(&["delete", "-f", crds.to_str().expect("text"), "--timeout=60s"]);
    };
    gone_and_back("the kinds", delete, Testbed::apply_crds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_emptied_and_filled_again() {
    let delete = |kubectl: &Kubectl, namespace: &str| {
        for kinds in ["secrets,configmaps", "oac,scp"] {
            kubectl.must(&["delete", kinds, "--all", "-n", namespace, "--timeout=60s"]);
        }
        std::thread::sleep(Duration::from_secs(3));
        let left = kubectl.must(&["get", "secrets,oac,scp", "-n", namespace, "-o", "name"]);
        assert_eq!(left, "", "somebody put it back, or holds it");
    };
    gone_and_back("a tenant's namespace, Secrets first", delete, |_| {}).await;
}
