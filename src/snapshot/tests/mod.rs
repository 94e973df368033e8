//! What the watches bring is in the snapshot, and what must not shrink does not.

mod cluster_keys;
mod pods;
mod unreadable;

use std::sync::Arc;
use std::time::Duration;

use countersign_api::{OAuthClient, ScopePolicy, SigningKey};
use countersign_core::client_secret::{KeptRecord, Record, RecordKey};
use countersign_core::directory::Settings;
use countersign_core::keyring::{KeyState, Keyring, RingKey};
use countersign_core::names::{ClientId, IssuerName, KeyId, Namespace, ObjectName, ObjectRef, Uid};
use countersign_core::revocation::{Entry, Sink};
use countersign_core::timings::Timings;
use countersign_core::token::{Algorithm, PublicJwk, TokenRefusal};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::json;

use super::{Feed, Refused, Role, Snapshot, Sources};
use crate::objects::layout::{KEYRING_DATA, Layout, OWNER, PRIVATE_KEY_DATA, Part, RECORD_DATA, UNTIL};
use crate::objects::revocations::Writer;
use crate::objects::{FolderStore, Key, Object, Objects, Preconditions};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Readiness;
use crate::runtime::supervisor::{Shutdown, Supervisor};

/// A feed over a store in memory.
struct World {
    objects: Objects,
    layout: Layout,
    live: Live<Snapshot>,
    refused: Live<Refused>,
    readiness: Readiness,
    shutdown: Shutdown,
}

impl World {
    fn start(role: Role) -> Self {
        Self::over(Objects::Folder(FolderStore::in_memory(Clock::system()).unwrap()), role)
    }

    fn over(objects: Objects, role: Role) -> Self {
        let issuer = IssuerName::new("default").unwrap();
        let layout = Layout::new(issuer.clone(), &Namespace::new("system").unwrap()).unwrap();
        let settings = Arc::new(Settings::new(issuer, "https://issuer.example", "cluster.local", Vec::new()));
        let sources = Sources { objects: objects.clone(), layout: layout.clone(), settings, clock: Clock::system() };
        let readiness = Readiness::new();
        let feed = Feed::new(sources, role, readiness.condition("first-snapshot"), &Metrics::new());
        let shutdown = Supervisor::new().shutdown();
        let world =
            Self { objects, layout, live: feed.live(), refused: feed.refused(), readiness, shutdown: shutdown.clone() };
        tokio::spawn(feed.run(shutdown));
        world
    }

    async fn until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) {
        let mut changes = self.live.subscribe();
        for _ in 0..500 {
            if holds(&self.live.load()) {
                return;
            }
            tokio::time::timeout(Duration::from_millis(20), changes.changed()).await.ok();
        }
        panic!("{what} did not come about; the snapshot is {:?}", self.live.load());
    }

    async fn write_ring(&self, ring: &Keyring) {
        let key = self.layout.keyring(ring.ring.as_str());
        let mut metadata = self.layout.meta(&key, Part::Keyring);
        let old = self.objects.get::<ConfigMap>(&key).await.unwrap();
        metadata.resource_version = old.as_ref().and_then(|map| map.metadata.resource_version.clone());
        let data = Some([(KEYRING_DATA.to_owned(), ring.to_json().unwrap())].into());
        let map = ConfigMap { metadata, data, ..ConfigMap::default() };
        if old.is_some() {
            self.objects.replace(&map).await.unwrap()
        } else {
            self.objects.create(&map).await.unwrap()
        };
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// In no namespace where that is empty.
fn object<K: Object>(kind: &str, namespace: &str, name: &str, spec: &serde_json::Value) -> K {
    let namespace = (!namespace.is_empty()).then_some(namespace);
    serde_json::from_value(json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec
    }))
    .unwrap()
}

fn client(name: &str) -> OAuthClient {
    object("OAuthClient", "shop", name, &json!({}))
}

fn ring(serial: u64, state: KeyState) -> Keyring {
    let now = Timestamp::from_second(1_000).unwrap();
    let jwk = PublicJwk::from_public_key(Algorithm::EdDSA, &[7; 32]).unwrap();
    let key = RingKey {
        state,
        activated_at: Some(now),
        longest_lifetime: SignedDuration::from_hours(1),
        ..RingKey::published(1, jwk, (now, 1))
    };
    Keyring { serial, next_key: 2, keys: vec![key], ..Keyring::empty(ObjectName::new("default").unwrap()) }
}

