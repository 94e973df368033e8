//! Carries a plan out, up to status.
//!
//! ```text
//! revocations ─► record of a value not ours ─► Secret or ConfigMap ─► what the client no longer uses
//! ```
//! In this order, so that a stop after any of them leaves less access than planned, never more, and the next look goes on.
//! Flows in: a plan, the key that signs. Flows out: writes, each on the version it was decided on, and Events about the
//! Secret or ConfigMap.

use std::sync::Arc;

use countersign_api::metadata::oauth_name;
use countersign_core::client::Client;
use countersign_core::names::{Audience, ClientId, ObjectRef, Uid};
use countersign_core::revocation::{DecidedOn, Entry};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use super::OAuthClients;
use super::config_map::ConfigChange;
use super::credentials::{How, RecordChange, SecretChange, Value};
use super::epochs;
use super::managed::Written;
use super::plan::{Observed, Plan};
use crate::controller::{During, Failure};
use crate::objects::events::{Event, Severity};
use crate::objects::{Class, Key, Preconditions};

const WRITE: &str = "write the client's Secret";
const WRITE_CONFIG_MAP: &str = "write the client's ConfigMap";
/// How the names of our field managers begin.
const OURS: &str = "countersign/";

/// The audit stream's line about all tokens of a client, or those for an audience. The fields are an interface (docs/reference).
fn audit(client: Option<&str>, audience: Option<&Audience>, epoch: u64) {
    let audience = audience.map(Audience::as_str);
    tracing::info!(target: "audit", event = "revoked", client, audience, epoch, "tokens of a client");
}

impl OAuthClients {
    /// The first step, so that whatever fails later, what was taken away is gone.
    pub(super) async fn end_epochs(&self, observed: &Observed, plan: &Plan, now: Timestamp) -> Result<(), Failure> {
        let client = &observed.view.object;
        let id = client.client_id.as_ref().map(ClientId::as_str);
        self.revoke((&client.uid, id), &plan.revoke, &epochs::decided_on(&observed.object), now).await
    }

    pub(super) async fn execute(&self, observed: &Observed, plan: &Plan, now: Timestamp) -> Result<(), Failure> {
        let client = &observed.view.object;
        let Some(id) = &client.client_id else { return Ok(()) };
        self.record(&client.object, id, &plan.record).await?;
        self.write_secret(observed, plan, id, now).await?;
        self.write_config_map(observed, plan, id, now).await?;
        for former in &plan.leave.secrets {
            self.remove(former, "remove a Secret the client no longer uses").await?;
        }
        for former in &plan.leave.config_maps {
            self.remove(former, "remove a ConfigMap the client no longer uses").await?;
        }
        Ok(())
    }

    /// Writes a client's new epochs, each with a line in the audit stream.
    pub(super) async fn revoke(
        &self,
        (uid, id): (&Uid, Option<&str>),
        epochs: &[(Option<Audience>, u64)],
        decided_on: &DecidedOn,
        now: Timestamp,
    ) -> Result<(), Failure> {
        for (audience, epoch) in epochs {
            let entry = Entry::client(uid.clone(), audience.clone(), *epoch, now, &self.timings);
            self.write_entry(entry.decided_on(decided_on.clone())).await?;
            audit(id, audience.as_ref(), *epoch);
        }
        Ok(())
    }

    async fn write_entry(&self, entry: Entry) -> Result<(), Failure> {
        if !self.writer.may_write() {
            return Err(crate::controller::WriteError::NotLeader).during("revoke a client's tokens");
        }
        self.sink.revoke(entry).await.map_err(|source| Failure {
            class: Class::Transient,
            category: "revocation",
            action: "revoke a client's tokens",
            source: Box::new(source),
        })
    }

    async fn record(&self, client: &ObjectRef, id: &ClientId, change: &RecordChange) -> Result<(), Failure> {
        let existing = self.world().record(client);
        match change {
            RecordChange::Keep => Ok(()),
            RecordChange::Set { value, until } => {
                self.records.set(client, id, value, *until, existing.as_deref()).await
            }
            RecordChange::Remove => self.records.remove(existing.as_deref()).await,
        }
    }

    async fn write_secret(
        &self,
        observed: &Observed,
        plan: &Plan,
        id: &ClientId,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let SecretChange::Write { how, base, value } = &plan.secret else { return Ok(()) };
        let connection = self.connections.now();
        let wanted = observed.wanted(&connection);
        let (Some(wanted), Ok(spec)) = (wanted, &observed.view.object.spec) else { return Ok(()) };
        let text = match value {
            Value::Keep(text) => text.clone(),
            Value::Sign { version, issued_at } => self.signer.sign(id, *version, *issued_at).await?,
        };
        let secret = wanted.build(base.as_deref(), &text);
        let written = self.put(*how, base.as_ref(), secret, WRITE).await?;
        if !self.access.is_watched() {
            self.world().looked(&Key::of(&written.metadata), Some(&Arc::new(written)), now);
        } else if let Some(base) = base {
            self.world().wrote(&**base, written);
        }
        self.tell(observed, plan, spec, now).await;
        Ok(())
    }

