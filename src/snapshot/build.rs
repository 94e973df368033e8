//! The next snapshot out of the last one and what changed since.
//!
//! Flows in: updates of the watches. Flows out: a snapshot that differs only in the parts concerned. Epochs, serials,
//! revocations and dead keys never shrink here, whatever a restored backup shows: the stricter of both views holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use countersign_core::bounds::AllowanceObject;
use countersign_core::client::ClientObject;
use countersign_core::client_secret::{RecordKey, SignerKeyring, VerifyingKeys};
use countersign_core::directory::{self, NamespaceObject, PolicyObject, RingObject, Settings};
use countersign_core::keyring::Keyring;
use countersign_core::names::{KeyId, Namespace as NamespaceName, ObjectName};
use countersign_core::revocation::{Entry, Shard};
use countersign_core::token::KeySet;
use jiff::Timestamp;

use super::read::{self, KeySecret, SystemMap};
use super::table::{Read, Refused, Row, Table};
use super::{PrivateKey, Snapshot, unreadable};
use crate::objects::layout::Layout;
use crate::objects::{Change, Key, Malformed};

/// One change of one watch.
pub(super) enum Update {
    Client(Change<Read<ClientObject>>),
    Policy(Change<Read<PolicyObject>>),
    Allowance(Change<Read<AllowanceObject>>),
    Namespace(Change<Read<NamespaceObject>>),
    SigningKey(Change<Read<RingObject>>),
    SystemMap(Change<Read<SystemMap>>),
    KeySecret(Change<Read<KeySecret>>),
    Shard(Change<Read<Shard>>),
}

/// What is to be done before the next snapshot.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether one part of the snapshot is to be built anew")]
struct Pending {
    directory: Vec<directory::Change>,
    shards: Vec<Arc<Shard>>,
    rings: bool,
    dead_keys: bool,
    signer: bool,
    secrets: bool,
}

/// All tables, and the last snapshot.
pub(super) struct Builder {
    settings: Arc<Settings>,
    layout: Layout,
    clients: Table<ClientObject>,
    policies: Table<PolicyObject>,
    allowances: Table<AllowanceObject>,
    namespaces: Table<NamespaceObject>,
    signing_keys: Table<RingObject>,
    system_maps: Table<SystemMap>,
    key_secrets: Table<KeySecret>,
    shards: Table<Shard>,
    rings: BTreeMap<ObjectName, Arc<Keyring>>,
    dead_keys: BTreeSet<KeyId>,
    signer: Arc<SignerKeyring>,
    refused: Refused,
    pending: Pending,
    snapshot: Snapshot,
}

impl Builder {
    pub(super) fn new(settings: Arc<Settings>, layout: Layout) -> Self {
        Self {
            snapshot: Snapshot::empty(Arc::clone(&settings)),
            settings,
            layout,
            clients: Table::new("OAuthClient"),
            policies: Table::new("ScopePolicy"),
            allowances: Table::new("NamespaceAllowance"),
            namespaces: Table::new("Namespace"),
            signing_keys: Table::new("SigningKey"),
            system_maps: Table::new("ConfigMap"),
            key_secrets: Table::new("Secret"),
            shards: Table::new("Revocations"),
            rings: BTreeMap::new(),
            dead_keys: BTreeSet::new(),
            signer: Arc::default(),
            refused: Refused::new(),
            pending: Pending::default(),
        }
    }

    pub(super) fn refused(&self) -> &Refused {
        &self.refused
    }

    /// Whether taking in what is pending is more than an instant's work.
    pub(super) fn is_heavy(&self) -> bool {
        self.pending.directory.len() > 64
    }

    /// Takes in an update; the revocations that are new with it.
    pub(super) fn take(&mut self, update: Update) -> Vec<Entry> {
        let Self { settings, refused, pending, .. } = self;
        match update {
            Update::Client(change) => {
                let rows = self.clients.take(change, refused, read::keep_epoch, unreadable::absent);
                let change = |(key, value): Row<_>| Some(directory::Change::Client(key.object_ref().ok()?, value));
                pending.directory.extend(rows.into_iter().filter_map(change));
            }
            Update::Policy(change) => {
                let unread = |malformed: &Malformed, last: Option<&_>| unreadable::policy(settings, malformed, last);
                let rows = self.policies.take(change, refused, keep_nothing, unread);
                let change = |(key, value): Row<_>| Some(directory::Change::Policy(key.object_ref().ok()?, value));
                pending.directory.extend(rows.into_iter().filter_map(change));
            }
            Update::Allowance(change) => {
                let rows = self.allowances.take(change, refused, keep_nothing, unreadable::as_it_was);
                let change = |(key, value): Row<_>| Some(directory::Change::Allowance(name(&key.name)?, value));
                pending.directory.extend(rows.into_iter().filter_map(change));
            }
            Update::Namespace(change) => {
                let rows = self.namespaces.take(change, refused, keep_nothing, unreadable::as_it_was);
                let of = |(key, value): Row<_>| {
                    Some(directory::Change::Namespace(NamespaceName::new(&key.name).ok()?, value))
                };
                pending.directory.extend(rows.into_iter().filter_map(of));
            }
            Update::SigningKey(change) => {
                let rows = self.signing_keys.take(change, refused, keep_nothing, unreadable::signing_key);
                pending.dead_keys |= !rows.is_empty();
                let change = |(key, value): Row<_>| Some(directory::Change::Ring(name(&key.name)?, value));
                pending.directory.extend(rows.into_iter().filter_map(change));
            }
            Update::SystemMap(change) => {
                for row in self.system_maps.take(change, refused, keep_nothing, unreadable::as_it_was) {
                    self.take_system_map(row);
                }
            }
            Update::KeySecret(change) => {
                let rows = self.key_secrets.take(change, refused, keep_nothing, unreadable::absent);
                pending.secrets |= !rows.is_empty();
            }
            Update::Shard(change) => return self.take_shards(change),
        }
        Vec::new()
    }

