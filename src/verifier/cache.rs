//! Tokens whose signature and claims were found good, by the SHA-256 of their whole text.
//!
//! Flows in: verified tokens, never failures. Flows out: the same, as long as they fit a bound in bytes. What may change
//! while a token lies here (time, key, epoch, deny list, audience, policy) is asked on every request, not here.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use countersign_core::token::AccessToken;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// A SHA-256 of a token's text.
pub(super) type Key = [u8; 32];

#[derive(Debug)]
pub(super) struct TokenCache(Cache<Key, Held, ByBytes>);

#[derive(Clone, Debug)]
struct Held {
    token: Arc<AccessToken>,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Key, Held> for ByBytes {
    fn weight(&self, _key: &Key, held: &Held) -> u64 {
        held.bytes
    }
}

// === impl TokenCache ===

impl TokenCache {
    pub(super) fn new(bytes: u64) -> Self {
        let expected = usize::try_from(bytes / weigh(800)).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(expected.clamp(16, 1 << 20), bytes, ByBytes))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<AccessToken>> {
        self.0.get(key).map(|held| held.token)
    }

    pub(super) fn insert(&self, key: Key, text: &str, token: &Arc<AccessToken>) {
        self.0.insert(key, Held { token: Arc::clone(token), bytes: weigh(text.len()) });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

pub(super) fn key_of(text: &str) -> Option<Key> {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().ok()
}

/// What a token costs, generously: its claims twice, as fields and as JSON, each string with its own allocation.
fn weigh(text: usize) -> u64 {
    u64::try_from(text).unwrap_or(u64::MAX).saturating_mul(4).saturating_add(1024)
}
