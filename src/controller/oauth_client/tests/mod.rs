//! The kind over a store in memory, driven step by step: a fixed clock, no tasks, no sleeps.
//!
//! Flows in: objects as users write them. Flows out: what lies in the store once nothing is left to do.

#![expect(clippy::needless_pass_by_value, reason = "`json!` at the call reads better than `&json!`")]

mod by_name;
mod crash;
mod create;
mod mirror;
mod modes;
mod no_secret;
mod revoke;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_api::{OAuthClient, ScopePolicy};
use countersign_core::client::ClientObject;
use countersign_core::client_secret::{SecretState, SignerKeyring, VerifyingKeys, accept};
use countersign_core::directory::{Change as Moved, Directory, NamespaceObject, PolicyObject, Settings};
use countersign_core::names::{ClientId, IssuerName, Namespace};
use countersign_core::revocation::{Entry, Revocation, Revoked, Shard, SinkError};
use futures::FutureExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use serde_json::{Value as Json, json};

use super::*;
use crate::controller::Gate;
use crate::controller::secret_signer::ring::{self, SIGNER, SignerRing};
use crate::objects::layout::KEYRING_DATA;
use crate::objects::{Change, FolderStore, Key, Preconditions};
use crate::runtime::contact::Contact;

pub(super) const ORDERS: &str = "https://orders.shop.svc";

/// Keeps what is revoked, as the shards would.
#[derive(Default)]
pub(super) struct Kept(Mutex<Shard>);

impl Sink for Kept {
    fn revoke(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>> {
        let now = entry.written_at;
        self.0.lock().unwrap().insert(entry, now, &Timings::default()).unwrap();
        Box::pin(async { Ok(()) })
    }
}

/// One controller process over a store.
pub(super) struct Process {
    pub(super) kind: OAuthClients,
    live: Live<Snapshot>,
    before: Arc<Snapshot>,
    watches: Watches,
    queue: BTreeSet<ObjectRef>,
    pub(super) wakes: BTreeMap<ObjectRef, Timestamp>,
}

struct Watches {
    clients: BoxStream<'static, Change<OAuthClient>>,
    mirrored: BoxStream<'static, Change<OAuthClient>>,
    policies: BoxStream<'static, Change<ScopePolicy>>,
    secrets: BoxStream<'static, Change<Secret>>,
    config_maps: BoxStream<'static, Change<ConfigMap>>,
    records: BoxStream<'static, Change<Secret>>,
}

/// A store, its clock, and the process at work on it.
pub(super) struct Bench {
    pub(super) objects: Objects,
    pub(super) clock: Clock,
    pub(super) layout: Layout,
    pub(super) sink: Arc<Kept>,
    /// How many more writes may happen.
    pub(super) writes_left: Arc<AtomicUsize>,
    access: SecretAccess,
    pub(super) process: Process,
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn client(spec: &Json) -> OAuthClient {
    let mut spec = spec.clone();
    spec.as_object_mut().unwrap().entry("access").or_insert(json!([{"audience": ORDERS, "scopes": ["orders:read"]}]));
    let object = json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"name": "checkout", "namespace": "shop"}, "spec": spec
    });
    serde_json::from_value(object).unwrap()
}

fn policy() -> ScopePolicy {
    let object = json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "ScopePolicy",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "audience": ORDERS,
            "targetRefs": [{"group": "", "kind": "Service", "name": "orders"}],
            "scopes": [{"name": "orders:read"}, {"name": "orders:write"}],
            "grants": [{"scopes": ["orders:read", "orders:write"], "to": [{"namespaces": "Same"}]}]
        }
    });
    serde_json::from_value(object).unwrap()
}

pub(super) fn checkout() -> ObjectRef {
    ObjectRef::new("shop", "checkout").unwrap()
}

pub(super) fn secret_key() -> Key {
    Key::namespaced("shop", "checkout-oauth")
}

impl Bench {
    /// A store with the policy, and a process that has made its signing key.
    pub(super) async fn new() -> Self {
        Self::with(SecretAccess::WATCHED).await
    }

    /// The same, where Secrets are got at in another way.
    pub(super) async fn with(access: SecretAccess) -> Self {
        let clock = Clock::fixed(at(1_000_000));
        let objects = Objects::Folder(FolderStore::in_memory(clock.clone()).unwrap());
        let layout = Layout::new(IssuerName::new("default").unwrap(), &Namespace::new("countersign-system").unwrap());
        let layout = layout.unwrap();
        let sink = Arc::new(Kept::default());
        let writes_left = Arc::new(AtomicUsize::new(usize::MAX));
        objects.create(&policy()).await.unwrap();
        let process = Process::start(&objects, &clock, &layout, (&sink, &writes_left, &access)).await;
        Self { objects, clock, layout, sink, writes_left, access, process }
    }

    /// The process ends and another takes over.
    pub(super) async fn restart(&mut self) {
        self.writes_left.store(usize::MAX, Ordering::Relaxed);
        let Self { objects, clock, layout, sink, writes_left, access, .. } = self;
        self.process = Process::start(objects, clock, layout, (sink, writes_left, access)).await;
    }