    /// Writes a managed object as was decided; `base` is what stands there.
    async fn put<K: Written>(
        &self,
        how: How,
        base: Option<&Arc<K>>,
        mut object: K,
        action: &'static str,
    ) -> Result<K, Failure> {
        match how {
            How::Update => return self.writer.replace(&object).await.during(action),
            How::Create => {}
            How::Recreate => {
                if let Some(base) = base {
                    self.remove(base, action).await?;
                }
                make_new(object.meta_mut());
            }
        }
        self.writer.create(&object).await.during(action)
    }

    async fn write_config_map(
        &self,
        observed: &Observed,
        plan: &Plan,
        id: &ClientId,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let ConfigChange::Write { how, base } = &plan.config_map else { return Ok(()) };
        let map = observed.wanted_config_map(id, &self.connections.now()).build(base.as_deref());
        let written = self.put(*how, base.as_ref(), map, WRITE_CONFIG_MAP).await?;
        if let Some(base) = base {
            self.world().wrote(&**base, written);
        }
        if plan.heals {
            let (name, before) = (oauth_name(&observed.view.object.object.name), observed.config_map.as_deref());
            let note = self.healed(observed, before.map(|map| &map.metadata), now);
            let note = format!("{note} ConfigMap {name}; it was put back");
            self.writer.event(Event::about(&*observed.object, Severity::Warning, "ConfigMapRestored", note)).await;
        }
        Ok(())
    }

    /// Removes the object exactly as it was seen.
    pub(super) async fn remove<K: Written>(&self, object: &Arc<K>, action: &'static str) -> Result<(), Failure> {
        let exactly = Preconditions::exactly(object.meta());
        self.writer.delete::<K>(&Key::of(object.meta()), &exactly).await.during(action)?;
        self.world().deleted(&**object);
        Ok(())
    }

    /// Notes that something was put back; says who did what.
    fn healed(&self, observed: &Observed, before: Option<&ObjectMeta>, now: Timestamp) -> String {
        let writer = before.and_then(last_writer);
        let by = writer.clone().unwrap_or_else(|| "someone".to_owned());
        self.heal(&observed.view.object.object, writer, now);
        format!("{by} {}", if before.is_some() { "changed" } else { "deleted" })
    }

    /// One Event for each value written, naming whoever made it necessary.
    async fn tell(&self, observed: &Observed, plan: &Plan, spec: &Client, now: Timestamp) {
        let name = spec.secret().map_or("", |settings| settings.name.as_str());
        let signed = matches!(plan.secret, SecretChange::Write { value: Value::Sign { .. }, .. });
        let (severity, reason, note) = if plan.heals {
            let told = self.healed(observed, observed.secret.as_deref().map(|secret| &secret.metadata), now);
            let value = if signed { " with a fresh value" } else { "" };
            (Severity::Warning, "SecretRestored", format!("{told} Secret {name}; it was put back{value}"))
        } else if !signed {
            return;
        } else if observed.secret.is_some() {
            (Severity::Normal, "SecretRotated", format!("Secret {name} holds a new value"))
        } else {
            (Severity::Normal, "SecretCreated", format!("Secret {name} holds the credentials"))
        };
        self.writer.event(Event::about(&*observed.object, severity, reason, note)).await;
    }
}

/// Has the object created anew.
fn make_new(meta: &mut ObjectMeta) {
    meta.resource_version = None;
    meta.uid = None;
    meta.creation_timestamp = None;
    meta.finalizers = None;
}

/// Who wrote the object last, by the managedFields of an object read directly; `None` where they do not tell: whoever only
/// takes something away leaves no trace in them, and then the last entry is our own.
fn last_writer(meta: &ObjectMeta) -> Option<String> {
    let ours = |entry: &ManagedFieldsEntry| entry.manager.as_ref().is_some_and(|name| name.starts_with(OURS));
    let entries = meta.managed_fields.iter().flatten();
    let newest = entries.max_by_key(|entry| (entry.time.as_ref().map(|time| time.0), !ours(entry)))?;
    newest.manager.clone().filter(|_| !ours(newest))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::*;

    fn written(entries: &[serde_json::Value]) -> Secret {
        serde_json::from_value(serde_json::json!({"metadata": {"managedFields": entries}})).unwrap()
    }

    #[test]
    fn the_last_writer_is_somebody_else_or_nobody_can_tell() {
        let entry = |manager, second| {
            let time = format!("2026-01-01T00:00:0{second}Z");
            serde_json::json!({"manager": manager, "operation": "Update", "time": time})
        };
        let us = |second| entry("countersign/oauth-client", second);
        for (entries, last) in [
            (vec![us(1), entry("kubectl-edit", 2)], Some("kubectl-edit")),
            (vec![entry("kubectl-edit", 1), us(1)], Some("kubectl-edit")),
            (vec![entry("argocd", 1), us(2)], None),
            (vec![us(1)], None),
            (vec![], None),
        ] {
            assert_eq!(last_writer(&written(&entries).metadata).as_deref(), last, "{entries:?}");
        }
    }
}
