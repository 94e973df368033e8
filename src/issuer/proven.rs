//! Secrets found good before, so that a client's next request costs a digest instead of a signature check.
//!
//! Flows in: successes only. Flows out: what was proven, to be held against the current snapshot each time: a value that
//! was withdrawn meanwhile is refused although it is here. Everything is forgotten when the signer's keys change.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{Context, SHA256};
use countersign_core::client_secret::{Record, VerifyingKeys};
use countersign_core::names::Uid;
use quick_cache::sync::Cache;

use crate::issuer::usage::LastUse;

const MOST: usize = 32 * 1024;

/// SHA-256 over client id and secret: what is kept is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

/// What a presented value proved.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// Signed for the client, whose object then had this UID, at this second.
    Signed { client: Uid, issued_at: i64, last_use: LastUse },
    /// Equal to what this record was made of.
    Recorded(Record),
}

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct Proven(ArcSwapOption<Under>);

#[derive(Debug)]
struct Under {
    keys: Arc<VerifyingKeys>,
    proofs: Cache<Digest, Proof>,
}

// === impl Digest ===

impl Digest {
    pub(crate) fn of(client_id: &str, secret: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&u64::try_from(client_id.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(client_id.as_bytes());
        context.update(secret.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

// === impl Proven ===

impl Proven {
    /// What this value proved under these keys.
    pub(crate) fn get(&self, keys: &Arc<VerifyingKeys>, digest: &Digest) -> Option<Proof> {
        let under = self.0.load();
        under.as_ref().filter(|under| Arc::ptr_eq(&under.keys, keys))?.proofs.get(digest)
    }

    /// Remembers a proof made with these keys.
    pub(crate) fn insert(&self, keys: &Arc<VerifyingKeys>, digest: Digest, proof: Proof) {
        let under = self.0.load();
        if let Some(under) = under.as_ref().filter(|under| Arc::ptr_eq(&under.keys, keys)) {
            return under.proofs.insert(digest, proof);
        }
        let under = Under { keys: Arc::clone(keys), proofs: Cache::new(MOST) };
        under.proofs.insert(digest, proof);
        self.0.store(Some(Arc::new(under)));
    }
}
