//! The pods there are, where clients prove who they are by them: `--watch-pods`.
//!
//! ```text
//! snapshot ─► namespaces with such clients ─► a watch each, metadata only ─► Pods, asked by each assertion
//! ```
//! Flows in: the directory, and the metadata of those namespaces' pods. Flows out: whether a pod is there. Of a pod no more than its
//! UID is kept. While the API server is away, the pods known so far count as there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use countersign_core::names::{Namespace, Uid};
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Snapshot;
use crate::objects::{Change, Objects, Selection};
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Beginning;
use crate::runtime::supervisor::Shutdown;

/// How soon the namespaces are looked through again at the earliest: among very many clients that takes milliseconds.
const PACE: Duration = Duration::from_millis(100);

/// The pods there are. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Pods {
    namespaces: Arc<Mutex<HashMap<Namespace, Listed>>>,
    changed: watch::Sender<()>,
    known: Gauge,
}

/// The UIDs of a namespace's pods; none before the first listing.
type Listed = Option<HashSet<PodId>>;

/// A UID, which is a UUID in every cluster there is.
type PodId = u128;

/// Whether a pod is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    There,
    /// It is not among the namespace's pods: deleted, or too new to have been heard of.
    Gone,
    /// The namespace's pods have not been listed yet.
    Unknown,
}

type Step = (Namespace, Change<Option<PodId>>);

// === impl Pods ===

impl Pods {
    /// None are known yet.
    pub fn new(metrics: &Metrics) -> Self {
        let known = metrics
            .gauge("issuer_pods_known", "Pods whose ServiceAccount tokens are good if a client names the account");
        Self { namespaces: Arc::default(), changed: watch::Sender::new(()), known }
    }

    /// Whether the pod is there, as far as is known now.
    pub fn look(&self, namespace: &Namespace, uid: &Uid) -> Presence {
        match self.namespaces().get(namespace) {
            Some(Some(listed)) if listed.contains(&id(uid.as_str())) => Presence::There,
            Some(Some(_)) => Presence::Gone,
            Some(None) | None => Presence::Unknown,
        }
    }

    /// Waits for the pod to be there, at most until the deadline: its token may be faster than the news of it.
    pub async fn wait_for(&self, namespace: &Namespace, uid: &Uid, deadline: Instant) -> Presence {
        let mut changes = self.changed.subscribe();
        loop {
            let presence = self.look(namespace, uid);
            if presence == Presence::There || tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return presence;
            }
        }
    }

    /// Keeps to the store until told to stop; the beginning is over once every namespace has been listed.
    pub async fn follow(
        self,
        objects: Objects,
        live: Live<Snapshot>,
        mut beginning: Beginning,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let mut changes = live.subscribe();
        let mut watches = Watches { objects, streams: SelectAll::new(), guards: HashMap::new() };
        let mut look_at = Some(Instant::now());
        loop {
            if !beginning.is_over() {
                look_at = look_at.or(Some(Instant::now() + PACE));
            }
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                Some((namespace, change)) = watches.streams.next(), if !watches.streams.is_empty() => {
                    self.take(&namespace, change);
                }
                () = changes.changed() => look_at = look_at.or(Some(Instant::now() + PACE)),
                () = tokio::time::sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    look_at = None;
                    let is_listed = beginning.is_listed();
                    let wanted = live.load().directory.namespaces_by_pods().cloned().collect();
                    self.keep_only(&wanted);
                    watches.keep_to(&wanted);
                    beginning.look(is_listed, self.namespaces().values().all(Option::is_some), Instant::now());
                }
            }
        }
    }

    fn take(&self, namespace: &Namespace, change: Change<Option<PodId>>) {
        let mut namespaces = self.namespaces();
        // What a watch still said after nobody wanted it.
        let Some(listed) = namespaces.get_mut(namespace) else { return };
        match change {
            Change::Reset(pods, malformed) => {
                let unread = malformed.iter().filter_map(|malformed| malformed.uid.as_deref().map(id));
                *listed = Some(pods.into_iter().flatten().chain(unread).collect());
            }
            Change::Apply(pod) => listed.get_or_insert_default().extend(pod),
            Change::Malformed(malformed) => {
                listed.get_or_insert_default().extend(malformed.uid.as_deref().map(id));
            }
            Change::Delete(gone) => {
                let pod = gone.last.flatten().or(gone.uid.as_deref().map(id));
                if let (Some(pod), Some(listed)) = (pod, listed) {
                    listed.remove(&pod);
                }
            }
        }
        self.count(&namespaces);
        self.changed.send_replace(());
    }

    fn keep_only(&self, wanted: &BTreeSet<Namespace>) {
        let mut namespaces = self.namespaces();
        namespaces.retain(|namespace, _| wanted.contains(namespace));
        for namespace in wanted {
            namespaces.entry(namespace.clone()).or_default();
        }
        self.count(&namespaces);
    }

    fn count(&self, namespaces: &HashMap<Namespace, Listed>) {
        let count: usize = namespaces.values().flatten().map(HashSet::len).sum();
        self.known.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<Namespace, Listed>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watches there are; one ends when its guard is dropped.
struct Watches {
    objects: Objects,
    streams: SelectAll<BoxStream<'static, Step>>,
    guards: HashMap<Namespace, DropGuard>,
}

// === impl Watches ===

impl Watches {
    fn keep_to(&mut self, wanted: &BTreeSet<Namespace>) {
        self.guards.retain(|namespace, _| wanted.contains(namespace));
        for namespace in
            wanted.iter().filter(|namespace| !self.guards.contains_key(*namespace)).cloned().collect::<Vec<_>>()
        {
            let token = CancellationToken::new();
            let pods =
                self.objects.watch_as(Selection::namespace(namespace.as_str()), |pod: PartialObjectMeta<Pod>| {
                    pod.metadata.uid.as_deref().map(id)
                });
            let of = namespace.clone();
            let steps = pods.map(move |change| (of.clone(), change)).take_until(token.clone().cancelled_owned());
            self.streams.push(steps.boxed());
            self.guards.insert(namespace, token.drop_guard());
        }
    }
}

fn id(uid: &str) -> PodId {
    let hex: String = uid.chars().filter(|character| *character != '-').collect();
    u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32).unwrap_or_else(|| {
        let digest = digest(&SHA256, uid.as_bytes());
        digest.as_ref().iter().take(16).fold(0, |id, byte| (id << 8) | u128::from(*byte))
    })
}
