//! Clients that prove who they are by a ServiceAccount's token (RFC 7521 section 4.2, RFC 7523 section 2.2).
//!
//! ```text
//! assertion ─► the cluster's keys ─► which ServiceAccount, in which pod ─► the client that names it ─► is the pod there?
//! ```
//! Flows in: the assertion, the cluster's keys, the snapshot, the client the request names, if any. Flows out: that client, or
//! the one there is. What a pod learns of clients that are not its own is nothing: neither answer nor time tells whether they exist.

use std::net::IpAddr;
use std::time::Duration;

use countersign_core::names::Namespace;
use countersign_core::timings::Timings;
use countersign_core::token::{ServiceAccountToken, TokenRefusal};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::http::credentials::Secret;
use crate::http::error::Refusal;
use crate::issuer::Parts;
use crate::issuer::authenticate::{Found, Look, Missing, PATIENCE, usable};
use crate::issuer::seats::Seats;
use crate::runtime::clock::Clock;
use crate::snapshot::Snapshot;
use crate::snapshot::cluster_keys::{ClusterKeys, Known};
use crate::snapshot::pods::{Pods, Presence};

/// How many may wait for a key that is not known yet, and how many from one address: anybody can name a key.
const MOST_FOR_KEYS: usize = 32;
const MOST_FOR_KEYS_FROM_ADDRESS: usize = 8;
/// How many may wait for news of their pod, and how many of one namespace: whoever has a client there can make and delete pods.
const MOST_FOR_PODS: usize = 64;
const MOST_FOR_PODS_OF_NAMESPACE: usize = 16;
/// How old a pod's token is at most whose pod the issuer may not have heard of yet: it began to exist before its token.
const NEWS: Duration = Duration::from_mins(1);

/// Checks assertions.
#[derive(Debug)]
pub(super) struct Assertions {
    /// Whom an assertion must be for: the issuer itself, as a token's `iss` says it.
    audience: String,
    timings: Timings,
    clock: Clock,
    keys: Option<ClusterKeys>,
    pods: Option<Pods>,
    for_keys: Seats<IpAddr>,
    for_pods: Seats<Namespace>,
}

impl Assertions {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            audience: parts.settings.issuer_url.clone(),
            timings: parts.settings.timings,
            clock: parts.clock.clone(),
            keys: parts.cluster_keys.clone(),
            pods: parts.pods.clone(),
            for_keys: Seats::new(MOST_FOR_KEYS, MOST_FOR_KEYS_FROM_ADDRESS),
            for_pods: Seats::new(MOST_FOR_PODS, MOST_FOR_PODS_OF_NAMESPACE),
        }
    }

    /// Whose token it is; none where it is not good. A key that is not known is waited for a moment: the cluster may have
    /// begun to use it since it was asked.
    pub(super) async fn verify(
        &self,
        assertion: &Secret<'_>,
        from: IpAddr,
    ) -> Result<Option<ServiceAccountToken>, Refusal> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let now = self.clock.now();
        let known = keys.known(now);
        match known.as_ref().map(|known| self.read(known, assertion)) {
            Some(Err(TokenRefusal::UnknownKey)) if known.as_ref().is_some_and(|known| !known.is_fresh(now)) => {}
            Some(read) => return Ok(told(read)),
            None => {}
        }
        let Some(_seat) = self.for_keys.take(Some(&from)) else {
            return Err(Refusal::unavailable("too many assertions wait for the cluster's keys"));
        };
        match keys.newer(known.as_ref(), now, Instant::now() + PATIENCE).await {
            Some(newer) => Ok(told(self.read(&newer, assertion))),
            None if known.is_none() => Err(Refusal::unavailable("ServiceAccount tokens cannot be checked yet")),
            None => Ok(told(Err(TokenRefusal::UnknownKey))),
        }
    }

    /// Whether the pod the token was made for is still there; always, where pods are not watched. Asked once a client names its
    /// ServiceAccount: the pods of other namespaces are not known.
    pub(super) async fn is_there(&self, token: &ServiceAccountToken) -> Result<bool, Refusal> {
        let Some(pods) = &self.pods else { return Ok(true) };
        let mut presence = pods.look(&token.namespace, &token.pod_uid);
        let is_news = is_news(token, self.clock.now());
        if presence == Presence::Unknown || (presence == Presence::Gone && is_news) {
            let Some(_seat) = self.for_pods.take(Some(&token.namespace)) else {
                return Err(Refusal::unavailable("too many assertions wait for news of their pods"));
            };
            presence = pods.wait_for(&token.namespace, &token.pod_uid, Instant::now() + PATIENCE).await;
        }
        match presence {
            Presence::There => Ok(true),
            Presence::Gone => {
                tracing::debug!(namespace = %token.namespace, pod = %token.pod, "an assertion is refused: its pod is gone");
                Ok(false)
            }
            Presence::Unknown => Err(Refusal::unavailable("the pods of this namespace are not known yet")),
        }
    }

    fn read(&self, known: &Known, assertion: &Secret<'_>) -> Result<ServiceAccountToken, TokenRefusal> {
        known.issuer.verify(assertion.expose(), &self.audience, self.clock.now(), &self.timings)
    }
}

/// Whether the token may be faster than the news of its pod.
fn is_news(token: &ServiceAccountToken, now: Timestamp) -> bool {
    now.as_second().saturating_sub(token.issued_at).unsigned_abs() < NEWS.as_secs()
}

/// The client hears `invalid_client` whatever it is; the operator who asks for it hears why.
fn told(read: Result<ServiceAccountToken, TokenRefusal>) -> Option<ServiceAccountToken> {
    read.inspect_err(|refusal| tracing::debug!(%refusal, "an assertion is refused")).ok()
}

/// The client a ServiceAccount's token is good for.
///
/// A client that a request names and that does not name this ServiceAccount is treated as if there were none: whether there
/// is one, and whether it is suspended, is told by nothing. Only an id that a client of the token's own namespace has by default is
/// waited for; whose any other will be cannot be seen from it.
pub(super) fn client(snapshot: &Snapshot, token: &ServiceAccountToken, named: Option<&str>) -> Result<Look, Refusal> {
    if let Some(id) = named {
        let names_it = |(client, spec): &Found| {
            client.object.object.namespace == token.namespace && spec.service_accounts().contains(&token.name)
        };
        let is_own = || id.split_once('.').is_some_and(|(namespace, _)| namespace == token.namespace.as_str());
        return Ok(match usable(snapshot, id).filter(names_it) {
            Some((client, spec)) => Look::Good(client, spec),
            None if is_own() => Look::NotYet(Missing::Client),
            None => Look::Bad,
        });
    }
    let mut clients = snapshot.directory.clients_of(&token.namespace, &token.name);
    match (clients.next(), clients.next()) {
        (Some((client, spec)), None) => Ok(Look::Good(client.clone(), spec.clone())),
        (Some(_), Some(_)) => {
            Err(Refusal::invalid_request("several clients name this ServiceAccount: say which by client_id"))
        }
        (None, _) => Ok(Look::NotYet(Missing::Client)),
    }
}
