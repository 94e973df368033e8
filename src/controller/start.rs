//! Puts the kinds together and hands their tasks to the supervisor.
//!
//! Flows in: the store, the snapshot, who leads, what the flags say. Flows out: running loops. The revocations writer, the
//! elector and the feed of the snapshot are the caller's: other roles in the same process share them.

use std::sync::Arc;

use countersign_api::{NamespaceAllowance, ScopePolicy};
use countersign_core::revocation::Sink;
use countersign_core::timings::Timings;

use super::certificates::{self, CERTIFICATES, Certificates};
use super::connections::Connections;
use super::oauth_client::{OAuthClients, Parts, SecretAccess};
use super::replicas::Replicas;
use super::reported::{Reported, Reports};
use super::secret_signer::SecretSigner;
use super::secret_signer::ring::{self, SIGNER, SignerRing};
use super::signing_key::{self, SigningKeys};
use super::wiring::{self, Wired, Wirings};
use super::{Gate, Kind, Loop, LoopMetrics, Pace, Queue, Writer};
use crate::objects::layout::Layout;
use crate::objects::{Key, Objects};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::supervisor::Supervisor;
use crate::snapshot::Snapshot;

/// What a controller runs on.
pub struct Settings {
    pub objects: Objects,
    pub layout: Layout,
    pub clock: Clock,
    pub timings: Timings,
    pub snapshot: Live<Snapshot>,
    pub gate: Gate,
    /// Where revocations go; its writer is this process's alone.
    pub sink: Arc<dyn Sink>,
    /// How the Secrets of clients are got at.
    pub access: SecretAccess,
    /// What applications are told of the issuer.
    pub connections: Connections,
    /// The certificates to make, if any.
    pub certificates: Option<certificates::Settings>,
    /// What connects traffic; none: nothing is written for gateways.
    pub wiring: Option<wiring::Settings>,
}

/// What all kinds share.
struct Shared<'a> {
    supervisor: &'a mut Supervisor,
    settings: &'a Settings,
    metrics: LoopMetrics,
}

impl Shared<'_> {
    fn writer(&self, kind: &str) -> Writer {
        Writer::new(&self.settings.objects, self.settings.gate.clone(), &format!("countersign/{kind}"))
    }

    fn run<K: Kind>(&mut self, name: &'static str, kind: Arc<K>, queue: Queue<K::Key>) {
        let Settings { gate, clock, .. } = self.settings;
        let each = Loop { kind, queue, gate: gate.clone(), clock: clock.clone(), metrics: self.metrics.clone() };
        let shutdown = self.supervisor.shutdown();
        self.supervisor.spawn(name, each.run(shutdown));
    }
}

/// Starts every kind.
pub fn start(supervisor: &mut Supervisor, metrics: &Metrics, settings: &Settings) {
    let mut shared = Shared { supervisor, settings, metrics: LoopMetrics::register(metrics) };
    let replicas = Replicas::new(settings.timings, settings.objects.contact().clone());
    let pace = Pace::default();
    let rings = signing_keys(&mut shared, replicas.clone(), pace.clone());
    watch_replicas(&mut shared, replicas.clone(), rings);
    let writer = shared.writer("client-secret-signer");
    let signer = Arc::new(SecretSigner::new(writer, settings.layout.clone(), settings.clock.clone()));
    policies(&mut shared, &pace);
    reports::<NamespaceAllowance>(&mut shared, ("namespace-allowances", "namespace-allowances-watch"), (), &pace);
    let clients = oauth_clients(&mut shared, Arc::clone(&signer), replicas, pace);
    signer_ring(&mut shared, signer, clients);
    if let Some(wanted) = &settings.certificates {
        certificates(&mut shared, metrics, wanted.clone());
    }
}

/// Policies: their status, and what connects their traffic.
fn policies(shared: &mut Shared<'_>, pace: &Pace) {
    let wired = if shared.settings.wiring.is_some() { Wired::default() } else { Wired::off() };
    let tell = reports::<ScopePolicy>(shared, ("scope-policies", "scope-policies-watch"), wired.clone(), pace);
    let Settings { objects, layout, clock, snapshot, wiring: Some(settings), .. } = shared.settings else { return };
    let kind = Arc::new(Wirings::new(wiring::Parts {
        writer: shared.writer("wiring"),
        layout: layout.clone(),
        clock: clock.clone(),
        snapshot: snapshot.clone(),
        settings: settings.clone(),
        wired,
        tell,
    }));
    let queue = Queue::default();
    let follow = Arc::clone(&kind).follow(objects.clone(), queue.clone(), shared.supervisor.shutdown());
    shared.supervisor.spawn("wiring-watch", follow);
    shared.run("wiring", kind, queue);
}

