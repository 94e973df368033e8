//! Clients that sign an assertion with a key of their own: `private_key_jwt` (RFC 7523 section 2.2).
//!
//! ```text
//! assertion ─► whose, it says ─► that client's keys (listed, or published), audience, times ─► first use? ─► the client
//! ```
//! Flows in: the assertion, the snapshot, the store. Flows out: the client. Only what is good in every other way is noted as
//! used: a bad assertion uses nothing up.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_core::client::{KeysUri, RegisteredKeys};
use countersign_core::names::ClientId;
use countersign_core::timings::Timings;
use countersign_core::token::{ClientAssertion, ClientKey, TokenRefusal, claimed_issuer, verify_client_assertion};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::http::credentials::Secret;
use crate::http::error::Refusal;
use crate::issuer::Parts;
use crate::issuer::authenticate::{Found, PATIENCE, usable};
use crate::issuer::published_keys::PublishedKeys;
use crate::issuer::seats::Seats;
use crate::runtime::telemetry::chain;
use crate::snapshot::Snapshot;
use crate::store::{Store, Use};

/// How many may wait for a key that is not known yet, and how many from one address: anybody can name a key.
const MOST_WAITING: usize = 32;
const MOST_WAITING_FROM_ADDRESS: usize = 8;

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
    published: Option<PublishedKeys>,
    waiting: Seats<IpAddr>,
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
            published: parts.published_keys.clone(),
            waiting: Seats::new(MOST_WAITING, MOST_WAITING_FROM_ADDRESS),
            store: parts.store.clone(),
            is_away: AtomicBool::new(false),
        }
    }

    /// The client and this use, if the assertion is good but for having been used before; `from` is who asks.
    pub(super) async fn verify(
        &self,
        snapshot: &Snapshot,
        own: &Own<'_>,
        (from, now): (IpAddr, Timestamp),
    ) -> Result<Option<(Found, Use)>, Refusal> {
        let Own { id, named, .. } = own;
        if named.is_some_and(|named| named != id.as_str()) {
            tracing::debug!(client = %id, "an assertion is refused: the request names another client");
            return Ok(None);
        }
        let Some((client, spec)) = usable(snapshot, id.as_str()) else {
            tracing::debug!(client = %id, "an assertion is refused: there is no such client, or it may not have tokens");
            return Ok(None);
        };
        let read = match spec.registered_keys() {
            None => Err(TokenRefusal::UnknownKey),
            Some(RegisteredKeys::Listed(keys)) => self.read(own, keys, now),
            Some(RegisteredKeys::Published(uri)) => self.read_published(own, uri, (from, now)).await?,
        };
        let read = read.inspect_err(|refusal| tracing::debug!(%refusal, client = %id, "an assertion is refused"));
        let Ok(read) = read else { return Ok(None) };
        // An issuer whose clock is behind takes it for longer.
        let ends_at = read.ends_at.saturating_add(self.timings.clock_skew).unwrap_or(Timestamp::MAX);
        let used = Use::new(&client.object.uid, &read.token_id, ends_at);
        Ok(Some(((client, spec), used)))
    }

    fn read(&self, own: &Own<'_>, keys: &[ClientKey], now: Timestamp) -> Result<ClientAssertion, TokenRefusal> {
        let whom = (&own.id, self.audience.as_str());
        verify_client_assertion(own.assertion.expose(), keys, whom, now, &self.timings)
    }

    /// By the keys at the client's URL. One that is not known is waited for a moment: the client may have begun to use it since
    /// they were fetched.
    async fn read_published(
        &self,
        own: &Own<'_>,
        uri: &KeysUri,
        (from, now): (IpAddr, Timestamp),
    ) -> Result<Result<ClientAssertion, TokenRefusal>, Refusal> {
        let Some(published) = &self.published else { return Ok(Err(TokenRefusal::UnknownKey)) };
        let known = published.known(uri, now);
        match known.as_ref().map(|known| self.read(own, &known.keys, now)) {
            Some(Err(TokenRefusal::UnknownKey)) if known.as_ref().is_some_and(|known| !known.is_fresh(now)) => {}
            Some(read) => return Ok(read),
            None => {}
        }
        let Some(_seat) = self.waiting.take(Some(&from)) else {
            published.want(uri);
            return Err(Refusal::unavailable("too many assertions wait for their clients' keys"));
        };
        match published.newer(uri, known.as_ref(), (now, Instant::now() + PATIENCE)).await {
            Some(newer) => Ok(self.read(own, &newer.keys, now)),
            None if known.is_none() => Err(Refusal::unavailable("the client's keys are not known yet")),
            None => Ok(Err(TokenRefusal::UnknownKey)),
        }
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
