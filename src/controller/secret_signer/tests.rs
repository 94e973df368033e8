//! The signer and its keyring over a store in memory.

use std::collections::BTreeSet;

use countersign_core::client_secret::{SignerKeyring, VerifyingKeys, VersionState, accept};
use countersign_core::directory::Settings;
use countersign_core::names::Namespace;
use k8s_openapi::api::core::v1::ConfigMap;

use super::ring::{Parts, SIGNER, SignerRing, read_keyring};
use super::*;
use crate::controller::{Gate, Kind};
use crate::objects::{FolderStore, Objects};
use crate::runtime::live::Live;
use crate::snapshot::Snapshot;

/// A store, and what is known of the values in use.
struct Bed {
    objects: Objects,
    layout: Layout,
    in_use: Arc<Mutex<Option<BTreeSet<u32>>>>,
}

/// One controller process.
struct Process {
    signer: Arc<SecretSigner>,
    ring: SignerRing,
}

impl Process {
    async fn look(&self) {
        self.ring.reconcile(&SIGNER).await.unwrap();
    }

    async fn sign(&self, version: u32) -> String {
        self.signer.sign(&client(), version, at(1_000)).await.unwrap()
    }
}

fn client() -> ClientId {
    ClientId::new("shop.checkout").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Bed {
    fn new() -> Self {
        let objects = Objects::Folder(FolderStore::in_memory(Clock::fixed(at(1_000))).unwrap());
        let issuer = IssuerName::new("default").unwrap();
        let layout = Layout::new(issuer, &Namespace::new("countersign-system").unwrap()).unwrap();
        Self { objects, layout, in_use: Arc::default() }
    }

    /// A process that remembers nothing.
    fn process(&self) -> Process {
        let writer = Writer::new(&self.objects, Gate::always(), "signer");
        let signer = Arc::new(SecretSigner::new(writer, self.layout.clone(), Clock::fixed(at(1_000))));
        let settings =
            Settings::new(self.layout.issuer_name().clone(), "https://issuer.example", "cluster.local", Vec::new());
        let in_use = Arc::clone(&self.in_use);
        let ring = SignerRing::new(Parts {
            signer: Arc::clone(&signer),
            objects: self.objects.clone(),
            snapshot: Live::new(Snapshot::empty(Arc::new(settings))),
            in_use: Box::new(move || in_use.lock().unwrap().clone()),
        });
        Process { signer, ring }
    }

    async fn keyring(&self) -> SignerKeyring {
        let map: Option<ConfigMap> = self.objects.get(&self.layout.client_secret_keyring()).await.unwrap();
        read_keyring(&map.unwrap()).unwrap()
    }

    async fn states(&self) -> Vec<VersionState> {
        self.keyring().await.versions.iter().map(|version| version.state).collect()
    }

    async fn lose_keyring(&self) {
        let key = self.layout.client_secret_keyring();
        self.objects.delete::<ConfigMap>(&key, &Preconditions::default()).await.unwrap();
    }

    async fn lose_half(&self, version: u32) {
        let key = self.layout.client_secret_key(version.into());
        self.objects.delete::<Secret>(&key, &Preconditions::default()).await.unwrap();
    }

    async fn has_half(&self, version: u32) -> bool {
        self.objects.get::<Secret>(&self.layout.client_secret_key(version.into())).await.unwrap().is_some()
    }

    async fn accepts(&self, value: &str) -> bool {
        let keys = VerifyingKeys::new(&self.keyring().await);
        accept(value, &client(), self.layout.issuer_name(), &keys, Timestamp::MIN).is_ok()
    }
}

#[tokio::test]
async fn the_first_look_makes_a_key_and_later_ones_write_nothing() {
    let bed = Bed::new();
    let process = bed.process();
    process.look().await;
    let first = bed.keyring().await;
    process.look().await;
    bed.process().look().await;
    assert_eq!((first.versions.len(), bed.keyring().await), (1, first.clone()));
    assert!(bed.accepts(&process.sign(1).await).await);
}

#[tokio::test]
async fn a_lost_private_half_makes_a_new_version() {
    let bed = Bed::new();
    let first = bed.process();
    first.look().await;
    let value = first.sign(1).await;
    bed.lose_half(1).await;
    bed.process().look().await;
    assert_eq!(bed.states().await, [VersionState::Retiring, VersionState::Active]);
    assert!(bed.accepts(&value).await, "until it is issued anew");
}

#[tokio::test]
async fn a_key_left_by_a_crashed_attempt_is_taken_up() {
    let bed = Bed::new();
    let left = bed.process().signer.make(1).await.unwrap();
    let restarted = bed.process();
    restarted.look().await;
    let found = restarted.signer.pair(1).await.unwrap().unwrap();
    assert_eq!(found.public_key().as_ref(), left.public_key().as_ref());
    assert_eq!(bed.states().await, [VersionState::Active]);
}

#[tokio::test]
async fn a_lost_keyring_comes_back_with_every_key_whoever_leads() {
    let bed = Bed::new();
    let first = bed.process();
    first.look().await;
    bed.lose_half(1).await;
    let second = bed.process();
    second.look().await;
    let (values, before) = ([first.sign(1).await, second.sign(2).await], bed.keyring().await);

    bed.lose_keyring().await;
    second.look().await;
    let after = bed.keyring().await;
    assert_eq!((after.versions, after.serial), (before.versions, before.serial + 1));

    bed.lose_keyring().await;
    bed.process().look().await;
    assert_eq!(bed.states().await, [VersionState::Active], "the public half of version 1 is nowhere");
    assert!(!bed.accepts(&values[0]).await && bed.accepts(&values[1]).await);
}

#[tokio::test]
async fn a_keyring_put_back_from_a_backup_is_written_forward_again() {
    let bed = Bed::new();
    let process = bed.process();
    process.look().await;
    let key = bed.layout.client_secret_keyring();
    let backup: ConfigMap = bed.objects.get(&key).await.unwrap().unwrap();
    bed.lose_half(1).await;
    let process = bed.process();
    process.look().await;
    let before = bed.keyring().await;
    let now: ConfigMap = bed.objects.get(&key).await.unwrap().unwrap();
    bed.objects.replace(&ConfigMap { data: backup.data, ..now }).await.unwrap();
    process.look().await;
    let after = bed.keyring().await;
    assert_eq!((after.versions, after.serial > before.serial), (before.versions, true));
}

#[tokio::test]
async fn a_version_ends_with_its_private_half_once_no_value_of_it_is_in_use() {
    use VersionState::{Active, Removed, Retiring};
    let bed = Bed::new();
    bed.process().look().await;
    bed.lose_half(1).await;
    let process = bed.process();
    process.look().await;
    bed.process().signer.make(1).await.unwrap();
    for (in_use, states) in
        [(None, [Retiring, Active]), (Some([1, 2].into()), [Retiring, Active]), (Some([2].into()), [Removed, Active])]
    {
        *bed.in_use.lock().unwrap() = in_use;
        process.look().await;
        assert_eq!(bed.states().await, states);
    }
    assert_eq!((bed.has_half(1).await, bed.has_half(2).await), (false, true));
}
