//! A ring's life over a store in memory.

use std::time::Duration;

use countersign_core::directory::Settings;
use countersign_core::keyring::{KeyState, Keyring, NeedKey, RingKey, RingSpec};
use countersign_core::names::{IssuerName, Namespace};
use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::controller::Gate;
use crate::controller::conditions::find;
use crate::objects::layout::{PRIVATE_KEY_DATA, Part};
use crate::objects::{Change, FolderStore, Key, Preconditions};
use crate::runtime::contact::Contact;
use crate::snapshot::Snapshot;

pub(super) struct Bed {
    pub(super) objects: Objects,
    pub(super) layout: Layout,
    pub(super) clock: Clock,
    pub(super) kind: SigningKeys,
}

impl Bed {
    pub(super) fn new() -> Self {
        let clock = Clock::fixed(Timestamp::from_second(1_800_000_000).unwrap());
        let objects = Objects::Folder(FolderStore::in_memory(clock.clone()).unwrap());
        let layout = Layout::new(IssuerName::new("default").unwrap(), &Namespace::new("system").unwrap()).unwrap();
        let kind = Self::leader(&objects, &layout, &clock);
        Self { objects, layout, clock, kind }
    }

    pub(super) fn leader(objects: &Objects, layout: &Layout, clock: &Clock) -> SigningKeys {
        let timings = Timings::default();
        SigningKeys::new(Parts {
            writer: Writer::new(objects, Gate::always(), "countersign/signing-key"),
            layout: layout.clone(),
            clock: clock.clone(),
            timings,
            snapshot: Live::new(Snapshot::empty(Arc::new(Settings::new(
                layout.issuer_name().clone(),
                "https://issuer.example",
                "cluster.local",
                Vec::new(),
            )))),
            replicas: Replicas::new(timings, Contact::never()),
            pace: Pace::default(),
        })
    }

    /// Lists everything anew and lets the kind look until it is content.
    async fn settle(&self) -> Option<Timestamp> {
        for _ in 0..10 {
            let mut keys = self.objects.watch(Selection::namespace(self.layout.system_namespace()));
            let listed = keys.next().await.unwrap();
            self.kind.objects().apply(listed);
            let before = self.versions().await;
            let wake_at = self.kind.reconcile(&ObjectName::new(DEFAULT_RING).unwrap()).await.unwrap();
            if self.versions().await == before {
                return wake_at;
            }
        }
        panic!("the ring does not come to rest");
    }

    async fn versions(&self) -> (Option<String>, Option<String>) {
        let map = self.map().await.and_then(|map| map.metadata.resource_version);
        (self.object().await.and_then(|object| object.metadata.resource_version), map)
    }

    fn key(&self) -> Key {
        Key::namespaced(self.layout.system_namespace(), DEFAULT_RING)
    }

    async fn object(&self) -> Option<SigningKey> {
        self.objects.get(&self.key()).await.unwrap()
    }

    async fn map(&self) -> Option<ConfigMap> {
        self.objects.get(&self.layout.keyring(DEFAULT_RING)).await.unwrap()
    }

    async fn ring(&self) -> Keyring {
        read_keyring(&self.map().await.unwrap()).unwrap()
    }

    async fn states(&self) -> Vec<KeyState> {
        self.ring().await.keys.iter().map(|key| key.state).collect()
    }

    async fn private(&self, serial: u64) -> Option<Vec<u8>> {
        let secret: Option<Secret> = self.objects.get(&self.layout.signing_key(DEFAULT_RING, serial)).await.unwrap();
        secret.map(|secret| secret.data.unwrap()[PRIVATE_KEY_DATA].0.clone())
    }

    async fn edit(&self, change: impl FnOnce(&mut SigningKey)) {
        let mut object = self.object().await.unwrap();
        change(&mut object);
        self.objects.replace(&object).await.unwrap();
    }

    fn spec() -> RingSpec {
        let key = SigningKey::new(DEFAULT_RING, countersign_api::SigningKeySpec::default());
        Ring::try_from(&key).unwrap().spec
    }

    async fn condition(&self, kind: &str) -> Option<String> {
        let status = self.object().await.unwrap().status.unwrap();
        find(&status.conditions, kind).map(|condition| format!("{}/{}", condition.status, condition.reason))
    }
}