    fn take_system_map(&mut self, (key, map): Row<SystemMap>) {
        match map.as_deref() {
            Some(SystemMap::Ring(new)) => {
                let merged = match self.rings.get(&new.ring) {
                    Some(known) => known.merged(new),
                    None => new.clone(),
                };
                self.rings.insert(new.ring.clone(), Arc::new(merged));
                self.pending.rings = true;
            }
            Some(SystemMap::Signer(new)) => {
                let merged = self.signer.merged(new);
                if merged != *new {
                    tracing::warn!(%key, "an older keyring than the one held was put back; what that held is kept");
                }
                self.signer = Arc::new(merged);
                self.pending.signer = true;
            }
            None => self.lose_ring(&key),
        }
    }

    /// Only what ended of itself is forgotten.
    fn lose_ring(&mut self, key: &Key) {
        let over = self.rings.iter().find(|(name, ring)| self.layout.keyring(name.as_str()) == *key && ring.is_over());
        if let Some(name) = over.map(|(name, _)| name.clone()) {
            self.rings.remove(&name);
            self.pending.rings = true;
        } else {
            tracing::warn!(%key, "a keyring is gone; what it held is kept");
        }
    }

    fn take_shards(&mut self, change: Change<Read<Shard>>) -> Vec<Entry> {
        let known = self.shards.rows();
        let rows = self.shards.take(change, &mut self.refused, keep_nothing, unreadable::as_it_was);
        let mut fresh = Vec::new();
        for (key, shard) in rows {
            let Some(shard) = shard else { continue };
            let old: HashSet<_> = known.get(&key).into_iter().flat_map(|old| &old.entries).collect();
            fresh.extend(shard.entries.iter().filter(|entry| !old.contains(entry)).cloned());
            self.pending.shards.push(shard);
        }
        fresh
    }

    /// The snapshot after everything taken in; `None` where nothing changed.
    pub(super) fn build(&mut self, now: Timestamp) -> Option<Snapshot> {
        let Pending { directory, shards, rings, dead_keys, signer, secrets } = std::mem::take(&mut self.pending);
        let mut changed = rings || signer || secrets;
        if !directory.is_empty() {
            self.snapshot.directory = Arc::new(self.snapshot.directory.apply(directory));
            changed = true;
        }
        if !shards.is_empty() {
            let revoked = self.snapshot.revoked.with(shards.iter().map(AsRef::as_ref), now);
            self.snapshot.revoked = Arc::new(revoked);
            changed = true;
        }
        if rings || dead_keys {
            self.dead_keys.extend(self.snapshot.directory.revoked_key_ids().cloned());
            let keys = KeySet::build(self.rings.values().map(AsRef::as_ref), self.dead_keys.iter().cloned());
            self.snapshot.keys = Arc::new(keys);
            self.snapshot.rings = Arc::new(self.rings.clone());
        }
        if signer {
            self.snapshot.client_secret_keys = Arc::new(VerifyingKeys::new(&self.signer));
        }
        if rings || secrets {
            self.hold_secrets();
        }
        changed.then(|| self.snapshot.clone())
    }

    /// Joins the private halves with their rings, and gathers the records.
    fn hold_secrets(&mut self) {
        let mut private: HashMap<KeyId, PrivateKey> = HashMap::new();
        let mut records = HashMap::new();
        let mut record_key = None;
        for secret in self.key_secrets.values() {
            match &**secret {
                KeySecret::Private { ring, serial, key } => {
                    let keys = self.rings.get(ring.as_str()).map_or(&[][..], |ring| &ring.keys);
                    if let Some(public) = keys.iter().find(|public| public.serial == *serial) {
                        private.insert(public.key_id().clone(), key.clone());
                    }
                }
                KeySecret::Record(client, record) => drop(records.insert(client.clone(), record.clone())),
                KeySecret::RecordKey(bytes) => record_key = Some(Arc::new(RecordKey::new(bytes))),
            }
        }
        self.snapshot.private_keys = Arc::new(private);
        self.snapshot.records = Arc::new(records);
        self.snapshot.record_key = record_key;
    }
}

/// What an object says now is all that counts.
fn keep_nothing<T>(_: &mut T, _: &T) {}

fn name(text: &str) -> Option<ObjectName> {
    ObjectName::new(text).ok()
}
