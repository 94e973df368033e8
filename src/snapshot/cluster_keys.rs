//! The keys that the cluster's ServiceAccount tokens are signed with.
//!
//! ```text
//! API server ── /.well-known/openid-configuration, /openid/v1/jwks ──► ClusterKeys ◄── asked by each assertion
//!                                   ▲                                       │
//!                                   └── every five minutes, and when a key is not known
//! ```
//! Flows in: the answers of the API server, over the connection this process trusts already; nothing a client says. Flows out:
//! the last good key set and when it was read. An empty or broken answer never replaces it, and it is not used for ever.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::token::{ClusterIssuer, ClusterKeysError};
use futures::FutureExt;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::objects::{Error, KubeStore};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Condition;
use crate::runtime::supervisor::Shutdown;

/// How long a key set is used before it is asked for again.
const PERIOD: Duration = Duration::from_mins(5);
/// How soon it may be asked for again at the earliest, whoever wants it and whatever came of the last time.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// Why the cluster's keys are not known.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("ask the API server who issues ServiceAccount tokens, and for the keys")]
    Request(#[from] Error),
    #[error("find the issuer in the API server's discovery document")]
    Document,
    #[error("use the API server's keys")]
    Keys(#[from] ClusterKeysError),
}

/// The last good key set. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct ClusterKeys {
    known: Live<Option<Known>>,
    /// How long a key set is used at most, whatever the API server says meanwhile.
    longest: Duration,
    wanted: Arc<Notify>,
    /// When the set was read, for those who watch whether it still can be.
    read_at: Gauge,
}

/// A key set, and when it was read.
#[derive(Clone, Debug)]
pub struct Known {
    pub issuer: Arc<ClusterIssuer>,
    read_at: Timestamp,
}

// === impl Known ===

impl Known {
    /// Whether it was read so lately that what is not in it is not there: to ask again would be too soon.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.read_at).unsigned_abs() < AT_MOST_EVERY
    }
}

// === impl ClusterKeys ===

impl ClusterKeys {
    /// Nothing is known yet, and what will be is used so long at most.
    pub fn new(longest: Duration, metrics: &Metrics) -> Self {
        let read_at = metrics.gauge(
            "issuer_cluster_keys_read_seconds",
            "When the keys of the cluster's ServiceAccount tokens were last read, in seconds since 1970; 0 before the first time",
        );
        Self { known: Live::new(None), longest, wanted: Arc::default(), read_at }
    }

    /// What is known, if that was not read too long ago.
    pub fn known(&self, now: Timestamp) -> Option<Known> {
        let known = self.known.load_full();
        let age = |known: &Known| now.duration_since(known.read_at).unsigned_abs();
        known.as_ref().as_ref().filter(|known| age(known) <= self.longest).cloned()
    }

    /// Waits for another set than this, at most until the deadline.
    pub async fn newer(&self, than: Option<&Known>, now: Timestamp, deadline: Instant) -> Option<Known> {
        let mut changes = self.known.subscribe();
        self.wanted.notify_one();
        loop {
            let known = self.known(now);
            if known.as_ref().map(|known| Arc::as_ptr(&known.issuer)) != than.map(|than| Arc::as_ptr(&than.issuer)) {
                return known;
            }
            tokio::time::timeout_at(deadline, changes.changed()).await.ok()?;
        }
    }

    /// Keeps the set of this API server until told to stop; `asked` holds once it was asked, whatever came of that.
    pub async fn follow(
        self,
        store: KubeStore,
        clock: Clock,
        asked: Condition,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let discover = move || {
            let store = store.clone();
            async move { discover(&store).await }
        };
        self.keep(clock, asked, shutdown, discover).await
    }

    /// The same, wherever the keys are found.
    pub(crate) async fn keep<F>(
        self,
        clock: Clock,
        asked: Condition,
        shutdown: Shutdown,
        mut discover: impl FnMut() -> F + Send,
    ) -> Result<(), Infallible>
    where
        F: Future<Output = Result<ClusterIssuer, DiscoveryError>> + Send,
    {
        let mut fails = false;
        loop {
            let (began, read_at) = (Instant::now(), clock.now());
            let discovered = discover().await;
            // Who wanted it meanwhile has it now.
            self.wanted.notified().now_or_never();
            let again = match discovered {
                Ok(issuer) => {
                    fails = false;
                    self.read_at.set(read_at.as_second());
                    self.known.publish(Some(Known { issuer: Arc::new(issuer), read_at }));
                    PERIOD
                }
                Err(error) => {
                    if !std::mem::replace(&mut fails, true) {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(error, "ServiceAccount tokens are checked with the keys known so far, if any");
                    }
                    AT_MOST_EVERY
                }
            };
            asked.ready();
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(again) => {}
                () = self.wanted.notified() => tokio::select! {
                    () = shutdown.requested() => return Ok(()),
                    () = tokio::time::sleep_until(began + AT_MOST_EVERY) => {}
                },
            }
        }
    }
}

async fn discover(store: &KubeStore) -> Result<ClusterIssuer, DiscoveryError> {
    /// What is needed of OpenID Connect Discovery: the keys are asked for at the API server itself, whatever `jwks_uri` says.
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
    }
    let document = store.document("/.well-known/openid-configuration").await?;
    let Document { issuer } = serde_json::from_str(&document).map_err(|_| DiscoveryError::Document)?;
    Ok(ClusterIssuer::read(&issuer, store.document("/openid/v1/jwks").await?.as_bytes())?)
}
