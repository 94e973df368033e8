//! Whom the API server trusts at the admission webhook, with lives of seconds: it is late, the webhook reads its files late, and no
//! admission fails.

use std::collections::VecDeque;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::json;

use super::handshakes::{CLIENT_LAG, Late, SERVER_LAG, client, shake_hands};
use super::*;

/// Two webhooks of one server, as deploy/webhook.yaml has them.
fn configuration() -> ValidatingWebhookConfiguration {
    let webhook = |name: &str| {
        let service = json!({"name": "tokens", "namespace": "cs"});
        json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {"service": service}})
    };
    serde_json::from_value(
        json!({"metadata": {"name": WEBHOOK}, "webhooks": [webhook("a.example"), webhook("b.example")]}),
    )
    .unwrap()
}

/// What each of the webhooks is trusted by; nothing where nobody has said so.
async fn trusted(bed: &Bed) -> Vec<String> {
    let found: Option<ValidatingWebhookConfiguration> = bed.objects.get(&Key::cluster(WEBHOOK)).await.unwrap();
    let webhooks = found.and_then(|found| found.webhooks).unwrap_or_default();
    let bundle = |held: Option<ByteString>| String::from_utf8(held.map(|held| held.0).unwrap_or_default()).unwrap();
    webhooks.into_iter().map(|webhook| bundle(webhook.client_config.ca_bundle)).collect()
}

#[tokio::test]
async fn every_webhook_is_trusted_by_the_bundle_and_what_is_taken_out_comes_back() {
    let (bed, process) = Bed::begun().await;
    bed.objects.create(&configuration()).await.unwrap();
    assert_eq!(trusted(&bed).await, ["", ""]);
    look(&process).await;
    let bundle = bed.bundle().await.certificates();
    assert_eq!(trusted(&bed).await, [bundle.clone(), bundle.clone()]);
    let mut emptied: ValidatingWebhookConfiguration = bed.objects.get(&Key::cluster(WEBHOOK)).await.unwrap().unwrap();
    emptied.webhooks.as_mut().unwrap()[1].client_config.ca_bundle = None;
    bed.objects.replace(&emptied).await.unwrap();
    look(&process).await;
    assert_eq!(trusted(&bed).await, [bundle.clone(), bundle]);
}

#[tokio::test]
async fn no_admission_fails_while_authorities_and_leaves_follow_each_other() {
    let bed = Bed::new();
    bed.objects.create(&configuration()).await.unwrap();
    let process = bed.process(Gate::always());
    look(&process).await;
    let secret = bed.secret().await.unwrap();
    let mut webhooks = [Late::start(0, &secret).await, Late::start(SERVER_LAG, &secret).await];
    let mut held: VecDeque<String> = VecDeque::new();
    for second in 0..600 {
        bed.pass(1);
        look(&process).await;
        held.push_back(trusted(&bed).await[0].clone());
        if held.len() > CLIENT_LAG + 1 {
            held.pop_front();
        }
        let secret = bed.secret().await.unwrap();
        for webhook in &mut webhooks {
            webhook.see(secret.clone()).await;
            for held in [held.front(), held.back()] {
                let api_server = client(held.unwrap(), bed.clock.now(), NAMES[0]);
                shake_hands(api_server, &webhook.config).unwrap_or_else(|error| panic!("second {second}: {error}"));
            }
        }
    }
    assert!(bed.authorities().await.1 >= Some(6));
}