    pub(super) async fn apply(&mut self, spec: Json) {
        self.objects.create(&client(&spec)).await.unwrap();
        self.settle().await;
    }

    /// Changes the client in place.
    pub(super) async fn edit(&mut self, change: impl FnOnce(&mut OAuthClient)) {
        let mut client = self.client().await;
        change(&mut client);
        self.objects.replace(&client).await.unwrap();
        self.settle().await;
    }

    pub(super) async fn edit_secret(&mut self, change: impl FnOnce(&mut Secret)) {
        let mut secret = self.secret().await.unwrap();
        change(&mut secret);
        self.objects.managed_by("kubectl-edit").replace(&secret).await.unwrap();
        self.settle().await;
    }

    pub(super) async fn edit_policy(&mut self, change: impl FnOnce(&mut ScopePolicy)) {
        let key = Key::namespaced("shop", "orders");
        let mut policy: ScopePolicy = self.objects.get(&key).await.unwrap().unwrap();
        change(&mut policy);
        self.objects.replace(&policy).await.unwrap();
        self.settle().await;
    }

    pub(super) async fn delete_secret(&mut self) {
        self.objects.delete::<Secret>(&secret_key(), &Preconditions::default()).await.unwrap();
        self.settle().await;
    }

    pub(super) async fn delete_client(&mut self) {
        self.objects.delete::<OAuthClient>(&Key::from(&checkout()), &Preconditions::default()).await.unwrap();
        self.settle().await;
    }

    pub(super) async fn pass(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.settle().await;
    }

    /// Works until nothing is left to do; failures are tried again a few times.
    pub(super) async fn settle(&mut self) {
        for _ in 0..50 {
            let revoked = Revoked::build([&*self.sink.0.lock().unwrap()], self.clock.now());
            if !self.process.turn(&self.objects, &self.layout, revoked, self.clock.now()).await {
                return;
            }
        }
        panic!("does not come to rest: {}", self.state().await);
    }

    pub(super) async fn client(&self) -> OAuthClient {
        self.objects.get(&Key::from(&checkout())).await.unwrap().unwrap()
    }

    pub(super) async fn status(&self) -> countersign_api::OAuthClientStatus {
        self.client().await.status.unwrap_or_default()
    }

    pub(super) async fn secret(&self) -> Option<Secret> {
        self.objects.get(&secret_key()).await.unwrap()
    }

    pub(super) async fn condition(&self, kind: &str) -> String {
        let status = self.status().await;
        let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
        condition.map_or_else(String::new, |condition| format!("{}/{}", condition.status, condition.reason))
    }

    /// When the value in the Secret was issued, if it is one of ours and this client's.
    pub(super) async fn issued(&self) -> Option<Timestamp> {
        let secret = self.secret().await?;
        let value = text(&secret, "client_secret")?;
        let id = ClientId::new(&text(&secret, "client_id")?).ok()?;
        let keys = self.process.kind.snapshot.load().client_secret_keys.clone();
        accept(&value, &id, self.layout.issuer_name(), &keys, Timestamp::MIN).ok().map(|accepted| accepted.issued_at)
    }

    /// The epochs that were revoked: for which audience, and below which.
    pub(super) fn epochs(&self) -> Vec<(Option<String>, u64)> {
        let shard = self.sink.0.lock().unwrap();
        let epoch = |entry: &Entry| match &entry.revocation {
            Revocation::Client { audience, epoch, .. } => Some((audience.as_ref().map(ToString::to_string), *epoch)),
            _ => None,
        };
        shard.entries.iter().filter_map(epoch).collect()
    }

    /// Everything that shows, without what differs from run to run.
    pub(super) async fn state(&self) -> String {
        let mut client = self.client().await;
        // A revocation written twice, before and after a crash, raises the epoch once more.
        if let Some(status) = client.status.as_mut() {
            status.epoch = status.epoch.map(|epoch| epoch.min(1));
        }
        let created = client.creation_timestamp().map(|created| created.0);
        if let Some(secret) = client.status.as_mut().and_then(|status| status.secret.as_mut()) {
            // Absent, it means the same.
            let state = SecretState::from(&*secret);
            secret.accepted_since = created.map(|created| state.not_before(created, None));
        }
        let secret = self.secret().await;
        let keys =
            secret.as_ref().map(|secret| secret.data.iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>());
        let meta = secret.as_ref().map(|secret| (secret.labels().clone(), secret.annotations().clone()));
        let status = serde_json::to_string_pretty(&client.status).unwrap();
        format!("status {status}\nsecret {keys:?} {meta:?} issued {:?}", self.issued().await)
    }

    pub(super) async fn versions(&self) -> (Option<String>, Option<String>) {
        (self.client().await.resource_version(), self.secret().await.and_then(|secret| secret.resource_version()))
    }
}

