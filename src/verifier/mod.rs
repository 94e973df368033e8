//! The verifier: answers proxies from memory, for every request.
//!
//! ```text
//! Envoy gRPC ─┐                        ┌─ snapshot: policies, public keys, revocations
//! Envoy HTTP ─┼─► Ask ─► judge ─► core::policy::decide ─► Pass | Refusal ─► each wire's own answer
//! Traefik …  ─┤                        └─ cache of verified tokens
//! nginx      ─┘
//! ```
//!
//! Flows in: questions on 9001 (gRPC) and 9002 (HTTP), and `Live<Snapshot>`. Flows out: answers, counters, denials in the
//! log. Holds public keys only; the verdict itself is in core, here are only the wires. Nothing a client can send makes
//! an answer that a proxy told to fail open would take for the verifier's own failure.

mod answers;
mod cache;
mod certificate;
mod counters;
mod forwarded;
mod grpc;
mod http;
mod identity;
mod judge;
mod network;
mod question;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use countersign_core::policy::Refusal;
use tokio::sync::Semaphore;

pub use network::{Network, NetworkError};

use self::cache::TokenCache;
use self::counters::Counters;
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Condition;
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;

/// How many requests may wait for a key at a time.
const KEY_WAITS: usize = 64;
/// How many messages beyond the usual size may be in memory at a time.
const LARGE_MESSAGES: usize = 64;
/// In challenges.
pub const REALM: &str = "countersign";

/// What the verifier is told by flags.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many bytes of verified tokens are kept.
    pub cache_bytes: u64,
    /// Who may say by headers what the original request was: the proxies that use forward auth and `auth_request`.
    pub trusted_proxies: Vec<Network>,
}

/// The verifier's state; shared by all its ports.
#[derive(Debug)]
pub struct Verifier {
    live: Live<Snapshot>,
    /// Holds once the first snapshot is there.
    listed: Condition,
    clock: Clock,
    cache: TokenCache,
    counters: Counters,
    key_waits: Semaphore,
    large_messages: Semaphore,
    trusted_proxies: Vec<Network>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, trusted_proxies: Vec::new() }
    }
}

// === impl Verifier ===

impl Verifier {
    /// Until `listed` holds the snapshot is empty, and whatever would need it is answered with 503.
    pub fn new(
        (live, listed): (Live<Snapshot>, Condition),
        clock: Clock,
        metrics: &Metrics,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            live,
            listed,
            clock,
            cache: TokenCache::new(settings.cache_bytes),
            counters: Counters::new(metrics),
            key_waits: Semaphore::new(KEY_WAITS),
            large_messages: Semaphore::new(LARGE_MESSAGES),
            trusted_proxies: settings.trusted_proxies,
        })
    }

    /// A task that keeps a condition for `/readyz`: it holds while there is a key to check tokens with. That the policies
    /// are there is the feed's condition; until then the snapshot is empty and everything is refused.
    pub async fn keep_ready(self: Arc<Self>, keys: Condition, shutdown: Shutdown) {
        let mut changes = self.live.subscribe();
        loop {
            keys.set(!self.live.load().keys.is_empty());
            tokio::select! {
                () = changes.changed() => {}
                () = shutdown.requested() => return,
            }
        }
    }

    /// What is served on 9002.
    pub fn http_router(self: &Arc<Self>) -> axum::Router {
        http::router(self)
    }
}

/// What a refused client may read, in the words of RFC 6750.
fn body_of(refusal: &Refusal) -> String {
    refusal.error.map_or_else(String::new, |error| format!("{{\"error\":\"{}\"}}\n", error.code()))
}
