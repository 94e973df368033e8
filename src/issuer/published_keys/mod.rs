//! The keys that clients publish at URLs of their own (`jwksUri`), fetched outside of requests.
//!
//! ```text
//! clients of the snapshot ─► schedule ─► Fetcher ─► the last good keys of each URL ◄── read by each assertion
//!                               ▲                                                        │
//!                               └────────────── a key that is not known ◄────────────────┘
//! ```
//! Flows in: the snapshot, the answers of hosts that tenants chose. Flows out: keys by URL. An answer that is empty or broken
//! replaces nothing, and what was fetched is not used for ever.

pub(crate) mod fetch;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_core::client::KeysUri;
use countersign_core::names::Namespace;
use countersign_core::token::{ClientKey, KeySetError, read_key_set};
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::random;
use crate::runtime::readiness::Beginning;
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;
use fetch::{FetchError, Fetcher};
use schedule::{AT_MOST_EVERY, Schedule};

/// The most fetches at a time.
const AT_ONCE: usize = 16;
/// The most URLs of one namespace's clients: nobody fills the schedule alone.
const OF_NAMESPACE: usize = 64;
/// The most wishes that wait; who finds no room is helped by the wish of somebody else, or by the next fetch.
const WISHES: usize = 256;
/// How often the clients are looked through for URLs, at most.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Sets = HashMap<KeysUri, Arc<Known>>;

/// The last good keys of each URL. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    sets: Live<Sets>,
    /// How long keys are used at most, whatever their host says meanwhile.
    longest: Duration,
    wishes: mpsc::Sender<KeysUri>,
}

/// Keys, and when they were fetched.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) keys: Vec<ClientKey>,
    fetched_at: Timestamp,
}

/// Keeps the keys.
#[derive(Debug)]
pub struct Keeper {
    handle: PublishedKeys,
    wishes: mpsc::Receiver<KeysUri>,
    schedule: Schedule,
    clock: Clock,
    outcomes: [Counter; 3],
    /// Whether the keys of the clients there are were fetched, or tried.
    beginning: Beginning,
    /// Whether too many URLs were told of.
    overfull: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("fetch a client's keys")]
    Fetch(#[from] FetchError),
    #[error("use a client's keys")]
    Keys(#[from] KeySetError),
}

type Fetched = (KeysUri, Timestamp, Result<Vec<ClientKey>, Failure>);

// === impl Known ===

impl Known {
    /// Whether they were fetched so lately that what is not among them is not there: to ask again would be too soon.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.fetched_at).unsigned_abs() < AT_MOST_EVERY
    }
}

// === impl PublishedKeys ===

impl PublishedKeys {
    /// Nothing is known yet, and what will be is used so long at most.
    pub fn new(longest: Duration, clock: Clock, beginning: Beginning, metrics: &Metrics) -> (Self, Keeper) {
        let (wishes, wished) = mpsc::channel(WISHES);
        let handle = Self { sets: Live::new(Sets::new()), longest, wishes };
        let help = "Fetches of keys that clients publish, by outcome";
        let outcomes = metrics.counters("issuer_client_key_fetches", help, "outcome", ["ok", "refused", "failed"]);
        let (schedule, overfull) = (Schedule::default(), false);
        let keeper = Keeper { handle: handle.clone(), wishes: wished, schedule, clock, outcomes, beginning, overfull };
        (handle, keeper)
    }

    /// What is known, if it was not fetched too long ago.
    pub(super) fn known(&self, uri: &KeysUri, now: Timestamp) -> Option<Arc<Known>> {
        let known = self.sets.load().get(uri).cloned();
        known.filter(|known| now.duration_since(known.fetched_at).unsigned_abs() <= self.longest)
    }

    /// Waits for other keys than these, at most until the deadline.
    pub(super) async fn newer(
        &self,
        uri: &KeysUri,
        than: Option<&Arc<Known>>,
        (now, deadline): (Timestamp, Instant),
    ) -> Option<Arc<Known>> {
        let mut changes = self.sets.subscribe();
        self.want(uri);
        loop {
            let known = self.known(uri, now);
            if known.as_ref().map(Arc::as_ptr) != than.map(Arc::as_ptr) {
                return known;
            }
            tokio::time::timeout_at(deadline, changes.changed()).await.ok()?;
        }
    }

    /// Has the URL fetched as soon as may be.
    pub(super) fn want(&self, uri: &KeysUri) {
        // Where there is no room, much is fetched anyway.
        self.wishes.try_send(uri.clone()).ok();
    }
}

// === impl Keeper ===

