//! The watches of a role, and the publishing of what they bring.
//!
//! ```text
//! watches ─► Update ─► Builder ─► Live<Snapshot>     the first change of a burst is published at once,
//!                                                    what arrives meanwhile goes with the next one
//! ```
//! Flows in: which role this is. Flows out: snapshots, none before every watch had its first whole listing.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use countersign_core::directory::Settings;
use countersign_core::revocation::Entry;
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::Snapshot;
use super::build::{Builder, Update};
use super::read;
use super::table::{Converted, Read, Refused};
use crate::objects::layout::Layout;
use crate::objects::{Change, Object, Objects, Selection};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Condition;
use crate::runtime::supervisor::Shutdown;

/// Updates taken in before a snapshot is published at the latest.
const BURST: usize = 512;
/// From a revocation's writing to its being in force here.
const PROPAGATION: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// What a process is; says which kinds it watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Controller,
    Issuer,
    Verifier,
    Admission,
    /// All in one.
    Standalone,
}

impl Role {
    /// With many clients and verifiers these watches would be what breaks an API server; a verifier has no use for them.
    fn reads_clients(self) -> bool {
        self != Self::Verifier
    }

    /// Nobody shows the webhook a token.
    fn reads_revocations(self) -> bool {
        self != Self::Admission
    }

    /// Only who signs tokens reads their private halves.
    fn reads_keys(self) -> bool {
        matches!(self, Self::Issuer | Self::Standalone)
    }
}

/// Where a feed gets and gives.
#[derive(Clone)]
pub struct Sources {
    pub objects: Objects,
    pub layout: Layout,
    pub settings: Arc<Settings>,
    pub clock: Clock,
}

/// Keeps a snapshot in step with the store.
pub struct Feed {
    sources: Sources,
    role: Role,
    live: Live<Snapshot>,
    refused: Live<Refused>,
    synced: Condition,
    meters: Meters,
}

struct Meters {
    published: Counter,
    left_out: Gauge,
    propagation: Histogram,
}

impl Feed {
    /// `synced` is met once the first snapshot is out; until then the snapshot is empty.
    pub fn new(sources: Sources, role: Role, synced: Condition, metrics: &Metrics) -> Self {
        let propagation = Histogram::new(PROPAGATION);
        let help = "From the writing of a revocation to its being in force here";
        metrics.register("revocation_propagation_seconds", help, propagation.clone());
        let meters = Meters {
            published: metrics.counter("snapshots_published", "Snapshots published"),
            left_out: metrics.gauge("objects_left_out", "Objects that cannot be read and are left out"),
            propagation,
        };
        let live = Live::new(Snapshot::empty(Arc::clone(&sources.settings)));
        Self { sources, role, live, refused: Live::new(Refused::new()), synced, meters }
    }

    /// The snapshot, as it will be kept up to date.
    pub fn live(&self) -> Live<Snapshot> {
        self.live.clone()
    }

    /// The objects that are kept out, and why.
    pub fn refused(&self) -> Live<Refused> {
        self.refused.clone()
    }