fn reports<K: Reported>(
    shared: &mut Shared<'_>,
    (name, watch): (&'static str, &'static str),
    beside: K::Beside,
    pace: &Pace,
) -> Queue<Key> {
    let Settings { objects, layout, clock, snapshot, .. } = shared.settings;
    let issuer = layout.issuer_name().as_str();
    let kind = Arc::new(Reports::<K>::new(
        shared.writer(name),
        issuer,
        clock.clone(),
        (snapshot.clone(), beside),
        pace.clone(),
    ));
    let queue = Queue::default();
    let follow = Arc::clone(&kind).follow(objects.clone(), queue.clone(), shared.supervisor.shutdown());
    shared.supervisor.spawn(watch, follow);
    shared.run(name, kind, queue.clone());
    queue
}

fn watch_replicas(shared: &mut Shared<'_>, replicas: Replicas, changed: impl Fn() + Send + 'static) {
    let Settings { objects, layout, clock, .. } = shared.settings;
    let with = (layout.clone(), shared.writer("replicas"), clock.clone());
    let shutdown = shared.supervisor.shutdown();
    shared.supervisor.spawn("replicas", replicas.follow(objects.clone(), with, changed, shutdown));
}

/// What comes back is called when the replicas report something new.
fn signing_keys(shared: &mut Shared<'_>, replicas: Replicas, pace: Pace) -> impl Fn() + Send + use<> {
    let settings = shared.settings;
    let kind = Arc::new(SigningKeys::new(signing_key::Parts {
        writer: shared.writer("signing-key"),
        layout: settings.layout.clone(),
        clock: settings.clock.clone(),
        timings: settings.timings,
        snapshot: settings.snapshot.clone(),
        replicas,
        pace,
    }));
    let queue = Queue::default();
    let follow = Arc::clone(&kind).follow(settings.objects.clone(), queue.clone(), shared.supervisor.shutdown());
    shared.supervisor.spawn("signing-keys-watch", follow);
    shared.run("signing-keys", Arc::clone(&kind), queue.clone());
    move || kind.rings().into_iter().for_each(|ring| queue.offer(ring))
}

fn signer_ring(shared: &mut Shared<'_>, signer: Arc<SecretSigner>, clients: Arc<OAuthClients>) {
    let Settings { objects, snapshot, .. } = shared.settings;
    let in_use: ring::InUse = Box::new(move || clients.versions_in_use());
    let parts = ring::Parts { signer, objects: objects.clone(), snapshot: snapshot.clone(), in_use };
    let (kind, queue) = (Arc::new(SignerRing::new(parts)), Queue::default());
    queue.offer(SIGNER);
    let follow = Arc::clone(&kind).follow(queue.clone(), shared.supervisor.shutdown());
    shared.supervisor.spawn("client-secret-keyring-watch", follow);
    shared.run("client-secret-signer", kind, queue);
}

fn certificates(shared: &mut Shared<'_>, metrics: &Metrics, wanted: certificates::Settings) {
    let settings = shared.settings;
    let parts = certificates::Parts {
        objects: settings.objects.clone(),
        writer: shared.writer("certificates"),
        layout: settings.layout.clone(),
        clock: settings.clock.clone(),
        settings: wanted,
        connections: settings.connections.clone(),
    };
    let (kind, queue) = (Arc::new(Certificates::new(parts, metrics)), Queue::default());
    queue.offer(CERTIFICATES);
    let follow = Arc::clone(&kind).follow(queue.clone(), shared.supervisor.shutdown());
    shared.supervisor.spawn("certificates-watch", follow);
    shared.run("certificates", kind, queue);
}

fn oauth_clients(
    shared: &mut Shared<'_>,
    signer: Arc<SecretSigner>,
    replicas: Replicas,
    pace: Pace,
) -> Arc<OAuthClients> {
    let settings = shared.settings;
    let kind = Arc::new(OAuthClients::new(Parts {
        writer: shared.writer("oauth-client"),
        layout: settings.layout.clone(),
        clock: settings.clock.clone(),
        timings: settings.timings,
        snapshot: settings.snapshot.clone(),
        sink: Arc::clone(&settings.sink),
        connections: settings.connections.clone(),
        has_cluster: matches!(settings.objects, Objects::Kube(_)),
        signer,
        replicas,
        pace,
        access: settings.access.clone(),
    }));
    let queue = Queue::default();
    let follow = Arc::clone(&kind).follow(settings.objects.clone(), queue.clone(), shared.supervisor.shutdown());
    shared.supervisor.spawn("oauth-clients-watch", follow);
    shared.run("oauth-clients", Arc::clone(&kind), queue);
    kind
}
