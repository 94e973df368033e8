//! `countersign accept-restore`: a person says that a restored backup is meant to be.
//!
//! Flows in: the SigningKeys that show `RollbackDetected`. Flows out: on each the annotation that accepts what was found until
//! now, by the API server's time or that of the finding, whichever is later: this machine's clock may be behind.

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign_api::SigningKey;
use countersign_api::metadata::ACCEPT_RESTORE;
use countersign_core::names::{IssuerName, Namespace};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::options::Connection;
use super::out::{self, Closed};
use crate::objects::{Key, Objects};
use crate::runtime::clock::Clock;

const ROLLBACK: &str = "RollbackDetected";

/// Accept a restored backup: ends the condition `RollbackDetected`
///
/// After a restore from an old backup running replicas keep what they know better: keys,
/// revoked keys and epochs never shrink. SigningKeys show `RollbackDetected` until a person has
/// looked and accepts it with this command. Nothing is undone by it:
///
///   countersign accept-restore --system-namespace countersign-system
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct AcceptRestore {
    /// Name of the installation: SigningKeys of others are left alone
    #[arg(long, env = "COUNTERSIGN_ISSUER_NAME", default_value = countersign_api::DEFAULT_ISSUER, value_name = "NAME")]
    issuer_name: IssuerName,
    /// Namespace of the controller, where the SigningKeys are
    #[arg(long, env = "COUNTERSIGN_SYSTEM_NAMESPACE", default_value = "countersign-system", value_name = "NAMESPACE")]
    system_namespace: Namespace,
    #[command(flatten)]
    connection: Connection,
}

impl AcceptRestore {
    /// Annotates each SigningKey with a roll-back; fine where there is none.
    pub(crate) async fn run(self) -> Result<()> {
        let clock = Clock::system();
        let objects = self.connection.objects(&clock, "").await?;
        let Objects::Kube(store) = &objects else { bail!("there is nothing to accept in a folder") };
        let keys: Api<SigningKey> = Api::namespaced(store.client().clone(), self.system_namespace.as_str());
        let keys = keys.list(&ListParams::default()).await.context("cannot list the SigningKeys")?;
        let ours = keys.iter().filter(|key| key.spec.issuer == self.issuer_name.as_str());
        let found: Vec<_> = ours.filter_map(|key| Some((key.name_any(), accepted_until(key, clock.now())?))).collect();
        if found.is_empty() {
            say(&format!("no SigningKey in {} shows {ROLLBACK}: there is nothing to accept", self.system_namespace))?;
        }
        let objects = objects.managed_by("countersign/accept-restore");
        for (name, until) in found {
            let intent = json!({"metadata": {"annotations": {ACCEPT_RESTORE: until.to_string()}}});
            let key = Key::namespaced(self.system_namespace.as_str(), &name);
            objects.apply::<SigningKey>(&key, &intent).await.with_context(|| format!("cannot annotate {key}"))?;
            say(&format!("SigningKey {name}: roll-backs found until {until} are accepted"))?;
        }
        Ok(())
    }
}

/// A reader who has seen enough leaves no key unaccepted.
fn say(line: &str) -> Result<()> {
    out::print(line).or_else(|error| if error.is::<Closed>() { Ok(()) } else { Err(error) })
}

/// Until when to accept; `None` where nothing was found.
fn accepted_until(key: &SigningKey, now: Timestamp) -> Option<Timestamp> {
    let conditions = &key.status.as_ref()?.conditions;
    let found = conditions.iter().find(|one| one.type_ == ROLLBACK && one.status == "True")?;
    Some(now.max(found.last_transition_time.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(status: &str) -> SigningKey {
        serde_json::from_value(json!({
            "apiVersion": "countersign.dev/v1alpha1", "kind": "SigningKey", "metadata": {"name": "default"}, "spec": {},
            "status": {"conditions": [{"type": ROLLBACK, "status": status, "reason": "OlderThanRemembered", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn what_was_found_is_accepted_also_by_a_clock_that_is_behind() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let accepted = |status, now| accepted_until(&key(status), at(now));
        assert_eq!(accepted("True", "2026-01-02T00:00:00Z"), Some(at("2026-01-02T00:00:00Z")));
        assert_eq!(accepted("True", "2025-12-31T00:00:00Z"), Some(at("2026-01-01T00:00:00Z")));
        assert_eq!(accepted("False", "2026-01-02T00:00:00Z"), None);
    }
}
