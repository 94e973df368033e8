//! F09, F17: hands that edit the Secret ten times a second, and another controller that undoes whatever we write.
//!
//! Flows in: a writer of the client's Secret. Flows out: how often we wrote back, what the condition says, and that peace brings
//! the right value.

use crate::report::Case;
use crate::shop::{MINUTES, Plan, SOON, Shop};
use crate::support::await_condition;
use crate::support::testbed::Testbed;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use std::time::{Duration, Instant};

const TRIED: &str = "For 30 s somebody fights over a client's Secret. Our writes are counted by the proxy: five times at once, then
    less and less often, up to once a minute; the condition says SecretContested and who. After peace the Secret is right again.";
const FIGHT: Duration = Duration::from_secs(30);
/// Five at once; then waits of 5, 10 and 20 s.
const MOST: usize = 9;

struct Fight {
    shop: Shop,
    secrets: Api<Secret>,
}

impl Fight {
    async fn begin(testbed: &Testbed) -> Self {
        let plan =
            Plan { replicas: [1, 1, 1], flags: MINUTES.to_vec(), pre_publish: "5s", proxied: true, ..Plan::default() };
        let shop = Shop::open(testbed, plan).await;
        let secrets = Api::namespaced(shop.client.clone(), &shop.namespace);
        shop.controllers[0].proxy().take_steps();
        Self { shop, secrets }
    }

    async fn meddle(&self) {
        let patch = Patch::Merge(json!({"data": {"issuer": "bWVkZGxlZA=="}}));
        // The Secret may be away for an instant.
        drop(self.secrets.patch("checkout-oauth", &PatchParams::apply("meddler"), &patch).await);
    }

    fn reason(&self) -> String {
        self.shop.field("oac/checkout", r#".status.conditions[?(@.type=="CredentialsReady")].reason"#)
    }

    /// What we wrote during it; then how long until all is right.
    async fn end(self, mut case: Case) {
        let steps = self.shop.controllers[0].proxy().take_steps();
        let secrets = steps
            .iter()
            .filter(|(call, status)| call.path.contains(&format!("/{}/secrets", self.shop.namespace)) && *status < 300)
            .count();
        let reason = self.reason();
        let begun = Instant::now();
        let right = async || (self.reason(), self.shop.field("secret/checkout-oauth", ".data.issuer"));
        let settled = |(reason, issuer): &(String, String)| {
            reason != "SecretContested" && !issuer.is_empty() && issuer != "bWVkZGxlZA=="
        };
        await_condition("the right Secret", Duration::from_secs(100), right, settled).await;
        case.figure("our writes of the Secret", secrets);
        case.figure("all our writes", steps.len());
        case.figure("condition", &reason);
        case.figure("right again after", format!("{:.0?}", begun.elapsed()));
        let value = self.shop.installation.secret_value(&self.shop.namespace, "checkout-oauth", "client_secret");
        let (issuer, id) = (self.shop.issuers[0].replica.issuer, format!("{}.checkout", self.shop.namespace));
        let answer = async || crate::support::tenant::token(issuer, &id, &value).await.status;
        await_condition("its value to be good", SOON, answer, |status| *status == 200).await;
        assert_eq!(reason, "SecretContested");
        assert!(secrets <= MOST, "{secrets} writes in {FIGHT:?}");
        case.held();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_at_ten_hertz_are_undone_ever_less_often() {
    let case = Case::begin("F09 F17 others write our Secrets", TRIED, "an edit ten times a second");
    let fight = Fight::begin(&Testbed::shared()).await;
    let begun = Instant::now();
    while begun.elapsed() < FIGHT {
        fight.meddle().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fight.end(case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_at_ten_hertz_are_undone_ever_less_often() {
    let case = Case::begin("F09 F17 others write our Secrets", TRIED, "a deletion ten times a second");
    let fight = Fight::begin(&Testbed::shared()).await;
    let begun = Instant::now();
    while begun.elapsed() < FIGHT {
        drop(fight.secrets.delete("checkout-oauth", &DeleteParams::default()).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fight.end(case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_that_undoes_what_we_write_is_not_fought_for_ever() {
    let case =
        Case::begin("F09 F17 others write our Secrets", TRIED, "a controller that undoes each of our writes at once");
    let fight = Fight::begin(&Testbed::shared()).await;
    let parameters = WatchParams::default().fields("metadata.name=checkout-oauth");
    let mut events = fight.secrets.watch(&parameters, "0").await.expect("watch").boxed();
    let undo = async {
        while let Some(event) = events.next().await {
            if let Ok(WatchEvent::Added(secret) | WatchEvent::Modified(secret)) = event
                && secret.data.as_ref().is_some_and(|data| data["issuer"].0 != b"meddled")
            {
                assert_eq!(secret.name_any(), "checkout-oauth");
                fight.meddle().await;
            }
        }
    };
    drop(tokio::time::timeout(FIGHT, undo).await);
    fight.end(case).await;
}