/// Whether the key is known to be compromised.
fn is_dead(snapshot: &Snapshot, key_id: &KeyId) -> bool {
    matches!(snapshot.keys.find(key_id), Err(TokenRefusal::KeyRevoked))
}

#[tokio::test]
async fn objects_come_and_go_and_foreign_ones_stay_out() {
    let world = World::start(Role::Issuer);
    world.objects.create(&client("checkout")).await.unwrap();
    let foreign: OAuthClient = object("OAuthClient", "shop", "foreign", &json!({"issuer": "other"}));
    world.objects.create(&foreign).await.unwrap();
    let policy: ScopePolicy = object("ScopePolicy", "shop", "orders", &json!({"audience": "https://orders.shop.svc"}));
    world.objects.create(&policy).await.unwrap();
    world.until("the client and the policy", |s| s.directory.client("shop.checkout").is_some()).await;
    world.until("the policy", |s| s.directory.policies().count() == 1).await;
    assert!(world.readiness.is_ready());
    assert!(world.live.load().directory.client_of(&ObjectRef::new("shop", "foreign").unwrap()).is_none());
    let key = Key::namespaced("shop", "checkout");
    world.objects.delete::<OAuthClient>(&key, &Preconditions::default()).await.unwrap();
    world.until("the deletion", |s| s.directory.clients().count() == 0).await;
}

#[tokio::test]
async fn a_verifier_sees_neither_clients_nor_private_keys() {
    let world = World::start(Role::Verifier);
    world.objects.create(&client("checkout")).await.unwrap();
    let metadata = world.layout.meta(&world.layout.signing_key("default", 1), Part::SigningKey);
    let data = Some([(PRIVATE_KEY_DATA.to_owned(), ByteString(vec![1]))].into());
    world.objects.create(&Secret { metadata, data, ..Secret::default() }).await.unwrap();
    world.write_ring(&ring(1, KeyState::Active)).await;
    world.until("the ring", |s| !s.rings.is_empty()).await;
    let snapshot = world.live.load();
    assert_eq!((snapshot.directory.clients().count(), snapshot.private_keys.len()), (0, 0));
}

#[tokio::test]
async fn a_private_half_is_held_under_its_rings_key_id() {
    let world = World::start(Role::Issuer);
    let metadata = world.layout.meta(&world.layout.signing_key("default", 1), Part::SigningKey);
    let data = Some([(PRIVATE_KEY_DATA.to_owned(), ByteString(vec![1, 2]))].into());
    world.objects.create(&Secret { metadata, data, ..Secret::default() }).await.unwrap();
    let ring = ring(1, KeyState::Active);
    world.write_ring(&ring).await;
    world.until("the private half", |s| s.private_keys.contains_key(ring.keys[0].key_id())).await;
    assert_eq!(world.live.load().private_keys[ring.keys[0].key_id()].expose(), [1, 2]);
}

#[tokio::test]
async fn a_record_is_held_with_its_end_and_not_at_all_where_nobody_can_tell_that() {
    let world = World::start(Role::Issuer);
    let client = ObjectRef::new("shop", "checkout").unwrap();
    let key = world.layout.reference_record(&client);
    let record = Record::of(&RecordKey::new(&[7; 32]), &ClientId::new("shop.checkout").unwrap(), "value");
    let secret = |until: Option<&str>| {
        let mut metadata = world.layout.meta(&key, Part::ReferenceRecord);
        let owner = (OWNER.to_owned(), world.layout.owner_record(&client));
        let until = until.map(|it| (UNTIL.to_owned(), it.to_owned()));
        metadata.annotations = Some(until.into_iter().chain([owner]).collect());
        let data = Some([(RECORD_DATA.to_owned(), ByteString(serde_json::to_vec(&record).unwrap()))].into());
        Secret { metadata, data, ..Secret::default() }
    };
    world.objects.create(&secret(None)).await.unwrap();
    let held = |until| Some(KeptRecord { record: record.clone(), until });
    world.until("the record", |s| s.records.get(&client).cloned() == held(None)).await;
    let time = "2026-11-22T04:00:00Z";
    for (until, expected) in [(time, held(time.parse().ok())), ("soon", None)] {
        let stored: Secret = world.objects.get(&key).await.unwrap().unwrap();
        let mut next = secret(Some(until));
        next.metadata.resource_version = stored.metadata.resource_version;
        world.objects.replace(&next).await.unwrap();
        world.until(until, |s| s.records.get(&client).cloned() == expected).await;
    }
    let refused = world.refused.load()[&("Secret", key.clone())].error.clone();
    assert_eq!(refused, "its annotation countersign.dev/until is no time");
}

