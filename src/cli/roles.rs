//! What each role is made of: `controller`, `issuer` and `verifier` start one, `standalone` and `demo` all three.
//!
//! Flows in: a process, a store and an installation. Flows out: tasks under the process's supervisor.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use countersign_core::bounds::Reserved;
use countersign_core::directory::{self, Conflicts};
use countersign_core::keyring::{DEFAULT_RING, ReplicaRole};
use countersign_core::names::{Namespace, ObjectName};
use countersign_core::revocation::Sink;
use countersign_core::timings::Timings;
use futures::FutureExt as _;
use rustls::RootCertStore;
use tokio::sync::watch;

use super::ca_file::CaFile;
use super::options::{Installation, Tls};
use super::process::Process;
use super::store::Kind;
use super::usage::Usage;
use crate::admission::{self, AgentSettings, RingUse};
use crate::controller::connections::Connections;
use crate::controller::oauth_client::{Connection, SecretAccess};
use crate::controller::{self, Gate, certificates};
use crate::http::body::BodyLimits;
use crate::issuer::keeper::{Keeper, Watched};
use crate::issuer::published_keys::PublishedKeys;
use crate::issuer::published_keys::fetch::{self, Fetcher};
use crate::issuer::signer::Signers;
use crate::issuer::usage::SecretUsage;
use crate::issuer::{self, Parts};
use crate::objects::Objects;
use crate::objects::heartbeat::{Heartbeat, Report, UsedSecret, UsedSecrets};
use crate::objects::layout::Layout;
use crate::objects::lease::{Elector, LeaseTimings};
use crate::objects::revocations::Writer;
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::readiness::{Beginning, Condition};
use crate::runtime::serve::Limits;
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;
use crate::snapshot::cluster_keys::ClusterKeys;
use crate::snapshot::pods::Pods;
use crate::snapshot::{Feed, Role, Sources};
use crate::store::Store;
use crate::verifier::{self, Verifier};

/// What an installation is, as values.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) layout: Layout,
    pub(crate) settings: Arc<directory::Settings>,
}

impl Site {
    /// Puts the flags together, refusing what contradicts itself.
    pub(crate) fn new(flags: &Installation, issuer_url: &str, timings: Timings, conflicts: Conflicts) -> Result<Self> {
        let layout = Layout::new(flags.issuer_name.clone(), &flags.system_namespace)
            .map_err(|error| Usage::of("--system-namespace is too long", &error.into()))?;
        let audiences = flags.reserved_audience.iter().map(ToString::to_string);
        let settings = directory::Settings {
            issuer_name: flags.issuer_name.clone(),
            issuer_url: issuer_url.to_owned(),
            cluster_domain: flags.cluster_domain.clone(),
            reserved: Reserved::new(issuer_url, &flags.cluster_domain, audiences),
            timings,
            conflicts,
            notes_uses: flags.store != Kind::None,
            key_hosts: flags.client_keys_host.iter().cloned().collect(),
        };
        Ok(Self { layout, settings: Arc::new(settings) })
    }
}

/// The roles of one process over one store.
pub(crate) struct Roles<'a> {
    process: &'a mut Process,
    objects: Objects,
    site: Site,
    replica: String,
    live: Live<Snapshot>,
    /// Holds once the first snapshot is there.
    listed: Condition,
    pods: Option<Pods>,
    store: Option<Arc<dyn Store>>,
    published_keys: Option<PublishedKeys>,
}

impl<'a> Roles<'a> {
    /// Starts the watches this role needs.
    pub(crate) fn start(process: &'a mut Process, objects: Objects, site: Site, replica: String, role: Role) -> Self {
        let sources = Sources {
            objects: objects.clone(),
            layout: site.layout.clone(),
            settings: Arc::clone(&site.settings),
            clock: process.clock.clone(),
        };
        let listed = process.readiness.condition("first-listing");
        let feed = Feed::new(sources, role, listed.clone(), &process.metrics);
        let live = feed.live();
        process.supervisor.spawn("snapshot", feed.run(process.supervisor.shutdown()));
        Self { process, objects, site, replica, live, listed, pods: None, store: None, published_keys: None }
    }

    /// Reconciles while this process leads.
    pub(crate) fn controller(
        &mut self,
        (lease, access): (LeaseTimings, SecretAccess),
        ca: Option<CaFile>,
        certificates: Option<certificates::Settings>,
        wiring: Option<controller::wiring::Settings>,
    ) {
        let issuer = &self.site.settings.issuer_url;
        let connection = Connection {
            issuer: issuer.clone(),
            token_endpoint: format!("{issuer}/oauth2/token"),
            jwks_uri: format!("{issuer}/oauth2/jwks"),
            ca: None,
        };
        let connections = self.connections(connection, ca, certificates.as_ref());
        let (clock, shutdown) = (self.process.clock.clone(), self.process.supervisor.shutdown());
        let (elector, leadership) =
            Elector::new(&self.objects, &self.site.layout, self.replica.clone(), lease, clock.clone());
        self.process.supervisor.spawn("elector", elector.run(shutdown));
        let settings = controller::start::Settings {
            objects: self.objects.clone(),
            layout: self.site.layout.clone(),
            clock,
            timings: self.site.settings.timings,
            snapshot: self.live.clone(),
            gate: Gate::from(leadership),
            sink: self.sink("controller"),
            access,
            connections,
            certificates,
            wiring,
        };
        controller::start::start(&mut self.process.supervisor, &self.process.metrics, &settings);
    }

