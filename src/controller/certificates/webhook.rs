//! Whom the API server trusts when it asks the admission webhooks.
//!
//! Flows in: the `ValidatingWebhookConfiguration` and the `MutatingWebhookConfiguration` somebody installed under one name, the
//! bundle. Flows out: their `caBundle`, by a field manager of this one's own: whoever wrote the rest keeps it. They hold a new
//! authority before that signs, as every client does.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::certificates::Bundle;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::ResourceExt as _;
use serde_json::json;

use super::Certificates;
use crate::controller::{During, Failure};
use crate::objects::{Key, Object};

/// The configurations there are to look after.
#[derive(Default)]
pub(super) struct Webhooks {
    validating: Option<ValidatingWebhookConfiguration>,
    mutating: Option<MutatingWebhookConfiguration>,
}

/// A configuration of webhooks.
trait Configuration: Object {
    /// Each webhook's name, and how it is asked.
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)>;
}

// === impl Webhooks ===

impl Webhooks {
    /// Whether all of them hold the authority that is to sign next.
    pub(super) fn hold_newest(&self, bundle: &Bundle) -> bool {
        bundle.newest().is_none_or(|newest| {
            let holds = |held: &str| held.contains(&newest.certificate);
            self.validating.iter().all(|each| trusts(each, holds))
                && self.mutating.iter().all(|each| trusts(each, holds))
        })
    }
}

impl Certificates {
    /// The configurations that are there, if there are any to look after.
    pub(super) async fn webhooks(&self) -> Result<Webhooks, Failure> {
        const READ: &str = "read the configurations of the admission webhooks";
        let Some(name) = &self.parts.settings.webhook else { return Ok(Webhooks::default()) };
        let (writer, key) = (&self.parts.writer, Key::cluster(name));
        Ok(Webhooks {
            validating: writer.get(&key).await.during(READ)?,
            mutating: writer.get(&key).await.during(READ)?,
        })
    }

    /// Writes the bundle into the configurations that differ; `true`: something was written.
    pub(super) async fn hand_to_webhooks(&self, webhooks: &Webhooks, bundle: &Bundle) -> Result<bool, Failure> {
        let Webhooks { validating, mutating } = webhooks;
        let validating = self.hand_to(validating.as_ref(), bundle).await?;
        let mutating = self.hand_to(mutating.as_ref(), bundle).await?;
        Ok(validating || mutating)
    }

    async fn hand_to<C: Configuration>(&self, configuration: Option<&C>, bundle: &Bundle) -> Result<bool, Failure> {
        let certificates = bundle.certificates();
        let Some(configuration) = configuration.filter(|each| !trusts(*each, |held| held == certificates)) else {
            return Ok(false);
        };
        let ca = BASE64_STANDARD.encode(&certificates);
        let webhooks = configuration.webhooks().into_iter();
        let webhooks: Vec<_> =
            webhooks.map(|(name, _)| json!({ "name": name, "clientConfig": { "caBundle": ca } })).collect();
        let metadata = json!({ "resourceVersion": configuration.resource_version() });
        let intent = json!({ "metadata": metadata, "webhooks": webhooks });
        let key = Key::of(configuration.meta());
        let written = self.parts.writer.apply::<C>(&key, &intent).await;
        written.during("write whom the API server trusts at the admission webhooks")?;
        tracing::info!(configuration = %key, "the API server is told whom to trust at the admission webhooks");
        Ok(true)
    }
}

// === impl Configuration ===

impl Configuration for ValidatingWebhookConfiguration {
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|each| (each.name.as_str(), &each.client_config)).collect()
    }
}

impl Configuration for MutatingWebhookConfiguration {
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|each| (each.name.as_str(), &each.client_config)).collect()
    }
}

fn trusts<C: Configuration>(configuration: &C, is: impl Fn(&str) -> bool) -> bool {
    configuration.webhooks().into_iter().all(|(_, config)| {
        let held = config.ca_bundle.as_ref();
        held.and_then(|held| std::str::from_utf8(&held.0).ok()).is_some_and(&is)
    })
}
