//! What a client that went leaves behind.
//!
//! Flows in: clients seen to go, and Secrets and ConfigMaps whose owner record names nobody. Flows out: an epoch above all its
//! tokens, the removal of its Secret and record as its deletionPolicy says, and that of its ConfigMap.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_api::OAuthClient;
use countersign_api::metadata::oauth_name;
use countersign_api::oauthclient::DeletionPolicy;
use countersign_core::names::{ObjectRef, Uid};
use countersign_core::revocation::DecidedOn;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::OAuthClients;
use super::epochs;
use super::managed::Written;
use super::observe::{in_namespace, written_name};
use super::secret::is_retained;
use super::world::{There, newest_in};
use crate::controller::{Failure, ORPHAN_GRACE};

const REMOVE: &str = "remove what was written for a client that is gone";

impl OAuthClients {
    /// Cleans up after the clients of this name that were seen to go.
    pub(super) async fn bury(&self, key: &ObjectRef, there: &There, now: Timestamp) -> Result<(), Failure> {
        let gone = self.world().gone(key);
        for client in gone {
            self.end_tokens(&client, now).await?;
            if client.spec.deletion_policy == DeletionPolicy::Delete && !is_taken_up(there) {
                self.look_for_secrets(key, &client, now).await?;
                let secrets = self.world().secrets.owned(key);
                // Status may not have been told of the last one.
                let newest = secrets.iter().filter_map(|secret| newest_in(secret)).max();
                self.world().note_former(key, newest, now);
                self.remove_all(&secrets).await?;
            }
            if matches!(there, There::Nothing) {
                let record = self.world().record(key);
                self.records.remove(record.as_deref()).await?;
                let config_maps = self.world().config_maps.owned(key);
                self.remove_all(&config_maps).await?;
            }
            self.world().buried(key, &client);
        }
        if matches!(there, There::Nothing) && !self.access.is_watched() {
            self.world().secrets.forget(key);
        }
        Ok(())
    }

    /// Reads what a client that went may have left, where no watch tells: this process may never have looked.
    async fn look_for_secrets(&self, key: &ObjectRef, client: &OAuthClient, now: Timestamp) -> Result<(), Failure> {
        if self.access.is_watched() {
            return Ok(());
        }
        let authentication = client.spec.authentication.iter();
        let methods = authentication.flat_map(|authentication| &authentication.methods);
        let asked = methods.filter_map(|method| method.secret.as_ref()?.name.as_deref());
        let names: BTreeSet<_> = asked.chain(written_name(client)).map(str::to_owned).collect();
        for name in names.into_iter().chain([oauth_name(&key.name)]) {
            self.look(&in_namespace(key, &name), now).await?;
        }
        Ok(())
    }

    async fn end_tokens(&self, client: &OAuthClient, now: Timestamp) -> Result<(), Failure> {
        let Some(uid) = client.metadata.uid.as_deref().and_then(|uid| Uid::new(uid).ok()) else { return Ok(()) };
        let known = self.snapshot.load().revoked.known_epoch_of(&uid);
        let status = client.status.clone().unwrap_or_default();
        let entries = epochs::bury(&status, known).entries;
        self.revoke((&uid, status.client_id.as_deref()), &entries, &DecidedOn::Deletion, now).await
    }

    /// Removes what carries the owner record of a client that is not there and was not seen to go.
    pub(super) async fn sweep(&self, key: &ObjectRef, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        let (mut secrets, config_maps) = {
            let world = self.world();
            (world.secrets.owned(key), world.config_maps.owned(key))
        };
        secrets.retain(|secret| !is_retained(secret));
        let next = [self.remove_due(&secrets, now).await?, self.remove_due(&config_maps, now).await?];
        Ok(next.into_iter().flatten().min())
    }

    /// Removes those that are old enough; tells when the next one will be.
    async fn remove_due<K: Written>(&self, orphans: &[Arc<K>], now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        let mut next = None;
        for orphan in orphans {
            let due = removable_at(orphan.meta());
            if due <= now {
                self.remove(orphan, REMOVE).await?;
            } else {
                next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
            }
        }
        Ok(next)
    }

    async fn remove_all<K: Written>(&self, objects: &[Arc<K>]) -> Result<(), Failure> {
        for object in objects {
            self.remove(object, REMOVE).await?;
        }
        Ok(())
    }
}

/// Whether another client of this name has its Secret already: what is there is that one's.
fn is_taken_up(there: &There) -> bool {
    let There::Client(client) = there else { return false };
    client.status.as_ref().and_then(|status| status.secret.as_ref()).is_some_and(|secret| secret.issued_at.is_some())
}

fn removable_at(meta: &ObjectMeta) -> Timestamp {
    let created = meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |created| created.0);
    created.saturating_add(ORPHAN_GRACE).unwrap_or(Timestamp::MAX)
}
