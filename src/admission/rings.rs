//! Since when nobody has named which ring.
//!
//! Flows in: the clients, looked at again and again. Flows out: when the last token a ring may have signed has ended. What
//! was before this process began it does not know, and takes every ring for named until then.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_core::names::ObjectName;
use countersign_core::timings::Timings;
use jiff::Timestamp;

use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;

/// How often the clients are looked at; a ring may have been named until just before the next look.
const EVERY: Duration = Duration::from_secs(30);

/// When each ring was last seen to be named; clones are the same memory.
#[derive(Clone)]
pub struct RingUse {
    begun: Timestamp,
    seen: Arc<Mutex<BTreeMap<ObjectName, Timestamp>>>,
}

impl RingUse {
    /// Nothing is known of before `begun`.
    pub fn since(begun: Timestamp) -> Self {
        Self { begun, seen: Arc::default() }
    }

    /// Looks at the clients until told to stop.
    pub async fn follow(self, live: Live<Snapshot>, clock: Clock, shutdown: Shutdown) -> Result<(), Infallible> {
        while !shutdown.is_requested() {
            self.look(&live.load_full(), clock.now());
            tokio::select! {
                () = shutdown.requested() => break,
                () = tokio::time::sleep(clock.real(EVERY)) => {}
            }
        }
        Ok(())
    }

    pub(super) fn look(&self, snapshot: &Snapshot, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for client in snapshot.directory.clients().filter_map(|client| client.accepted()) {
            match seen.get_mut(client.tokens.signing_key.as_str()) {
                Some(at) => *at = now,
                None => drop(seen.insert(client.tokens.signing_key.clone(), now)),
            }
        }
    }

    /// When the last token that this ring may have signed has ended.
    pub(super) fn tokens_end(&self, ring: &str, timings: &Timings) -> Timestamp {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let named = seen.get(ring).copied().unwrap_or(self.begun);
        let life =
            timings.max_access_token_lifetime + timings.leeway + timings.clock_skew + timings.propagation + EVERY;
        named.checked_add(life).unwrap_or(Timestamp::MAX)
    }
}
