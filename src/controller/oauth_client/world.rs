//! What the clients' kind sees of the store.
//!
//! Flows in: watches of each OAuthClient, of the Secrets and ConfigMaps written for them, and of the records of values that
//! are not ours.
//! Flows out: the newest of each, the clients that went and have not been cleaned up after, when their values were issued, and
//! which client to look at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use countersign_api::OAuthClient;
use countersign_core::client_secret::{Presented, SecretState};
use countersign_core::names::ObjectRef;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;

use super::managed::{Managed, Written};
use crate::controller::table::{Step, Table};
use crate::objects::layout::Layout;
use crate::objects::{Change, Key};

/// A change of one of the watches.
pub(super) enum Seen {
    Client(Box<Change<OAuthClient>>),
    Secret(Change<Secret>),
    ConfigMap(Change<ConfigMap>),
    Record(Change<Secret>),
}

/// What is there under a client's name.
pub(super) enum There {
    Client(Arc<OAuthClient>),
    /// Nobody can tell what it wants: it is left as it is.
    Malformed,
    Nothing,
}

pub(super) struct World {
    layout: Layout,
    clients: Table<OAuthClient>,
    pub(super) secrets: Managed<Secret>,
    pub(super) config_maps: Managed<ConfigMap>,
    records: Table<Secret>,
    gone: HashMap<ObjectRef, Vec<(Timestamp, Arc<OAuthClient>)>>,
    /// When the newest value of those clients of a name that went was issued, where that was lately.
    former_issued_at: HashMap<ObjectRef, Timestamp>,
}

/// How long a client that went is remembered by a process that does not lead, and the time its values reached by any: longer than a
/// takeover lasts, and than clocks are apart.
const REMEMBERED: Duration = Duration::from_mins(10);
/// So few are remembered however long ago they went.
const FEW: usize = 1024;

impl World {
    /// Where Secrets are not watched, there is no listing of them to wait for.
    pub(super) fn new(layout: Layout, watches_secrets: bool) -> Self {
        let secrets = if watches_secrets { Managed::default() } else { Managed::unwatched() };
        Self {
            layout,
            clients: Table::default(),
            secrets,
            config_maps: Managed::default(),
            records: Table::default(),
            gone: HashMap::new(),
            former_issued_at: HashMap::new(),
        }
    }

    /// Takes in a change; tells which clients to look at.
    pub(super) fn see(&mut self, seen: Seen, now: Timestamp) -> Vec<ObjectRef> {
        match seen {
            Seen::Client(change) => {
                let steps = self.clients.apply(*change);
                steps.into_iter().filter_map(|step| self.see_client(step, now)).collect()
            }
            Seen::Secret(change) => self.secrets.see(change, &self.layout),
            Seen::ConfigMap(change) => self.config_maps.see(change, &self.layout),
            Seen::Record(change) => {
                let steps = self.records.apply(change);
                let owner = |step: Step<Secret>| self.layout.owner(&step.new.or(step.old)?.metadata);
                steps.into_iter().filter_map(owner).collect()
            }
        }
    }

    fn see_client(&mut self, step: Step<OAuthClient>, now: Timestamp) -> Option<ObjectRef> {
        let Step { key, old, new, malformed } = step;
        if let Some(malformed) = malformed {
            tracing::warn!(client = %key, error = malformed.error, "this OAuthClient cannot be read and is left as it is");
            return None;
        }
        let object = key.object_ref().ok()?;
        let ours = |client: &&Arc<OAuthClient>| client.spec.issuer == self.layout.issuer_name().as_str();
        let (old, new) = (old.filter(|old| ours(&old)), new.filter(|new| ours(&new)));
        if let Some(old) = old.as_ref().filter(|old| new.as_ref().is_none_or(|new| new.uid() != old.uid())) {
            self.gone.entry(object.clone()).or_default().push((now, Arc::clone(old)));
            let status = old.status.as_ref().and_then(|status| status.secret.as_ref());
            let newest = status.and_then(|secret| secret.issued_at.max(secret.accepted_since));
            self.note_former(&object, newest, now);
            self.forget(now);
        }
        (old.is_some() || new.is_some()).then_some(object)
    }

    /// Notes when a value of a client that went was issued, where one made anew could issue the same.
    pub(super) fn note_former(&mut self, object: &ObjectRef, issued_at: Option<Timestamp>, now: Timestamp) {
        if let Some(issued_at) = issued_at.filter(|issued_at| is_recent(*issued_at, now)) {
            let newest = self.former_issued_at.entry(object.clone()).or_insert(issued_at);
            *newest = issued_at.max(*newest);
        }
    }