#[tokio::test]
async fn serials_dead_keys_and_epochs_never_shrink() {
    let world = World::start(Role::Issuer);
    let created = world.objects.create(&client("checkout")).await.unwrap();
    let key = Key::of(&created.metadata);
    let epoch = |s: &Snapshot| s.directory.clients().next().map_or(0, |client| client.object.epoch);
    world.objects.patch_status::<OAuthClient>(&key, None, &json!({"epoch": 5})).await.unwrap();
    world.until("epoch 5", |s| epoch(s) == 5).await;
    world.objects.patch_status::<OAuthClient>(&key, None, &json!({"epoch": 2})).await.unwrap();

    world.write_ring(&ring(9, KeyState::Retiring)).await;
    world.until("serial 9", |s| s.rings.values().any(|ring| ring.serial == 9)).await;
    world.write_ring(&ring(3, KeyState::Active)).await;
    let jwk = ring(1, KeyState::Active).keys[0].key_id().clone();
    let dead = json!({"algorithm": "EdDSA", "revokedKeyIds": [jwk.as_str()]});
    let spec = world.objects.create(&object::<SigningKey>("SigningKey", "system", "default", &dead)).await.unwrap();
    world.until("the dead key", |s| is_dead(s, &jwk)).await;
    world.objects.delete::<SigningKey>(&Key::of(&spec.metadata), &Preconditions::default()).await.unwrap();
    world.objects.create(&client("after")).await.unwrap();
    world.until("what came after", |s| s.directory.client("shop.after").is_some()).await;
    let snapshot = world.live.load();
    assert!(is_dead(&snapshot, &jwk));
    assert_eq!(
        snapshot.rings.values().map(|ring| (ring.serial, ring.keys[0].state)).next(),
        Some((9, KeyState::Retiring))
    );
    let checkout = snapshot.directory.client("shop.checkout").unwrap();
    assert_eq!(checkout.object.epoch, 5);
}

#[tokio::test]
async fn a_revocation_handed_in_is_in_force_once_acknowledged_and_seen() {
    let world = World::start(Role::Verifier);
    let (writer, sink) = Writer::new(&world.objects, &world.layout, "issuer-a", Clock::system(), Timings::default());
    tokio::spawn(writer.run(world.shutdown.clone()));
    let uid = Uid::new("u1").unwrap();
    let now = Clock::system().now();
    let entries = (1..=40).map(|epoch| Entry::client(uid.clone(), None, epoch, now, &Timings::default()));
    let written = futures::future::join_all(entries.map(|entry| sink.revoke(entry))).await;
    assert!(written.iter().all(Result::is_ok));
    world.until("the epoch", |s| s.revoked.epoch_of(&uid) == 40).await;
    let shards: Option<ConfigMap> = world.objects.get(&world.layout.revocations("issuer-a", 0)).await.unwrap();
    assert!(shards.unwrap().data.unwrap()["revocations.json"].contains("40"));
    // The ConfigMap goes; what a running replica knows stays.
    let key = world.layout.revocations("issuer-a", 0);
    world.objects.delete::<ConfigMap>(&key, &Preconditions::default()).await.unwrap();
    let other = Uid::new("u2").unwrap();
    sink.revoke(Entry::client(other.clone(), None, 1, now, &Timings::default())).await.unwrap();
    world.until("the next entry", |s| s.revoked.epoch_of(&other) == 1).await;
    assert_eq!(world.live.load().revoked.epoch_of(&uid), 40);
}
