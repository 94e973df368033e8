//! Puts together what a decision about one client rests on.
//!
//! Flows in: the object, the snapshot, the Secrets, ConfigMaps and records this kind watches; one that does not carry our label,
//! or is about to be written, is read afresh. Flows out: [`Observed`]. Nothing is written here.

use std::sync::Arc;

use countersign_api::OAuthClient;
use countersign_api::metadata;
use countersign_core::client::SecretMode;
use countersign_core::directory::ClientView;
use countersign_core::keyring::DEFAULT_RING;
use countersign_core::names::{ObjectName, ObjectRef};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::OAuthClients;
use super::config_map;
use super::credentials::{CREDENTIALS_READY, Kept, SECRET_NOT_OWNED};
use super::managed::Written;
use super::plan::{Former, Observed};
use super::world::World;
use crate::controller::conditions::find;
use crate::controller::{During, Failure, Urgency};
use crate::objects::{Key, layout};
use crate::snapshot::Snapshot;

/// What there is to decide on.
pub(super) enum Look {
    At(Box<Observed>),
    /// The Directory does not yet have this version of the object; it will say so.
    Nothing,
    /// Secrets that are not watched are read no faster than this.
    Later(Timestamp),
}

impl OAuthClients {
    /// Reads what is not watched, if that is not asked too often.
    pub(super) async fn observe(
        &self,
        key: &ObjectRef,
        object: Arc<OAuthClient>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Look, Failure> {
        let Some(view) = view_of(key, &object, snapshot) else { return Ok(Look::Nothing) };
        if is_polled(&view, &object)
            && let Err(later) = self.reads.ask(Urgency::Ready, now)
        {
            return Ok(Look::Later(later));
        }
        let grants = snapshot.directory.grants(&view);
        let granted = grants.granted.into_iter().map(|access| (access.audience, access.scopes)).collect();
        let refused = grants.refused.into_iter().map(|no| (no.audience, no.scope.to_string(), no.reason)).collect();
        let (former, kept_record) = {
            let world = self.world();
            (former(key, &object, &view, &world), world.record(key))
        };
        let (secret, config_map) = (self.secret(key, &view).await?, self.config_map(key, &view).await?);
        let status = object.status.as_ref();
        let newest = status.and_then(|status| status.secret.as_ref()?.issued_at).unwrap_or(now);
        let uid = &view.object.uid;
        let (usage, used_at_issuer) = self.replicas.usage(uid, newest, now);
        let signing_key = view.accepted().map(|client| &client.tokens.signing_key);
        Ok(Look::At(Box::new(Observed {
            granted,
            refused,
            refused_count: grants.refused_count,
            signing_key_exists: signing_key.is_none_or(|name| exists(name, snapshot)),
            // The revocations', unless what this process saw in status is as high: that one tokens may carry, though status
            // was lost and the entries have ended.
            known_epoch: snapshot.revoked.known_epoch_of(uid).in_use(view.object.epoch),
            record: self.layout.owner_record(key),
            secret,
            config_map,
            former,
            rotate_at: metadata::rotate_at(&object.metadata),
            usage,
            used_at_issuer,
            heals: self.heals(key),
            kept_record: kept_record.map(|record| Kept { until: layout::until(&record.metadata).unwrap_or_default() }),
            view,
            object,
        })))
    }

    /// The Secret under the name the spec says: as watched, else as it lies there.
    async fn secret(&self, key: &ObjectRef, view: &ClientView) -> Result<Option<Arc<Secret>>, Failure> {
        let Some(settings) = view.accepted().and_then(|client| client.secret()) else { return Ok(None) };
        let place = in_namespace(key, settings.name.as_str());
        let known = (settings.mode != SecretMode::Reference).then(|| self.world().secrets.get(&place)).flatten();
        match known {
            Some(known) => Ok(Some(known)),
            None => self.read(&place).await,
        }
    }

    /// The ConfigMap of a client without a Secret: as watched, else as it lies there.
    async fn config_map(&self, key: &ObjectRef, view: &ClientView) -> Result<Option<Arc<ConfigMap>>, Failure> {
        if view.accepted().is_none_or(|client| client.secret().is_some()) {
            return Ok(None);
        }
        let place = in_namespace(key, &config_map::name(key));
        let known = self.world().config_maps.get(&place);
        match known {
            Some(known) => Ok(Some(known)),
            None => self.read(&place).await,
        }
    }

    /// The object as it is at this moment, managedFields and all.
    pub(super) async fn read<K: Written>(&self, key: &Key) -> Result<Option<Arc<K>>, Failure> {
        let object = self.writer.get::<K>(key).await.during("read what is written for the client")?;
        Ok(object.map(Arc::new))
    }
}

fn view_of(key: &ObjectRef, object: &OAuthClient, snapshot: &Snapshot) -> Option<Arc<ClientView>> {
    let view = snapshot.directory.client_of(key)?;
    let same = object.metadata.generation.unwrap_or_default() == view.object.generation
        && object.metadata.uid.as_deref() == Some(view.object.uid.as_str())
        && metadata::is_paused(&object.metadata) == view.object.paused;
    same.then(|| Arc::clone(view))
}

/// Whether each look reads what is not ours, and so not watched.
fn is_polled(view: &ClientView, object: &OAuthClient) -> bool {
    let reference = view.accepted().and_then(|client| client.secret()).map(|settings| settings.mode);
    let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let foreign = find(conditions, CREDENTIALS_READY).is_some_and(|condition| {
        [SECRET_NOT_OWNED, config_map::CONFIG_MAP_NOT_OWNED].contains(&condition.reason.as_str())
    });
    reference == Some(SecretMode::Reference) || foreign
}

/// What was written for the client as it was before: with a Secret, the one under the name status says, where the spec says
/// another, and ConfigMaps; without one, Secrets.
fn former(key: &ObjectRef, object: &OAuthClient, view: &ClientView, world: &World) -> Former {
    let Some(client) = view.accepted() else { return Former::default() };
    if client.secret().is_none() {
        return Former { secrets: world.secrets.owned(key), config_maps: Vec::new() };
    }
    let status = object.status.as_ref().and_then(|status| status.secret.as_ref());
    let name = status.and_then(|secret| secret.name.as_deref());
    let secret = name.and_then(|name| world.secrets.get(&in_namespace(key, name)));
    Former { secrets: secret.into_iter().collect(), config_maps: world.config_maps.owned(key) }
}

/// The default ring is made by the controller itself.
fn exists(name: &ObjectName, snapshot: &Snapshot) -> bool {
    name.as_str() == DEFAULT_RING || snapshot.directory.rings().any(|ring| ring == name)
}

pub(super) fn in_namespace(key: &ObjectRef, name: &str) -> Key {
    Key::namespaced(key.namespace.as_str(), name)
}