    /// What clients are told: by a file that is read again when it changes, else by the bundle, else nothing.
    fn connections(
        &mut self,
        connection: Connection,
        ca: Option<CaFile>,
        certificates: Option<&certificates::Settings>,
    ) -> Connections {
        if let Some(file) = ca {
            let connections = Connections::known(Connection { ca: Some(file.text().to_owned()), ..connection });
            let follow = file.follow(connections.clone(), self.process.supervisor.shutdown());
            self.process.supervisor.spawn("ca file", follow);
            return connections;
        }
        if certificates.is_some_and(|certificates| certificates.for_clients) {
            return Connections::awaiting_trust(connection);
        }
        Connections::known(connection)
    }

    /// Serves `/oauth2/*`; returns the address bound.
    pub(crate) async fn issuer(&mut self, listen: SocketAddr, tls: &Tls) -> Result<SocketAddr> {
        let cluster_keys = self.cluster_keys();
        let settings = &self.site.settings;
        let (clock, timings) = (self.process.clock.clone(), settings.timings);
        let (signers, usage) = (Live::new(Signers::default()), SecretUsage::default());
        let watched = Watched {
            snapshot: self.live.clone(),
            signers: signers.clone(),
            clock: clock.clone(),
            contact: self.objects.contact().clone(),
            timings,
            default_ring: ObjectName::new(DEFAULT_RING)?,
        };
        let keeper = Keeper::new(watched, &self.process.readiness);
        self.process.supervisor.spawn("signers", keeper.run(self.process.supervisor.shutdown()));
        let parts = Parts {
            settings: issuer::Settings {
                issuer_name: settings.issuer_name.clone(),
                issuer_url: settings.issuer_url.clone(),
                timings,
                body: BodyLimits::default(),
            },
            snapshot: self.live.clone(),
            signers,
            clock,
            contact: self.objects.contact().clone(),
            sink: self.sink("issuer"),
            usage: usage.clone(),
            cluster_keys,
            pods: self.pods.take(),
            clients: tls.clients.clone(),
            store: self.store.take(),
            published_keys: self.published_keys.take(),
        };
        let routes = issuer::router(parts, &self.process.metrics);
        self.heartbeat(ReplicaRole::Issuer, Some(usage));
        self.process.serve(("issuer port", "--listen"), (listen, tls), Limits::default(), routes).await
    }

    /// Has the issuer refuse tokens of pods that are gone.
    pub(crate) fn watch_pods(&mut self) {
        let pods = Pods::new(&self.process.metrics);
        let (live, beginning) = (self.live.clone(), self.beginning("pods"));
        let follow = pods.clone().follow(self.objects.clone(), live, beginning, self.process.supervisor.shutdown());
        self.process.supervisor.spawn("pods", follow);
        self.pods = Some(pods);
    }

    /// A condition about what the first snapshot names.
    fn beginning(&self, condition: &'static str) -> Beginning {
        Beginning::new(self.listed.clone(), self.process.readiness.condition(condition))
    }

    /// Has the issuer note here which assertions were used.
    pub(crate) fn note_uses(&mut self, store: Option<Arc<dyn Store>>) {
        self.store = store;
    }

    /// Has the issuer know the keys that clients publish, from hosts under these authorities.
    pub(crate) fn fetch_client_keys(&mut self, roots: RootCertStore) -> Result<()> {
        let directory::Settings { timings, key_hosts, .. } = &*self.site.settings;
        let fetcher = Fetcher::new(roots, key_hosts.clone(), fetch::system())?;
        let clock = self.process.clock.clone();
        let beginning = self.beginning("client-keys");
        let (keys, keeper) = PublishedKeys::new(timings.offline_grace, clock, beginning, &self.process.metrics);
        let follow = keeper.follow(fetcher, self.live.clone(), self.process.supervisor.shutdown());
        self.process.supervisor.spawn("client-keys", follow);
        self.published_keys = Some(keys);
        Ok(())
    }

    /// Keeps what ServiceAccount tokens are checked with; without a cluster nobody makes such tokens.
    fn cluster_keys(&mut self) -> Option<ClusterKeys> {
        let Objects::Kube(store) = &self.objects else { return None };
        let keys = ClusterKeys::new(self.site.settings.timings.offline_grace, &self.process.metrics);
        let (clock, asked) = (self.process.clock.clone(), self.process.readiness.condition("cluster-keys"));
        let follow = keys.clone().follow(store.clone(), clock, asked, self.process.supervisor.shutdown());
        self.process.supervisor.spawn("cluster-keys", follow);
        Some(keys)
    }