#[tokio::test]
async fn the_default_ring_comes_into_being_and_serves() {
    let bed = Bed::new();
    let wake_at = bed.settle().await;
    assert_eq!(bed.states().await, [KeyState::Active, KeyState::Published]);
    assert!(bed.private(1).await.is_some() && bed.private(2).await.is_some());
    assert_eq!(bed.condition("Ready").await.as_deref(), Some("True/Ready"));
    assert_eq!(bed.condition("Accepted").await.as_deref(), Some("True/Accepted"));
    let status = bed.object().await.unwrap().status.unwrap();
    assert_eq!((status.keys.len(), status.next_rotation, status.active_key_id.is_some()), (2, wake_at, true));
}

#[tokio::test]
async fn a_ring_at_rest_is_written_by_nobody_not_even_a_new_leader() {
    let bed = Bed::new();
    bed.settle().await;
    let before = bed.versions().await;
    let bed = Bed { kind: Bed::leader(&bed.objects, &bed.layout, &bed.clock), ..bed };
    bed.clock.advance(Duration::from_hours(3));
    bed.settle().await;
    assert_eq!(bed.versions().await, before);
}

#[tokio::test]
async fn a_due_key_is_replaced_and_its_private_half_goes() {
    let bed = Bed::new();
    bed.settle().await;
    bed.clock.advance(Duration::from_hours(720));
    bed.settle().await;
    assert_eq!(bed.states().await, [KeyState::Retiring, KeyState::Active, KeyState::Published]);
    assert_eq!(
        (bed.private(1).await, bed.private(2).await.is_some(), bed.private(3).await.is_some()),
        (None, true, true)
    );
}

#[tokio::test]
async fn a_compromised_key_is_revoked_and_the_standby_signs() {
    let bed = Bed::new();
    bed.settle().await;
    let compromised = bed.ring().await.keys[0].key_id().to_string();
    bed.edit(|object| object.spec.revoked_key_ids.push(compromised)).await;
    bed.settle().await;
    assert_eq!(bed.states().await, [KeyState::Revoked, KeyState::Active, KeyState::Published]);
    assert_eq!(bed.private(1).await, None);
}

#[tokio::test]
async fn the_half_of_a_crashed_attempt_is_taken_up() {
    let bed = Bed::new();
    let spec = Bed::spec();
    let made = bed.kind.make_key(&spec, NeedKey { serial: 1, algorithm: spec.algorithm }).await.unwrap();
    bed.settle().await;
    assert_eq!((bed.ring().await.keys[0].serial, &bed.ring().await.keys[0].jwk), (1, &made.jwk));
}

#[tokio::test]
async fn a_compromised_half_left_by_a_crash_is_passed_over() {
    let bed = Bed::new();
    let mut spec = Bed::spec();
    let need = NeedKey { serial: 1, algorithm: spec.algorithm };
    let made = bed.kind.make_key(&spec, need).await.unwrap();
    spec.revoked.insert(made.jwk.key_id().clone());
    assert_eq!(bed.kind.make_key(&spec, need).await.unwrap().serial, 2);
}

#[tokio::test]
async fn a_secret_that_is_there_already_is_passed_over_and_cleared_later() {
    let bed = Bed::new();
    let metadata = bed.layout.meta(&bed.layout.signing_key(DEFAULT_RING, 1), Part::SigningKey);
    let data = Some([(PRIVATE_KEY_DATA.to_owned(), ByteString(vec![1]))].into());
    bed.objects.create(&Secret { metadata, data, ..Secret::default() }).await.unwrap();
    bed.settle().await;
    let numbers: Vec<_> = bed.ring().await.keys.iter().map(|key| key.serial).collect();
    assert_eq!((numbers, bed.private(1).await), (vec![2, 3], None));
}

#[tokio::test]
async fn a_deleted_keyring_is_written_back_by_the_leader_that_remembers_it() {
    let bed = Bed::new();
    bed.settle().await;
    let before = bed.ring().await;
    bed.objects.delete::<ConfigMap>(&bed.layout.keyring(DEFAULT_RING), &Preconditions::default()).await.unwrap();
    bed.settle().await;
    let after = bed.ring().await;
    assert!(after.serial > before.serial && after.keys == before.keys);
    assert_eq!(bed.condition("RollbackDetected").await.as_deref(), Some("True/OlderThanRemembered"));
}

