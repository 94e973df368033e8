//! Clients that sign an assertion with a key of their own: `private_key_jwt` (RFC 7523 section 2.2).
//!
//! ```text
//! assertion ─► whose, it says ─► that client's keys, audience, times ─► first use? ─► the client
//! ```
//! Flows in: the assertion, the snapshot, the store. Flows out: the client. Only what is good in every other way is noted as
//! used: a bad assertion uses nothing up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_core::names::ClientId;
use countersign_core::timings::Timings;
use countersign_core::token::{claimed_issuer, verify_client_assertion};
use jiff::Timestamp;

use crate::http::credentials::Secret;
use crate::http::error::Refusal;
use crate::issuer::Parts;
use crate::issuer::authenticate::{Found, usable};
use crate::runtime::telemetry::chain;
use crate::snapshot::Snapshot;
use crate::store::{Store, Use};

/// An assertion that says it is a client's.
#[derive(Debug)]
pub(super) struct Own<'a> {
    pub(super) id: ClientId,
    /// The client the request names, if any.
    pub(super) named: Option<&'a str>,
    pub(super) assertion: &'a Secret<'a>,
}

/// Checks such assertions.
#[derive(Debug)]
pub(super) struct OwnKeys {
    /// Whom an assertion must be for: the issuer itself, as a token's `iss` says it.
    audience: String,
    timings: Timings,
    store: Option<Arc<dyn Store>>,
    /// Whether the store did not answer when it was last asked.
    is_away: AtomicBool,
}

/// Whose assertion it says it is; none where it names no client. The cluster's own name a URL, which no client id is.
pub(super) fn claimed(assertion: &Secret<'_>) -> Option<ClientId> {
    ClientId::new(&claimed_issuer(assertion.expose())?).ok()
}

impl OwnKeys {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            audience: parts.settings.issuer_url.clone(),
            timings: parts.settings.timings,
            store: parts.store.clone(),
            is_away: AtomicBool::new(false),
        }
    }

    /// The client and this use, if the assertion is good but for having been used before.
    pub(super) fn verify(&self, snapshot: &Snapshot, own: &Own<'_>, now: Timestamp) -> Option<(Found, Use)> {
        let Own { id, named, assertion } = own;
        if named.is_some_and(|named| named != id.as_str()) {
            return None;
        }
        let (client, spec) = usable(snapshot, id.as_str())?;
        let whom = (id, self.audience.as_str());
        let read = verify_client_assertion(assertion.expose(), spec.keys(), whom, now, &self.timings)
            .inspect_err(|refusal| tracing::debug!(%refusal, client = %id, "an assertion is refused"))
            .ok()?;
        // An issuer whose clock is behind takes it for longer.
        let ends_at = read.ends_at.saturating_add(self.timings.clock_skew).unwrap_or(Timestamp::MAX);
        let used = Use::new(&client.object.uid, &read.token_id, ends_at);
        Some(((client, spec), used))
    }

    /// Whether this is the first use; an error where nobody can tell, and then it may have been one.
    pub(super) async fn is_first(&self, used: Use, now: Timestamp) -> Result<bool, Refusal> {
        const UNKNOWN: Refusal =
            Refusal::unavailable("nobody can tell whether the assertion was used before; try again with another");
        // Without a store the Directory accepts no client with keys.
        let store = self.store.as_ref().ok_or(UNKNOWN)?;
        match store.first_use(used, now).await {
            Ok(is_first) => {
                if self.is_away.swap(false, Ordering::Relaxed) {
                    tracing::info!("uses of assertions are noted again");
                }
                Ok(is_first)
            }
            Err(error) => {
                // Once, not for each request that is refused for it.
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        error = chain(&error),
                        "assertions by clients' own keys are refused: their use cannot be noted"
                    );
                }
                Err(UNKNOWN)
            }
        }
    }
}