    /// Another process cleans up after those that went long ago.
    fn forget(&mut self, now: Timestamp) {
        if self.gone.len() > FEW {
            self.gone.retain(|_, gone| gone.iter().any(|(at, _)| is_recent(*at, now)));
        }
        if self.former_issued_at.len() > FEW {
            self.former_issued_at.retain(|_, issued_at| is_recent(*issued_at, now));
        }
    }

    /// Notes a Secret as it was read, as a watch of what carries our label would.
    pub(super) fn looked(&mut self, key: &Key, secret: Option<&Arc<Secret>>, now: Timestamp) {
        self.secrets.looked((key, secret), &self.layout, now);
    }

    /// Whether everything has been listed once.
    pub(super) fn is_synced(&self) -> bool {
        self.clients.is_synced() && self.secrets.is_synced() && self.config_maps.is_synced() && self.records.is_synced()
    }

    pub(super) fn there(&self, object: &ObjectRef) -> There {
        let key = Key::from(object);
        match self.clients.get(&key) {
            Some(client) if client.spec.issuer == self.layout.issuer_name().as_str() => {
                There::Client(Arc::clone(client))
            }
            None if self.clients.is_malformed(&key) => There::Malformed,
            _ => There::Nothing,
        }
    }

    /// The signer's versions of all values that clients may still use; `None` where that is not certain.
    pub(super) fn versions_in_use(&self) -> Option<BTreeSet<u32>> {
        let ours = |client: &&Arc<OAuthClient>| client.spec.issuer == self.layout.issuer_name().as_str();
        let mut versions = BTreeSet::new();
        for client in self.clients.all()?.filter(ours) {
            self.note_version_in_use(client, &mut versions)?;
        }
        self.is_synced().then_some(versions)
    }

    /// Notes the version of the one value of a client that is good, nothing where none is.
    fn note_version_in_use(&self, client: &OAuthClient, versions: &mut BTreeSet<u32>) -> Option<()> {
        let Some(secret) = &client.status.as_ref()?.secret else { return Some(()) };
        let Some(issued_at) = secret.issued_at else { return Some(()) };
        if SecretState::from(secret).not_before(client.creation_timestamp()?.0, None) < issued_at {
            return None;
        }
        let written =
            self.secrets.get(&Key::namespaced(client.metadata.namespace.as_deref()?, secret.name.as_deref()?))?;
        versions.insert(values_in(&written).find(|value| value.issued_at == issued_at)?.version);
        Some(())
    }

    /// The record of a client's value that is not ours.
    pub(super) fn record(&self, object: &ObjectRef) -> Option<Arc<Secret>> {
        self.records.get(&self.layout.reference_record(object)).cloned()
    }

    /// When the newest value of an earlier client of this name was issued, where that was lately.
    pub(super) fn former_issued_at(&self, object: &ObjectRef) -> Option<Timestamp> {
        self.former_issued_at.get(object).copied()
    }

    /// The clients of this name that went and have not been cleaned up after.
    pub(super) fn gone(&self, object: &ObjectRef) -> Vec<Arc<OAuthClient>> {
        self.gone.get(object).into_iter().flatten().map(|(_, client)| Arc::clone(client)).collect()
    }

    /// They have been.
    pub(super) fn buried(&mut self, object: &ObjectRef, client: &Arc<OAuthClient>) {
        let Some(gone) = self.gone.get_mut(object) else { return };
        gone.retain(|(_, other)| !Arc::ptr_eq(other, client));
        if gone.is_empty() {
            self.gone.remove(object);
        }
    }

    pub(super) fn wrote_client(&mut self, base: &OAuthClient, new: OAuthClient) {
        self.clients.wrote(base, Arc::new(new));
    }

    pub(super) fn wrote<K: Written>(&mut self, base: &K, new: K) {
        K::of(self).wrote(base, new);
    }

    pub(super) fn deleted<K: Written>(&mut self, base: &K) {
        K::of(self).deleted(base);
    }
}

/// Whether a time lies ahead, or not long ago.
fn is_recent(time: Timestamp, now: Timestamp) -> bool {
    time.saturating_add(REMEMBERED).is_ok_and(|end| end > now)
}

/// When the newest value in a Secret was issued.
pub(super) fn newest_in(secret: &Secret) -> Option<Timestamp> {
    values_in(secret).map(|value| value.issued_at).max()
}

fn values_in(secret: &Secret) -> impl Iterator<Item = Presented> {
    let texts = secret.data.iter().flatten().filter_map(|(_, bytes)| std::str::from_utf8(&bytes.0).ok());
    texts.filter_map(|text| Presented::parse(text).ok())
}