impl Keeper {
    /// Keeps the keys of the clients of each snapshot until told to stop.
    pub(crate) async fn follow(
        self,
        fetcher: Fetcher,
        live: Live<Snapshot>,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let fetch = move |uri: KeysUri| {
            let fetcher = fetcher.clone();
            async move { fetcher.fetch(&uri).await }
        };
        self.keep(fetch, live, shutdown).await
    }

    /// The same, wherever documents come from.
    pub(super) async fn keep<F>(
        mut self,
        fetch: impl Fn(KeysUri) -> F,
        live: Live<Snapshot>,
        shutdown: Shutdown,
    ) -> Result<(), Infallible>
    where
        F: Future<Output = Result<Bytes, FetchError>> + Send + 'static,
    {
        let mut changes = live.subscribe();
        let (mut fetches, mut look_at) = (JoinSet::new(), Some(Instant::now()));
        loop {
            let now = Instant::now();
            let is_listed = self.beginning.is_listed();
            if look_at.is_some_and(|at| at <= now) {
                self.look(&live.load_full(), now);
                look_at = None;
                self.beginning.look(is_listed, self.schedule.has_tried_all(), now);
            }
            for uri in self.schedule.due(now, AT_ONCE.saturating_sub(fetches.len())) {
                fetches.spawn(read(fetch(uri.clone()), uri, self.clock.now()));
            }
            if !self.beginning.is_over() {
                look_at = look_at.or(Some(now + LOOK_EVERY));
            }
            // Without room there is nothing to wake for but the end of a fetch.
            let due = self.schedule.next().filter(|_| fetches.len() < AT_ONCE);
            let next = [due, look_at].into_iter().flatten().min();
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = changes.changed(), if look_at.is_none() => look_at = Some(now + LOOK_EVERY),
                Some(uri) = self.wishes.recv() => self.schedule.want(&uri, Instant::now()),
                Some(Ok(ended)) = fetches.join_next() => self.take(ended),
                () = sleep_until(next) => {}
            }
        }
    }

    /// Whose keys are to be known.
    fn look(&mut self, snapshot: &Snapshot, now: Instant) {
        let mut by_namespace: BTreeMap<&Namespace, BTreeSet<&KeysUri>> = BTreeMap::new();
        for client in snapshot.directory.clients() {
            if let Some(uri) = client.usable().and_then(|spec| spec.keys_uri()) {
                by_namespace.entry(&client.object.object.namespace).or_default().insert(uri);
            }
        }
        let named: BTreeSet<KeysUri> =
            by_namespace.values().flat_map(|uris| uris.iter().take(OF_NAMESPACE).copied().cloned()).collect();
        let all_fit = by_namespace.values().all(|uris| uris.len() <= OF_NAMESPACE);
        let fits = self.schedule.keep_only(&named, now) && all_fit;
        if !fits && !self.overfull {
            tracing::error!("clients publish keys at too many URLs: those of some are not fetched");
        }
        self.overfull = !fits;
        let sets = self.handle.sets.load_full();
        if sets.keys().any(|uri| !named.contains(uri)) {
            let kept = sets.iter().filter(|(uri, _)| named.contains(uri));
            self.handle.sets.publish(kept.map(|(uri, known)| (uri.clone(), Arc::clone(known))).collect::<Sets>());
        }
    }

    fn take(&mut self, (uri, fetched_at, outcome): Fetched) {
        let [ok, refused, failed] = &self.outcomes;
        match &outcome {
            Ok(_) => ok,
            Err(Failure::Fetch(FetchError::Internal)) => refused,
            Err(_) => failed,
        }
        .inc();
        let Some(turned) = self.schedule.ended(&uri, outcome.is_ok(), random::jitter()) else { return };
        match outcome {
            Ok(keys) => {
                if turned {
                    tracing::info!(host = uri.host(), "a client's keys are fetched again");
                }
                let mut sets = Sets::clone(&self.handle.sets.load());
                sets.insert(uri, Arc::new(Known { keys, fetched_at }));
                self.handle.sets.publish(sets);
            }
            Err(error) if turned => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    host = uri.host(),
                    "a client's assertions are checked with the keys known so far, if any"
                );
            }
            Err(_) => {}
        }
    }
}

/// What was asked for now is no newer than now.
async fn read(fetching: impl Future<Output = Result<Bytes, FetchError>>, uri: KeysUri, begun: Timestamp) -> Fetched {
    let keys = match fetching.await {
        Ok(document) => read_key_set(&document).map_err(Failure::from),
        Err(error) => Err(error.into()),
    };
    (uri, begun, keys)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
