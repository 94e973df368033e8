//! Whether a client is who it says it is: a value the controller signed for it, one on record, a ServiceAccount's
//! token, an assertion of its own, or a certificate.
//!
//! ```text
//! secrets ─► proven before, or too many failures? ─┐
//! assertions, certificates ────────────────────────┴─► the client, a wait for one not seen yet, or 401; a failure counted
//! ```
//! Flows in: what was presented, the snapshot, the other end's address. Flows out: the client, or a refusal whose bytes
//! and work do not tell an unknown client from a wrong secret. Each method is a file of its own and an arm here.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::client::Client;
use countersign_core::directory::ClientView;
use countersign_core::names::Namespace;
use countersign_core::token::Thumbprint;
use jiff::Timestamp;

use crate::http::credentials::{Presented, Secret};
use crate::http::error::Refusal;
use crate::http::limiter::{Cell, Limiter, Rate};
use crate::issuer::Parts;
use crate::issuer::assertions::{self, Assertions};
use crate::issuer::certificates::Shown;
use crate::issuer::own_keys::{self, Own, OwnKeys};
use crate::issuer::seats::{Seat, Seats};
use crate::issuer::secrets::{Attempt, Secrets};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::tls::{ClientCertificate, ClientJudge};
use crate::snapshot::Snapshot;
use crate::store::Use;

/// Failures of one client from one address.
const OF_CLIENT: Rate = Rate { burst: 20, every: Duration::from_secs(1) };
/// Failures from one address, whatever the client.
const OF_ADDRESS: Rate = Rate { burst: 200, every: Duration::from_millis(50) };
/// Secrets still checked for those who failed too often, so that whoever shares an address with an attacker gets in.
const BEYOND: Rate = Rate { burst: 100, every: Duration::from_millis(5) };
const CELLS: usize = 32 * 1024;
/// How long a request waits for what a watch is about to bring, and how many may.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
pub(super) const MOST_WAITING: usize = 256;
/// How many pods may wait for their client, and how many of one namespace: any pod can name a client there is not.
const MOST_PODS: usize = 256;
const MOST_PODS_OF_NAMESPACE: usize = 16;
/// How many of those whose signature nobody can check yet: anybody can make such a value.
const MOST_EARLY: usize = 32;

/// Who authenticated, and by which snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) client: Arc<ClientView>,
    pub(crate) spec: Client,
    /// The certificate it showed, where that is what proved who it is: its tokens are for whoever shows the same.
    pub(crate) bound_to: Option<Thumbprint>,
}

/// Which request presents something.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) peer: Option<IpAddr>,
    /// The certificate the connection showed.
    pub(crate) shown: Option<&'a ClientCertificate>,
    /// The use of an assertion this request noted: it may have to be looked at again, by a newer snapshot.
    pub(crate) noted: &'a mut Option<Use>,
}

/// Checks clients.
#[derive(Debug)]
pub(crate) struct Authenticator {
    secrets: Secrets,
    assertions: Assertions,
    clients: Option<ClientJudge>,
    own_keys: OwnKeys,
    clock: Clock,
    of_client: Limiter,
    of_address: Limiter,
    beyond: Cell,
    waiting: Seats<Namespace>,
    waiting_pods: Seats<Namespace>,
    waiting_early: Seats<Namespace>,
}

/// What one look at a snapshot says.
pub(super) enum Look {
    Good(Arc<ClientView>, Client),
    NotYet(Missing),
    Bad,
}

/// What a value waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is well signed for a client this snapshot does not hold.
    Client,
    /// It is signed, it says, with the key after the newest known.
    Key,
}

/// Who is waited for.
#[derive(Clone, Copy)]
struct Awaited<'a> {
    /// The client the request names, if any.
    id: Option<&'a str>,
    /// The namespace of the pod that asks, if one does.
    pods_of: Option<&'a Namespace>,
}

/// A place among those that wait, and for what.
type Place<'a> = Option<(Missing, Seat<'a, Namespace>)>;

// === impl Authenticator ===

