//! Puts together what a decision about one client rests on.
//!
//! Flows in: the object, the snapshot, the Secrets, ConfigMaps and records this kind watches; one that does not carry our label,
//! or is about to be written, is read afresh. Flows out: [`Observed`]. Nothing is written here.

use std::sync::Arc;
use std::time::Duration;

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
use super::credentials::{CREDENTIALS_READY, Kept, POLL, SECRET_NOT_OWNED};
use super::managed::Written;
use super::plan::{Former, Observed};
use crate::controller::conditions::find;
use crate::controller::{During, Failure, Urgency};
use crate::objects::{Key, layout};
use crate::snapshot::Snapshot;

/// What there is to decide on.
pub(super) enum Look {
    At(Box<Observed>),
    /// The Directory does not yet have this version of the object; it will say so.
    Nothing,
    /// All but the Secret: those that are not watched are read no faster than this.
    Later(Box<Observed>, Timestamp),
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
        let mut sight = self.sight(key, &view, &object, now);
        let later = sight.urgency().and_then(|urgency| self.reads.ask(urgency, now).err());
        if later.is_some() {
            sight = Sight::Nothing(None);
        }
        let grants = snapshot.directory.grants(&view);
        let granted = grants.granted.into_iter().map(|access| (access.audience, access.scopes)).collect();
        let refused = grants.refused.into_iter().map(|no| (no.audience, no.scope.to_string(), no.reason)).collect();
        let former = self.former(key, &object, &view, now).await?;
        let (kept_record, former_issued_at) = {
            let world = self.world();
            (world.record(key), world.former_issued_at(key))
        };
        let (secret, denied) = match self.secret(sight, now).await {
            Ok(secret) => (secret, None),
            Err(failure) => match self.access.denied(&key.namespace, &failure) {
                Some(finding) => (None, Some(finding)),
                None => return Err(failure),
            },
        };
        let config_map = if later.is_some() { None } else { self.config_map(key, &view).await? };
        let status = object.status.as_ref();
        let newest = status.and_then(|status| status.secret.as_ref()?.issued_at).unwrap_or(now);
        let uid = &view.object.uid;
        let (usage, used_at_issuer) = self.replicas.usage(uid, newest, now);
        let signing_key = view.accepted().map(|client| &client.tokens.signing_key);
        let observed = Box::new(Observed {
            granted,
            refused,
            refused_count: grants.refused_count,
            signing_key_exists: signing_key.is_none_or(|name| exists(name, snapshot)),
            // The revocations', unless what this process saw in status is as high: that one tokens may carry, though status
            // was lost and the entries have ended.
            known_epoch: snapshot.revoked.known_epoch_of(uid).in_use(view.object.epoch),
            record: self.layout.owner_record(key),
            secret,
            denied,
            config_map,
            former,
            former_issued_at,
            rotate_at: metadata::rotate_at(&object.metadata),
            usage,
            used_at_issuer,
            heals: self.heals(key),
            kept_record: kept_record.map(|record| Kept { until: layout::until(&record.metadata).unwrap_or_default() }),
            view,
            object,
        });
        Ok(match later {
            Some(later) => Look::Later(observed, later),
            None => Look::At(observed),
        })
    }

    /// What is known of the Secret under the name the spec says.
    fn sight(&self, key: &ObjectRef, view: &ClientView, object: &OAuthClient, now: Timestamp) -> Sight {
        let Some(settings) = view.accepted().and_then(|client| client.secret()) else {
            // Its ConfigMap is read instead, where that is not watched since it is somebody else's.
            return Sight::Nothing(said(object, config_map::CONFIG_MAP_NOT_OWNED).then_some(Urgency::Ready));
        };
        let place = in_namespace(key, settings.name.as_str());
        let world = self.world();
        let known = world.secrets.get(&place).filter(|_| settings.mode != SecretMode::Reference);
        let Some(reread) = self.access.reread else {
            let polled = settings.mode == SecretMode::Reference || said(object, SECRET_NOT_OWNED);
            return known.map_or(Sight::Unread(place, polled.then_some(Urgency::Ready)), Sight::Known);
        };
        let fresh = world.secrets.looked_at(&place).is_some_and(|at| now < after(at, reread));
        match known.filter(|_| fresh) {
            Some(known) => Sight::Known(known),
            // Whoever waits for credentials comes before those that are only looked after.
            None => Sight::Unread(place, Some(if is_ready(object) { Urgency::Report } else { Urgency::Ready })),
        }
    }

    async fn secret(&self, sight: Sight, now: Timestamp) -> Result<Option<Arc<Secret>>, Failure> {
        match sight {
            Sight::Nothing(_) => Ok(None),
            Sight::Known(known) => Ok(Some(known)),
            Sight::Unread(place, _) => self.look(&place, now).await,
        }
    }

    /// The Secret as it is at this moment. Where none is watched, it is noted as a watch would.
    pub(super) async fn look(&self, key: &Key, now: Timestamp) -> Result<Option<Arc<Secret>>, Failure> {
        let secret = self.read::<Secret>(key).await?;
        if !self.access.is_watched() {
            self.world().looked(key, secret.as_ref(), now);
        }
        Ok(secret)
    }

    /// What was written for the client as it was before: with a Secret, the one under the name status says, where the spec says
    /// another, and ConfigMaps; without one, Secrets.
    async fn former(
        &self,
        key: &ObjectRef,
        object: &OAuthClient,
        view: &ClientView,
        now: Timestamp,
    ) -> Result<Former, Failure> {
        let Some(client) = view.accepted() else { return Ok(Former::default()) };
        let place = written_name(object).map(|name| in_namespace(key, name));
        let settings = client.secret();
        let moved =
            place.as_ref().filter(|place| settings.is_none_or(|settings| *settings.name.as_str() != *place.name));
        if let Some(place) = moved.filter(|_| !self.access.is_watched()) {
            match self.look(place, now).await {
                Err(failure) if self.access.denied(&key.namespace, &failure).is_some() => {}
                looked => drop(looked?),
            }
        }
        let world = self.world();
        if settings.is_none() {
            return Ok(Former { secrets: world.secrets.owned(key), config_maps: Vec::new() });
        }
        let secret = place.and_then(|place| world.secrets.get(&place));
        Ok(Former { secrets: secret.into_iter().collect(), config_maps: world.config_maps.owned(key) })
    }

    /// When to try again what RBAC refused.
    pub(super) fn retry_at(&self, now: Timestamp) -> Timestamp {
        after(now, self.access.reread.map_or(POLL, |reread| reread.min(POLL)))
    }

    /// When a Secret that is not watched is to be read again.
    pub(super) fn reread_at(&self, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
        if observed.denied.is_some() {
            return Some(self.retry_at(now));
        }
        let (reread, settings) = (self.access.reread?, observed.settings()?);
        let place = in_namespace(&observed.view.object.object, settings.name.as_str());
        self.world().secrets.looked_at(&place).map(|at| after(at, reread))
    }

    /// The ConfigMap of a client without a Secret: as watched, else as it lies there.
    async fn config_map(&self, key: &ObjectRef, view: &ClientView) -> Result<Option<Arc<ConfigMap>>, Failure> {
        if view.accepted().is_none_or(|client| client.secret().is_some()) {
            return Ok(None);
        }
        let place = in_namespace(key, &metadata::oauth_name(&key.name));
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

/// What is known of a Secret before it is read.
enum Sight {
    /// The client has none, or it is not read now; what is read instead is paced with this urgency.
    Nothing(Option<Urgency>),
    Known(Arc<Secret>),
    /// It has to be read, if that is a read that is paced with this urgency.
    Unread(Key, Option<Urgency>),
}

impl Sight {
    fn urgency(&self) -> Option<Urgency> {
        match self {
            Self::Nothing(urgency) | Self::Unread(_, urgency) => *urgency,
            Self::Known(_) => None,
        }
    }
}

fn after(at: Timestamp, period: Duration) -> Timestamp {
    at.saturating_add(period).unwrap_or(Timestamp::MAX)
}

fn view_of(key: &ObjectRef, object: &OAuthClient, snapshot: &Snapshot) -> Option<Arc<ClientView>> {
    let view = snapshot.directory.client_of(key)?;
    let same = object.metadata.generation.unwrap_or_default() == view.object.generation
        && object.metadata.uid.as_deref() == Some(view.object.uid.as_str())
        && metadata::is_paused(&object.metadata) == view.object.paused;
    same.then(|| Arc::clone(view))
}

/// Whether this is what status says of the credentials.
fn said(object: &OAuthClient, reason: &str) -> bool {
    let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    find(conditions, CREDENTIALS_READY).is_some_and(|condition| condition.reason == reason)
}

/// Whether status says that the client as it is has its credentials.
fn is_ready(object: &OAuthClient) -> bool {
    let Some(status) = &object.status else { return false };
    let ready = find(&status.conditions, CREDENTIALS_READY).is_some_and(|condition| condition.status == "True");
    ready && status.observed_generation == object.metadata.generation
}

/// The name of the Secret that was written last.
pub(super) fn written_name(object: &OAuthClient) -> Option<&str> {
    object.status.as_ref()?.secret.as_ref()?.name.as_deref()
}

/// The default ring is made by the controller itself.
fn exists(name: &ObjectName, snapshot: &Snapshot) -> bool {
    name.as_str() == DEFAULT_RING || snapshot.directory.rings().any(|ring| ring == name)
}

pub(super) fn in_namespace(key: &ObjectRef, name: &str) -> Key {
    Key::namespaced(key.namespace.as_str(), name)
}