#[tokio::test]
async fn a_keyring_nobody_remembers_is_begun_anew() {
    let bed = Bed::new();
    bed.settle().await;
    let before = bed.ring().await;
    bed.objects.delete::<ConfigMap>(&bed.layout.keyring(DEFAULT_RING), &Preconditions::default()).await.unwrap();
    let bed = Bed { kind: Bed::leader(&bed.objects, &bed.layout, &bed.clock), ..bed };
    bed.settle().await;
    // No verifier lives, so the new key signs at once.
    assert_eq!(bed.states().await, [KeyState::Active, KeyState::Published]);
    let active = bed.ring().await.active().map(|key| key.key_id().clone());
    assert_ne!(active.as_ref(), before.active().map(RingKey::key_id), "what signed before signs no more");
}

/// A verifier's heartbeat as it lies in the store.
fn heartbeat(layout: &Layout, serial: u64, version: &str) -> Lease {
    let mut metadata = layout.meta(&layout.heartbeat("verifier", "v"), Part::Heartbeat);
    metadata.labels.get_or_insert_default().insert("countersign.dev/role".to_owned(), "verifier".to_owned());
    let report = format!(r#"{{"serials":{{"default":{serial}}}}}"#);
    metadata.annotations = Some([("countersign.dev/report".to_owned(), report)].into());
    metadata.resource_version = Some(version.to_owned());
    Lease { metadata, ..Lease::default() }
}

#[tokio::test]
async fn a_keyring_begun_anew_waits_for_a_verifier_that_remembers_the_old_one() {
    let bed = Bed::new();
    bed.settle().await;
    bed.objects.delete::<ConfigMap>(&bed.layout.keyring(DEFAULT_RING), &Preconditions::default()).await.unwrap();
    let bed = Bed { kind: Bed::leader(&bed.objects, &bed.layout, &bed.clock), ..bed };
    let hear = |change| bed.kind.parts.replicas.witnesses().observe(&change, bed.clock.now());
    assert!(hear(Change::Reset(vec![heartbeat(&bed.layout, 40, "1")], Vec::new())));
    bed.settle().await;
    assert_eq!(bed.states().await, [KeyState::Published]);
    assert_eq!(bed.ring().await.serial, 41);
    assert_eq!(bed.condition("KeyringLost").await.as_deref(), Some("True/BegunAnew"));
    assert!(hear(Change::Apply(heartbeat(&bed.layout, 40, "2"))), "it is heard for the first time");
    bed.settle().await;
    assert_eq!(bed.states().await, [KeyState::Published], "it holds the old keyring still");
    assert!(!hear(Change::Apply(heartbeat(&bed.layout, 40, "3"))), "nothing new");
    assert!(hear(Change::Apply(heartbeat(&bed.layout, 41, "4"))));
    bed.settle().await;
    assert_eq!(bed.states().await, [KeyState::Active, KeyState::Published]);
    assert_eq!(bed.condition("KeyringLost").await, None);
}

#[tokio::test]
async fn timings_that_cannot_be_kept_are_said_in_status() {
    let bed = Bed::new();
    bed.settle().await;
    bed.edit(|object| {
        let rotation = serde_json::json!({"period": "90m", "prePublish": "1m"});
        object.spec.rotation = Some(serde_json::from_value(rotation).unwrap());
    })
    .await;
    bed.settle().await;
    assert_eq!(bed.condition("Accepted").await.as_deref(), Some("False/TimingsRefused"));
    assert_eq!(bed.states().await, [KeyState::Active, KeyState::Published]);
}

#[tokio::test]
async fn a_refused_write_is_said_until_one_succeeds() {
    let bed = Bed::new();
    bed.settle().await;
    let source = "exceeded quota".into();
    let refused = Failure { class: Class::User, category: "forbidden", action: "write the keyring", source };
    bed.kind.report_refused(&bed.object().await.unwrap(), &refused).await.unwrap();
    assert_eq!(bed.condition("WriteRefused").await.as_deref(), Some("True/Refused"));
    assert_eq!(bed.condition("Ready").await.as_deref(), Some("True/Ready"), "a key still signs");
    bed.settle().await;
    assert_eq!(bed.condition("WriteRefused").await, None);
}
