//! Clients that prove who they are by a ServiceAccount's token (RFC 7521 section 4.2, RFC 7523 section 2.2).
//!
//! ```text
//! assertion ─► the cluster's keys ─► which ServiceAccount, in which pod ─► the client that names it ─► is the pod there?
//! ```
//! Flows in: the assertion, the cluster's keys, the snapshot, the client the request names, if any. Flows out: that client, or
//! the one there is.

use countersign_core::names::Namespace;
use countersign_core::timings::Timings;
use countersign_core::token::{ServiceAccountToken, TokenRefusal};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::http::credentials::Secret;
use crate::http::error::Refusal;
use crate::issuer::Parts;
use crate::issuer::authenticate::{Look, Missing, PATIENCE, usable};
use crate::runtime::clock::Clock;
use crate::snapshot::Snapshot;
use crate::snapshot::cluster_keys::{ClusterKeys, Known};
use crate::snapshot::pods::{Pods, Presence};

/// How many may wait for a key or a pod that is not known yet: anybody can name a key.
const MOST_WAITING_FOR_NEWS: usize = 32;

/// Checks assertions.
#[derive(Debug)]
pub(super) struct Assertions {
    /// Whom an assertion must be for: the issuer itself, as a token's `iss` says it.
    audience: String,
    timings: Timings,
    keys: Option<ClusterKeys>,
    pods: Option<Pods>,
    waiting: Semaphore,
}

impl Assertions {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            audience: parts.settings.issuer_url.clone(),
            timings: parts.settings.timings,
            keys: parts.cluster_keys.clone(),
            pods: parts.pods.clone(),
            waiting: Semaphore::new(MOST_WAITING_FOR_NEWS),
        }
    }

    /// Whose token it is; none where it is not good. A key that is not known is waited for a moment: the cluster may have
    /// begun to use it since it was asked.
    pub(super) async fn verify(
        &self,
        assertion: &Secret<'_>,
        clock: &Clock,
    ) -> Result<Option<ServiceAccountToken>, Refusal> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let now = clock.now();
        let known = keys.known(now);
        match known.as_ref().map(|known| self.read(known, assertion, clock)) {
            Some(Err(TokenRefusal::UnknownKey)) if known.as_ref().is_some_and(|known| !known.is_fresh(now)) => {}
            Some(read) => return Ok(told(read)),
            None => {}
        }
        let Ok(_seat) = self.waiting.try_acquire() else {
            return Err(Refusal::unavailable("too many assertions wait for the cluster's keys"));
        };
        match keys.newer(known.as_ref(), now, Instant::now() + PATIENCE).await {
            Some(newer) => Ok(told(self.read(&newer, assertion, clock))),
            None if known.is_none() => Err(Refusal::unavailable("ServiceAccount tokens cannot be checked yet")),
            None => Ok(told(Err(TokenRefusal::UnknownKey))),
        }
    }

    /// Whether the pod the token was made for is still there; always, where pods are not watched. Asked once a client names its
    /// ServiceAccount: the pods of other namespaces are not known.
    pub(super) async fn is_there(&self, token: &ServiceAccountToken) -> Result<bool, Refusal> {
        let Some(pods) = &self.pods else { return Ok(true) };
        let mut presence = pods.look(&token.namespace, &token.pod_uid);
        if presence != Presence::There {
            let Ok(_seat) = self.waiting.try_acquire() else {
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

    fn read(&self, known: &Known, assertion: &Secret<'_>, clock: &Clock) -> Result<ServiceAccountToken, TokenRefusal> {
        known.issuer.verify(assertion.expose(), &self.audience, clock.now(), &self.timings)
    }
}

/// The client hears `invalid_client` whatever it is; the operator who asks for it hears why.
fn told(read: Result<ServiceAccountToken, TokenRefusal>) -> Option<ServiceAccountToken> {
    read.inspect_err(|refusal| tracing::debug!(%refusal, "an assertion is refused")).ok()
}

/// The client a ServiceAccount's token is good for.
pub(super) fn client(snapshot: &Snapshot, token: &ServiceAccountToken, named: Option<&str>) -> Result<Look, Refusal> {
    if let Some(id) = named {
        let here = |namespace: &Namespace| *namespace == token.namespace;
        return Ok(match usable(snapshot, id) {
            Some((client, spec))
                if here(&client.object.object.namespace) && spec.service_accounts().contains(&token.name) =>
            {
                Look::Good(client, spec)
            }
            Some(_) => Look::Bad,
            None => Look::NotYet(Missing::Client),
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
