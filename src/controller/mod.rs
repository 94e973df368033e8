//! The controller: one loop for every kind.
//!
//! ```text
//! watches ──► Queue ──► Kind::reconcile: observe → plan (pure) → execute → report ──► Writer ──► API server
//!               ▲  ▲                                     │                              │
//!               │  └─────── wake_at, or backoff ─────────┘                              └─ asks the elector before each write
//!               └── the same objects as they come back
//! ```
//!
//! Flows in: keys of objects that may have changed. Flows out: writes, and only where something differs from what should
//! be. A kind plugs in by implementing [`Kind`] and handing a [`Queue`] to whatever learns of changes. Keys wait in the
//! queue while another process leads, so taking over needs no listing.

pub mod certificates;
pub mod conditions;
pub mod connections;
pub mod leader;
mod listing;
mod namespace_allowance;
pub mod oauth_client;
pub mod pace;
pub mod queue;
pub mod replicas;
pub mod reported;
mod scope_policy;
pub mod secret_signer;
pub mod signing_key;
pub mod start;
mod table;
pub mod wiring;

use std::convert::Infallible;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

pub use leader::{Gate, WriteError, Writer};
pub use pace::{Pace, Urgency};
pub use queue::{Outcome, Queue};

use crate::objects::{Class, Error as StoreError};
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::random;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;
use crate::runtime::traces::Span;

/// The longest the loop sleeps: what changes without a key being offered (leadership, a clock that is set) is seen then.
const TICK: Duration = Duration::from_secs(1);
/// How old what lost its owner must be before it goes although nobody saw the owner go: in a restore it may come before the
/// object it belongs to.
const ORPHAN_GRACE: Duration = Duration::from_hours(1);
/// How many objects of a kind are worked on at once.
const CONCURRENCY: usize = 16;

/// What the controller does for objects of one kind.
pub trait Kind: Send + Sync + 'static {
    type Key: Clone + Ord + Hash + Display + Send + Sync + 'static;

    /// The value of the label `kind`, and what logs call it.
    const NAME: &'static str;

    /// Brings one object to what it should be, as far as is possible now; says when to look again if nothing changes.
    /// The object may be gone: then what it left behind is cleaned up.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Option<Timestamp>, Failure>> + Send;
}

/// Why a look at an object did not end as it should. What the user has to mend is no failure: it is said in status.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct Failure {
    pub class: Class,
    /// The value of the metric label `category`.
    pub category: &'static str,
    /// What was being done.
    pub action: &'static str,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Makes a [`Failure`] of an error, saying what was being done.
pub trait During<T> {
    fn during(self, action: &'static str) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, StoreError> {
    fn during(self, action: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            class: error.class(),
            category: error.category(),
            action,
            source: Box::new(error),
        })
    }
}

impl<T> During<T> for Result<T, WriteError> {
    fn during(self, action: &'static str) -> Result<T, Failure> {
        self.or_else(|error| match error {
            WriteError::Store(error) => Err(error).during(action),
            error @ WriteError::NotLeader => {
                Err(Failure { class: Class::Transient, category: "not_leader", action, source: Box::new(error) })
            }
        })
    }
}

/// What is counted of the loops, one line a kind.
#[derive(Clone, Debug, Default)]
pub struct LoopMetrics {
    runs: Family<[(&'static str, &'static str); 1], Counter>,
    failures: Family<[(&'static str, &'static str); 2], Counter>,
    waiting: Family<[(&'static str, &'static str); 1], Gauge>,
}

/// One kind's loop.
pub struct Loop<K: Kind> {
    pub kind: Arc<K>,
    pub queue: Queue<K::Key>,
    pub gate: Gate,
    pub clock: Clock,
    pub metrics: LoopMetrics,
}

// === impl LoopMetrics ===

impl LoopMetrics {
    /// Registers them; once a process.
    pub fn register(metrics: &Metrics) -> Self {
        let new = Self::default();
        metrics.register("controller_runs", "Looks at objects, by kind", new.runs.clone());
        metrics.register(
            "controller_failures",
            "Looks that failed and are repeated, by kind and category",
            new.failures.clone(),
        );
        metrics.register("controller_waiting", "Objects in the queue, due or not, by kind", new.waiting.clone());
        new
    }
}

// === impl Loop ===

impl<K: Kind> Loop<K> {
    /// Works until shutdown is requested, then finishes what is in hand.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let runs = self.metrics.runs.get_or_create_owned(&[("kind", K::NAME)]);
        let waiting = self.metrics.waiting.get_or_create_owned(&[("kind", K::NAME)]);
        let mut working = FuturesUnordered::new();
        while !shutdown.is_requested() {
            while working.len() < CONCURRENCY && self.gate.is_open() {
                let Some(key) = self.queue.take(self.clock.now()) else { break };
                runs.inc();
                working.push(self.one(key));
            }
            waiting.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
            tokio::select! {
                Some(()) = working.next(), if !working.is_empty() => {}
                () = self.due(), if working.len() < CONCURRENCY => {}
                () = shutdown.requested() => {}
            }
        }
        while working.next().await.is_some() {}
        Ok(())
    }

    /// Waits until there may be something to take.
    async fn due(&self) {
        if !self.gate.is_open() {
            return tokio::time::sleep(TICK).await;
        }
        let wait = self.queue.next_due().map_or(TICK, |at| self.clock.until(at).min(TICK));
        tokio::select! {
            () = self.queue.offered() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    async fn one(&self, key: K::Key) {
        let span = Span::internal("reconcile");
        let result = self.kind.reconcile(&key).await;
        span.end(|told| {
            told.text("countersign.kind", K::NAME);
            told.text("countersign.object", key.to_string());
            told.text("countersign.outcome", if result.is_ok() { "settled" } else { "failed" });
            if let Err(failure) = &result {
                told.text("countersign.category", failure.category);
                told.failed();
            }
        });
        let outcome = match result {
            Ok(wake_at) => Outcome::Settled(wake_at),
            Err(failure) => {
                self.note(&key, &failure);
                Outcome::Failed { spread: random::jitter() }
            }
        };
        self.queue.finish(key, outcome, self.clock.now());
    }

    fn note(&self, key: &K::Key, failure: &Failure) {
        let Failure { class, category, action, source } = failure;
        self.metrics.failures.get_or_create_owned(&[("kind", K::NAME), ("category", category)]).inc();
        let (kind, error) = (K::NAME, chain(&**source));
        match class {
            Class::Bug => tracing::error!(kind, %key, action, category, error, "cannot reconcile"),
            Class::User => tracing::warn!(kind, %key, action, category, error, "cannot reconcile"),
            Class::Transient => tracing::info!(kind, %key, action, category, error, "reconciling again later"),
        }
    }
}

#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod tests;