    /// Follows the watches until told to stop.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let (mut updates, mut awaited) = self.watches();
        let mut builder = Builder::new(Arc::clone(&self.sources.settings), self.sources.layout.clone());
        loop {
            let first = tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                update = updates.next() => update,
            };
            let Some(first) = first else { return Ok(()) };
            let mut fresh = self.take(&mut builder, first, &mut awaited);
            for _ in 0..BURST {
                let Some(Some(update)) = updates.next().now_or_never() else { break };
                fresh.extend(self.take(&mut builder, update, &mut awaited));
            }
            if awaited.is_empty() {
                builder = self.publish(builder, &fresh).await;
            }
        }
    }

    fn take(&self, builder: &mut Builder, (watch, update): Numbered, awaited: &mut BTreeSet<usize>) -> Vec<Entry> {
        let was_synced = awaited.is_empty();
        let listed = update.is_reset();
        let fresh = builder.take(update);
        if listed && awaited.remove(&watch) && awaited.is_empty() {
            tracing::info!(role = ?self.role, "every watch had its first listing");
        }
        // Before the first snapshot nothing could have been enforced.
        if was_synced { fresh } else { Vec::new() }
    }

    async fn publish(&self, mut builder: Builder, fresh: &[Entry]) -> Builder {
        let now = self.sources.clock.now();
        let (builder, snapshot) = if builder.is_heavy() {
            let work = tokio::task::spawn_blocking(move || {
                let snapshot = builder.build(now);
                (builder, snapshot)
            });
            match work.await {
                Ok(done) => done,
                // A panic in pure code: go down with it, as the task's end is fatal.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        } else {
            let snapshot = builder.build(now);
            (builder, snapshot)
        };
        if let Some(snapshot) = snapshot {
            self.live.publish(snapshot);
            self.meters.published.inc();
        }
        self.synced.ready();
        if *self.refused.load_full() != *builder.refused() {
            self.refused.publish(builder.refused().clone());
            self.meters.left_out.set(i64::try_from(builder.refused().len()).unwrap_or(i64::MAX));
        }
        let now = self.sources.clock.now();
        for entry in fresh {
            self.meters.propagation.observe(now.duration_since(entry.written_at).as_secs_f64().max(0.0));
        }
        builder
    }

    /// The watches the role's table asks for, and which of them have not listed yet.
    fn watches(&self) -> (SelectAll<BoxStream<'static, Numbered>>, BTreeSet<usize>) {
        let Sources { objects, layout, settings, .. } = &self.sources;
        let system = layout.system_namespace();
        let settings = || Arc::clone(settings);
        let mut watches = Watches { objects, all: SelectAll::new() };
        let ours = settings();
        watches.add(Selection::namespace(system), move |object| read::signing_key(&ours, object), Update::SigningKey);
        let here = layout.clone();
        watches.add(layout.select_ours(system), move |map| read::system_map(&here, map), Update::SystemMap);
        if self.role.reads_revocations() {
            watches.add(layout.select_ours(layout.replicas_namespace()), read::shard, Update::Shard);
        }
        if self.role.reads_keys() {
            let (keys, here) = (layout.select_ours(layout.keys_namespace()), layout.clone());
            watches.add(keys, move |secret| read::key_secret(&here, secret), Update::KeySecret);
        }
        watches.add(Selection::all(), read::namespace, Update::Namespace);
        let ours = settings();
        watches.add(Selection::all(), move |object| read::allowance(&ours, object), Update::Allowance);
        let ours = settings();
        watches.add(Selection::all(), move |object| read::policy(&ours, object), Update::Policy);
        if self.role.reads_clients() {
            let ours = settings();
            watches.add(Selection::all(), move |object| read::client(&ours, object), Update::Client);
        }
        let awaited = (0..watches.all.len()).collect();
        (watches.all, awaited)
    }
}

/// An update and the number of the watch it came from.
type Numbered = (usize, Update);

struct Watches<'a> {
    objects: &'a Objects,
    all: SelectAll<BoxStream<'static, Numbered>>,
}

impl Watches<'_> {
    fn add<K: Object, T: Send + 'static>(
        &mut self,
        selection: Selection,
        read: impl Fn(&K) -> Converted<T> + Clone + Send + 'static,
        update: fn(Change<Read<T>>) -> Update,
    ) {
        let number = self.all.len();
        let changes = self.objects.watch_as(selection, move |object: K| Read::of(&object, read(&object)));
        self.all.push(changes.map(move |change| (number, update(change))).boxed());
    }
}

impl Update {
    fn is_reset(&self) -> bool {
        match self {
            Self::Client(change) => is_reset(change),
            Self::Policy(change) => is_reset(change),
            Self::Allowance(change) => is_reset(change),
            Self::Namespace(change) => is_reset(change),
            Self::SigningKey(change) => is_reset(change),
            Self::SystemMap(change) => is_reset(change),
            Self::Shard(change) => is_reset(change),
            Self::KeySecret(change) => is_reset(change),
        }
    }
}

fn is_reset<K>(change: &Change<K>) -> bool {
    matches!(change, Change::Reset(..))
}
