//! The replicas as this process observes their heartbeats.
//!
//! Flows in: the watch of their Leases. Flows out: who lives and what they reported, shared by the kinds; the Leases of
//! replicas long gone are deleted.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_core::client_secret::Usage;
use countersign_core::names::Uid;
use countersign_core::timings::Timings;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use super::Writer;
use crate::objects::Objects;
use crate::objects::layout::{Layout, Part};
use crate::objects::witnesses::Witnesses;
use crate::runtime::clock::Clock;
use crate::runtime::contact::Contact;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;

/// How often Leases of replicas long gone are looked for.
const SWEEP: Duration = Duration::from_mins(1);

/// What the heartbeats say; clones share it.
#[derive(Clone)]
pub struct Replicas {
    witnesses: Arc<Mutex<Witnesses>>,
    timings: Timings,
    contact: Contact,
}

impl Replicas {
    /// While the API server is away no heartbeat arrives, and that says nothing about the replicas.
    pub fn new(timings: Timings, contact: Contact) -> Self {
        contact.remember_silences(timings.heartbeat_expiry / 2);
        Self { witnesses: Arc::default(), timings, contact }
    }

    /// Who used values of the client issued before `newest`, and which issuer saw the last of it.
    pub fn usage(&self, client: &Uid, newest: Timestamp, now: Timestamp) -> (Usage, Option<String>) {
        self.witnesses().usage(client, newest, now, &self.timings)
    }

    /// What is known, for a decision about a ring.
    pub fn witnesses(&self) -> MutexGuard<'_, Witnesses> {
        let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard_at) = self.contact.resumed_at() {
            witnesses.excuse_silence(heard_at);
        }
        witnesses
    }

    /// Follows the heartbeats; `changed` is called when replicas, or what they hold, changed.
    pub async fn follow(
        self,
        objects: Objects,
        (layout, writer, clock): (Layout, Writer, Clock),
        changed: impl Fn() + Send,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let mut leases = objects.watch::<Lease>(layout.select(Part::Heartbeat));
        let mut sweep = tokio::time::interval(clock.real(SWEEP));
        while !shutdown.is_requested() {
            tokio::select! {
                Some(change) = leases.next() => {
                    let news = self.witnesses().observe(&change, clock.now());
                    if news {
                        changed();
                    }
                }
                _ = sweep.tick() => self.sweep(&writer, clock.now()).await,
                () = shutdown.requested() => break,
            }
        }
        Ok(())
    }

    async fn sweep(&self, writer: &Writer, now: Timestamp) {
        let stale = self.witnesses().stale(now, &self.timings);
        for (key, preconditions) in stale {
            if let Err(error) = writer.delete::<Lease>(&key, &preconditions).await {
                tracing::debug!(lease = %key, error = chain(&error), "a stale heartbeat was not deleted");
            }
        }
    }
}