impl Process {
    async fn start(
        objects: &Objects,
        clock: &Clock,
        layout: &Layout,
        (sink, left, access): (&Arc<Kept>, &Arc<AtomicUsize>, &SecretAccess),
    ) -> Self {
        let gate = Gate::new({
            let left = Arc::clone(left);
            // Asked once before each write, so that the process can be stopped after any of them.
            move || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        });
        let always = Writer::new(objects, Gate::always(), "signer");
        let signer = Arc::new(SecretSigner::new(always, layout.clone(), clock.clone()));
        let settings =
            Settings::new(layout.issuer_name().clone(), "https://issuer.example", "cluster.local", Vec::new());
        let ring = SignerRing::new(ring::Parts {
            signer: Arc::clone(&signer),
            objects: objects.clone(),
            snapshot: Live::new(Snapshot::empty(Arc::new(settings.clone()))),
            in_use: Box::new(|| None),
        });
        ring.reconcile(&SIGNER).await.unwrap();
        let namespace = Namespace::new("shop").unwrap();
        let labels = [("kubernetes.io/metadata.name".to_owned(), "shop".to_owned())].into();
        let object = NamespaceObject { name: namespace.clone(), labels, is_ending: false };
        let shop = Moved::Namespace(namespace, Some(Arc::new(object)));
        let live = Live::new(Snapshot {
            directory: Arc::new(Directory::empty(Arc::new(settings)).apply([shop])),
            keys: Arc::default(),
            rings: Arc::default(),
            revoked: Arc::default(),
            client_secret_keys: Arc::new(VerifyingKeys::new(&keyring(objects, layout).await)),
            private_keys: Arc::default(),
            records: Arc::default(),
            record_key: None,
        });
        let kind = OAuthClients::new(Parts {
            writer: Writer::new(objects, gate, "oauth-client"),
            layout: layout.clone(),
            clock: clock.clone(),
            timings: Timings::default(),
            snapshot: live.clone(),
            sink: Arc::<Kept>::clone(sink),
            connections: Connections::known(Connection {
                issuer: "https://issuer.example".to_owned(),
                token_endpoint: "https://issuer.example/oauth2/token".to_owned(),
                jwks_uri: "https://issuer.example/oauth2/jwks".to_owned(),
                ca: Some("-----BEGIN CERTIFICATE-----".to_owned()),
            }),
            has_cluster: true,
            signer,
            replicas: Replicas::new(Timings::default(), Contact::never()),
            pace: Pace::default(),
            access: access.clone(),
        });
        let watches = Watches {
            clients: objects.watch(Selection::all()),
            mirrored: objects.watch(Selection::all()),
            policies: objects.watch(Selection::all()),
            secrets: match access.reread {
                None => objects.watch(layout.select_for_users().unlabelled(PART)),
                Some(_) => futures::stream::pending().boxed(),
            },
            config_maps: objects.watch(layout.select_for_users().unlabelled(PART)),
            records: objects.watch(layout.select(Part::ReferenceRecord)),
        };
        let before = live.load_full();
        Self { kind, live, before, watches, queue: BTreeSet::new(), wakes: BTreeMap::new() }
    }

    /// Takes in what changed and looks at each client concerned once; whether there was anything.
    async fn turn(&mut self, objects: &Objects, layout: &Layout, revoked: Revoked, now: Timestamp) -> bool {
        self.mirror(revoked, VerifyingKeys::new(&keyring(objects, layout).await));
        self.take_in_clients(now);
        while let Some(Some(change)) = self.watches.secrets.next().now_or_never() {
            self.queue.extend(self.kind.world().see(Seen::Secret(change), now));
        }
        while let Some(Some(change)) = self.watches.config_maps.next().now_or_never() {
            self.queue.extend(self.kind.world().see(Seen::ConfigMap(change), now));
        }
        while let Some(Some(change)) = self.watches.records.next().now_or_never() {
            self.queue.extend(self.kind.world().see(Seen::Record(change), now));
        }
        self.queue.extend(self.kind.affected(&mut self.before));
        let due: Vec<_> = self.wakes.iter().filter(|(_, wake)| **wake <= now).map(|(key, _)| key.clone()).collect();
        self.queue.extend(due);
        let queue = std::mem::take(&mut self.queue);
        let worked = !queue.is_empty();
        for key in queue {
            self.wakes.remove(&key);
            match self.kind.reconcile(&key).await {
                Ok(wake) => drop(wake.map(|wake| self.wakes.insert(key, wake))),
                Err(failure) if ["not_leader", "signer"].contains(&failure.category) => {}
                Err(failure) => panic!("{failure:?}"),
            }
        }
        worked
    }

    /// Takes in what the watch of clients says, and looks at none.
    pub(super) fn take_in_clients(&mut self, now: Timestamp) {
        while let Some(Some(change)) = self.watches.clients.next().now_or_never() {
            self.queue.extend(self.kind.world().see(Seen::Client(Box::new(change)), now));
        }
    }
}

async fn keyring(objects: &Objects, layout: &Layout) -> SignerKeyring {
    let map: ConfigMap = objects.get(&layout.client_secret_keyring()).await.unwrap().unwrap();
    serde_json::from_str(&map.data.unwrap()[KEYRING_DATA]).unwrap()
}

pub(super) fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}
