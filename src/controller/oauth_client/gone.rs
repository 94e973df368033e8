//! What a client that went leaves behind.
//!
//! Flows in: clients seen to go, and Secrets whose owner record names nobody. Flows out: an epoch above all its tokens,
//! and the removal of its Secret and record as its deletionPolicy says.

use countersign_api::OAuthClient;
use countersign_api::oauthclient::DeletionPolicy;
use countersign_core::names::{ObjectRef, Uid};
use countersign_core::revocation::DecidedOn;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::OAuthClients;
use super::epochs;
use super::secret::is_retained;
use super::world::There;
use crate::controller::{Failure, ORPHAN_GRACE};

const REMOVE: &str = "remove the Secret of a client that is gone";

impl OAuthClients {
    /// Cleans up after the clients of this name that were seen to go.
    pub(super) async fn bury(&self, key: &ObjectRef, there: &There, now: Timestamp) -> Result<(), Failure> {
        let gone = self.world().gone(key);
        for client in gone {
            self.end_tokens(&client, now).await?;
            if client.spec.deletion_policy == DeletionPolicy::Delete && !is_taken_up(there) {
                self.remove_all_owned(key).await?;
            }
            if matches!(there, There::Nothing) {
                let record = self.world().record(key);
                self.records.remove(record.as_deref()).await?;
            }
            self.world().buried(key, &client);
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
        let orphans: Vec<_> = self.world().owned(key).into_iter().filter(|secret| !is_retained(secret)).collect();
        let mut next = None;
        for secret in orphans {
            let due = removable_at(&secret);
            if due <= now {
                self.remove_secret(&secret, REMOVE).await?;
            } else {
                next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
            }
        }
        Ok(next)
    }

    async fn remove_all_owned(&self, key: &ObjectRef) -> Result<(), Failure> {
        let secrets = self.world().owned(key);
        for secret in &secrets {
            self.remove_secret(secret, REMOVE).await?;
        }
        Ok(())
    }
}

/// Whether another client of this name has its Secret already: what is there is that one's.
fn is_taken_up(there: &There) -> bool {
    let There::Client(client) = there else { return false };
    client.status.as_ref().and_then(|status| status.secret.as_ref()).is_some_and(|secret| secret.issued_at.is_some())
}

fn removable_at(secret: &Secret) -> Timestamp {
    let created = secret.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |created| created.0);
    created.saturating_add(ORPHAN_GRACE).unwrap_or(Timestamp::MAX)
}