impl Authenticator {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            secrets: Secrets::new(parts),
            assertions: Assertions::new(parts),
            clients: parts.clients.clone(),
            own_keys: OwnKeys::new(parts),
            clock: parts.clock.clone(),
            of_client: Limiter::new(OF_CLIENT, CELLS),
            of_address: Limiter::new(OF_ADDRESS, CELLS),
            beyond: Cell::new(BEYOND),
            waiting: Seats::new(MOST_WAITING, MOST_WAITING),
            waiting_pods: Seats::new(MOST_PODS, MOST_PODS_OF_NAMESPACE),
            waiting_early: Seats::new(MOST_EARLY, MOST_EARLY),
        }
    }

    /// The client that presented this.
    pub(crate) async fn authenticate(
        &self,
        live: &Live<Snapshot>,
        presented: &Presented<'_>,
        Origin { peer, shown, noted }: Origin<'_>,
    ) -> Result<Caller, Refusal> {
        match presented {
            Presented::Secret { client_id, secret } => self.by_secret(live, (client_id, secret), peer).await,
            // Whose assertion it is, its `iss` says: a client id names its client, anything else is not of a client's own key.
            Presented::Assertion { client_id, assertion } => match own_keys::claimed(assertion) {
                Some(id) => self.by_own_key(live, Own { id, named: *client_id, assertion }, (peer, noted)).await,
                None => self.by_assertion(live, (*client_id, assertion), peer).await,
            },
            // A certificate counts where nothing else is presented: many a connection shows one for other reasons.
            Presented::Public { client_id } => match shown {
                Some(shown) => self.by_certificate(live.load_full(), client_id, (source(peer), shown)),
                // Public clients are not built yet: the Directory accepts none.
                None => Err(Refusal::invalid_client()),
            },
            Presented::Nothing => Err(Refusal::invalid_client()),
        }
    }

    /// The client a pod's token is good for. Failures of an address hold nobody back here, they only slow the answers to further
    /// failures: a signature check costs about as much as the request that brings the token, so that refusing it unchecked
    /// would spare half the work at best, and would shut out every pod behind the address of a node. What costs more than
    /// that, to wait, is bounded by address and by namespace.
    async fn by_assertion(
        &self,
        live: &Live<Snapshot>,
        (client_id, assertion): (Option<&str>, &Secret<'_>),
        peer: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        let (id, peer, now) = (client_id.unwrap_or_default(), source(peer), self.clock.now());
        let Some(token) = self.assertions.verify(assertion, peer).await? else {
            return Err(self.failed(id, peer, now));
        };
        let look = |snapshot: &Snapshot| assertions::client(snapshot, &token, client_id);
        let awaited = Awaited { id: client_id, pods_of: Some(&token.namespace) };
        match self.look_patiently(live, live.load_full(), awaited, look).await? {
            Some(caller) if self.assertions.is_there(&token).await? => Ok(caller),
            _ => Err(self.failed(id, peer, now)),
        }
    }

    /// What is found good is noted as used: last of all, and once a request. Nobody is held back, as with a pod's token.
    async fn by_own_key(
        &self,
        live: &Live<Snapshot>,
        own: Own<'_>,
        (peer, noted): (Option<IpAddr>, &mut Option<Use>),
    ) -> Result<Caller, Refusal> {
        let (peer, now, snapshot) = (source(peer), self.clock.now(), live.load_full());
        let Some(((client, spec), used)) = self.own_keys.verify(&snapshot, &own, (peer, now)).await? else {
            return Err(self.failed(own.id.as_str(), peer, now));
        };
        if *noted != Some(used) {
            if !self.own_keys.is_first(used, now).await? {
                tracing::debug!(client = %own.id, "an assertion is refused: it was used before");
                return Err(self.failed(own.id.as_str(), peer, now));
            }
            *noted = Some(used);
        }
        Ok(Caller { snapshot, client, spec, bound_to: None })
    }

    async fn by_secret(
        &self,
        live: &Live<Snapshot>,
        (id, secret): (&str, &Secret<'_>),
        peer: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        let (snapshot, attempt) = (live.load_full(), Attempt::new(id, secret));
        if let Some((client, spec)) = self.secrets.proven_before(&snapshot, &attempt) {
            return Ok(Caller { snapshot, client, spec, bound_to: None });
        }
        let now = self.clock.now();
        let peer = source(peer);
        self.hold_back(id, peer, now)?;
        if snapshot.client_secret_keys.is_empty() && attempt.is_signed() {
            return Err(Refusal::unavailable("client secrets cannot be checked yet"));
        }
        let look = |snapshot: &Snapshot| Ok(self.secrets.look(snapshot, &attempt));
        match self.look_patiently(live, snapshot, Awaited { id: Some(id), pods_of: None }, look).await? {
            Some(caller) => Ok(caller),
            None => Err(self.failed(id, peer, now)),
        }
    }

    /// The client whose certificate the connection showed, judged by the authorities of the moment. Failures of an address hold
    /// nobody back: the handshake of each connection cost more than this.
    fn by_certificate(
        &self,
        snapshot: Arc<Snapshot>,
        id: &str,
        (peer, shown): (IpAddr, &ClientCertificate),
    ) -> Result<Caller, Refusal> {
        let now = self.clock.now();
        let good = self.clients.as_ref().is_some_and(|judge| judge.takes(shown, now));
        let shown = Shown::read(shown);
        match shown.client(&snapshot, id).filter(|_| good) {
            Some((client, spec)) => Ok(Caller { snapshot, client, spec, bound_to: Some(shown.thumbprint) }),
            None => Err(self.failed(id, peer, now)),
        }
    }

    /// Those who failed too often are held back, but for a few.
    fn hold_back(&self, id: &str, peer: IpAddr, now: Timestamp) -> Result<(), Refusal> {
        match self.of_client.wait((id, peer), now).or(self.of_address.wait(peer, now)) {
            Some(wait) => self.beyond.count(now).map_err(|_| Refusal::too_many(wait)),
            None => Ok(()),
        }
    }

    fn failed(&self, id: &str, peer: IpAddr, now: Timestamp) -> Refusal {
        match self.of_client.count((id, peer), now).and_then(|()| self.of_address.count(peer, now)) {
            Ok(()) => Refusal::invalid_client(),
            Err(wait) => Refusal::too_many(wait),
        }
    }

    /// The client; none where the value is bad, or what it waits for did not come; an error where too many wait.
    async fn look_patiently(
        &self,
        live: &Live<Snapshot>,
        mut snapshot: Arc<Snapshot>,
        awaited: Awaited<'_>,
        look: impl Fn(&Snapshot) -> Result<Look, Refusal>,
    ) -> Result<Option<Caller>, Refusal> {
        let mut changes = live.subscribe();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut place = None;
        loop {
            match look(&snapshot)? {
                Look::Good(client, spec) => return Ok(Some(Caller { snapshot, client, spec, bound_to: None })),
                Look::Bad => return Ok(None),
                Look::NotYet(missing) => self.sit(&mut place, missing, awaited.pods_of)?,
            }
            // What was published before the subscription is seen here, what comes after it wakes. Most changes concern
            // others and are not worth a signature check.
            let mut next = live.load_full();
            while !is_news(&next, &snapshot, awaited.id) {
                if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                    return Ok(None);
                }
                next = live.load_full();
            }
            snapshot = next;
        }
    }

    /// Takes a seat among those that wait for the same. Where there is none, nobody knows whether the value is bad.
    fn sit<'a>(&'a self, place: &mut Place<'a>, missing: Missing, pods_of: Option<&Namespace>) -> Result<(), Refusal> {
        if place.as_ref().is_some_and(|(taken, _)| *taken == missing) {
            return Ok(());
        }
        let seats = match missing {
            Missing::Client if pods_of.is_some() => &self.waiting_pods,
            Missing::Client => &self.waiting,
            Missing::Key => &self.waiting_early,
        };
        let seat = seats.take(pods_of).ok_or(Refusal::unavailable("too many clients wait to become known"))?;
        *place = Some((missing, seat));
        Ok(())
    }
}

pub(super) type Found = (Arc<ClientView>, Client);
pub(super) fn usable(snapshot: &Snapshot, id: &str) -> Option<Found> {
    let client = snapshot.directory.client(id)?;
    let spec = client.usable()?.clone();
    Some((Arc::clone(client), spec))
}

/// Whether the next snapshot may say something else about this client than the one before.
fn is_news(next: &Snapshot, before: &Snapshot, id: Option<&str>) -> bool {
    let Some(id) = id else { return !Arc::ptr_eq(&next.directory, &before.directory) };
    let client = |snapshot: &Snapshot| snapshot.directory.client(id).map(Arc::as_ptr);
    !Arc::ptr_eq(&next.client_secret_keys, &before.client_secret_keys) || client(next) != client(before)
}

/// The address failures are counted by: IPv6 by its /64, since one caller owns all of that.
fn source(peer: Option<IpAddr>) -> IpAddr {
    match peer.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
