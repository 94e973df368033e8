//! Whom the API server trusts when it asks the admission webhook.
//!
//! Flows in: the `ValidatingWebhookConfiguration` somebody installed, the bundle. Flows out: its `caBundle`, by a field manager of
//! this one's own: whoever wrote the rest keeps it. It holds a new authority before that signs, as every client does.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::certificates::Bundle;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::json;

use super::Certificates;
use crate::controller::{During, Failure};
use crate::objects::Key;

impl Certificates {
    /// The webhook's configuration, if there is one to look after.
    pub(super) async fn webhook(&self) -> Result<Option<ValidatingWebhookConfiguration>, Failure> {
        let Some(name) = &self.parts.settings.webhook else { return Ok(None) };
        self.parts.writer.get(&Key::cluster(name)).await.during("read the configuration of the admission webhook")
    }

    /// Writes the bundle into the configuration, where it differs; `true`: it was written.
    pub(super) async fn hand_to_webhook(
        &self,
        configuration: &ValidatingWebhookConfiguration,
        bundle: &Bundle,
    ) -> Result<bool, Failure> {
        let certificates = bundle.certificates();
        if trusts(configuration, |held| held == certificates) {
            return Ok(false);
        }
        let ca = BASE64_STANDARD.encode(&certificates);
        let webhooks = configuration.webhooks.iter().flatten();
        let webhooks: Vec<_> =
            webhooks.map(|webhook| json!({ "name": webhook.name, "clientConfig": { "caBundle": ca } })).collect();
        let metadata = json!({ "resourceVersion": configuration.metadata.resource_version });
        let intent = json!({ "metadata": metadata, "webhooks": webhooks });
        let key = Key::of(&configuration.metadata);
        let written = self.parts.writer.apply::<ValidatingWebhookConfiguration>(&key, &intent).await;
        written.during("write whom the API server trusts at the admission webhook")?;
        tracing::info!(configuration = %key, "the API server is told whom to trust at the admission webhook");
        Ok(true)
    }
}

/// Whether the configuration holds the authority that is to sign next.
pub(super) fn holds_newest(configuration: &ValidatingWebhookConfiguration, bundle: &Bundle) -> bool {
    bundle.newest().is_none_or(|newest| trusts(configuration, |held| held.contains(&newest.certificate)))
}

fn trusts(configuration: &ValidatingWebhookConfiguration, is: impl Fn(&str) -> bool) -> bool {
    configuration.webhooks.iter().flatten().all(|webhook| {
        let held = webhook.client_config.ca_bundle.as_ref();
        held.and_then(|held| std::str::from_utf8(&held.0).ok()).is_some_and(&is)
    })
}