    /// Serves the verifier's two ports; returns the addresses bound, gRPC first.
    pub(crate) async fn verifier(
        &mut self,
        (grpc, http): (SocketAddr, SocketAddr),
        tls: &Tls,
        settings: verifier::Settings,
    ) -> Result<(SocketAddr, SocketAddr)> {
        let known = (self.live.clone(), self.listed.clone());
        let verifier = Verifier::new(known, self.process.clock.clone(), &self.process.metrics, settings);
        let keys = self.process.readiness.condition("keys");
        let keeper = Arc::clone(&verifier).keep_ready(keys, self.process.supervisor.shutdown());
        self.process.supervisor.spawn("verifier readiness", keeper.map(Ok::<(), Infallible>));
        self.heartbeat(ReplicaRole::Verifier, None);
        let limits = Limits::default();
        let grpc =
            self.process.serve(("gRPC port", "--grpc-listen"), (grpc, tls), limits, verifier.grpc_service()).await?;
        // Here the request's own target is what is decided on, as it was sent.
        let limits = Limits { http2: false, ..limits };
        let http =
            self.process.serve(("HTTP port", "--http-listen"), (http, tls), limits, verifier.http_router()).await?;
        Ok((grpc, http))
    }

    /// Answers the API server; returns the address bound.
    pub(crate) async fn admission(
        &mut self,
        listen: SocketAddr,
        tls: &Tls,
        agents: Option<AgentSettings>,
    ) -> Result<SocketAddr> {
        let clock = self.process.clock.clone();
        let rings = RingUse::since(clock.now());
        let follow = rings.clone().follow(self.live.clone(), clock.clone(), self.process.supervisor.shutdown());
        self.process.supervisor.spawn("rings named by clients", follow);
        let parts = admission::Parts {
            snapshot: self.live.clone(),
            listed: self.listed.clone(),
            clock,
            system_namespace: Namespace::new(self.site.layout.system_namespace())?,
            rings,
            callers: tls.clients.clone(),
            agents,
        };
        let routes = admission::router(parts, &self.process.metrics);
        self.process.serve(("admission port", "--listen"), (listen, tls), Limits::default(), routes).await
    }

    /// Where this role writes revocations.
    fn sink(&mut self, role: &str) -> Arc<dyn Sink> {
        let writer = format!("{role}-{}", self.replica);
        let timings = self.site.settings.timings;
        let (writer, sink) =
            Writer::new(&self.objects, &self.site.layout, &writer, self.process.clock.clone(), timings);
        self.process.supervisor.spawn("revocations", writer.run(self.process.supervisor.shutdown()));
        Arc::new(sink)
    }

    /// Reports what this replica holds.
    fn heartbeat(&mut self, role: ReplicaRole, usage: Option<SecretUsage>) {
        let timings = self.site.settings.timings;
        let (sender, receiver) = watch::channel(Report::default());
        let clock = self.process.clock.clone();
        let heartbeat = Heartbeat::new(
            &self.objects,
            &self.site.layout,
            (role, &self.replica),
            (clock.clone(), timings.heartbeat_period),
            receiver,
        );
        let reporter = Reporter { live: self.live.clone(), usage, clock, timings, report: sender };
        self.process.supervisor.spawn("heartbeat", heartbeat.run(self.process.supervisor.shutdown()));
        self.process.supervisor.spawn("report", reporter.run(self.process.supervisor.shutdown()));
    }
}

/// Keeps a heartbeat's report true.
struct Reporter {
    live: Live<Snapshot>,
    usage: Option<SecretUsage>,
    clock: Clock,
    timings: Timings,
    report: watch::Sender<Report>,
}

impl Reporter {
    async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut changes = self.live.subscribe();
        let mut ticks =
            tokio::time::interval(self.clock.real(self.timings.usage_report_period).max(Duration::from_millis(10)));
        loop {
            let snapshot = self.live.load_full();
            let serials = snapshot.rings.iter().map(|(name, ring)| (name.clone(), ring.serial)).collect();
            self.report.send_if_modified(|held| {
                let differs = held.serials != serials;
                held.serials = serials;
                differs
            });
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = changes.changed() => {}
                _ = ticks.tick() => self.note_usage(),
            }
        }
    }

    fn note_usage(&self) {
        let Some(usage) = &self.usage else { return };
        let taken = usage.take_report(self.clock.now(), self.timings.unused_for);
        let values = taken.used.into_iter().map(|value| UsedSecret {
            client: value.client,
            issued_at: value.issued_at,
            last_used_at: value.last_used_at,
        });
        let used = UsedSecrets { values: values.collect(), unlisted_used_at: taken.unlisted_used_at };
        self.report.send_if_modified(|report| {
            let differs = report.used != used;
            report.used = used;
            differs
        });
    }
}
