//! Whether a client is who it says it is: a value the controller signed for it, or one on record.
//!
//! Flows in: what was presented, the snapshot, the other end's address. Flows out: the client, or a refusal whose bytes
//! and work do not tell an unknown client from a wrong secret.
//!
//! ```text
//! SHA-256 ─► known good? ─► still good by this snapshot ─► the client
//!               │ no
//!               ▼
//! too many failures? ─► signature or record ─► the client, a wait for one not seen yet, or 401; a failure counted
//! ```

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::client::{Client, SecretMode, SecretSettings};
use countersign_core::client_secret::{KeptRecord, Presented as Value, Record, Refusal as SecretRefusal, accept};
use countersign_core::directory::ClientView;
use countersign_core::names::{ClientId, IssuerName};
use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::credentials::{Presented, Secret};
use crate::http::error::Refusal;
use crate::http::limiter::{Cell, Limiter, Rate};
use crate::issuer::proven::{Digest, Proof, Proven};
use crate::issuer::usage::{LastUse, SecretUsage};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::snapshot::Snapshot;

/// Failures of one client from one address.
const OF_CLIENT: Rate = Rate { burst: 20, every: Duration::from_secs(1) };
/// Failures from one address, whatever the client.
const OF_ADDRESS: Rate = Rate { burst: 200, every: Duration::from_millis(50) };
/// Checks still made for those who failed too often, so that whoever shares an address with an attacker gets in.
const BEYOND: Rate = Rate { burst: 100, every: Duration::from_millis(5) };
const CELLS: usize = 32 * 1024;
/// How long a request waits for what a watch is about to bring, and how many may.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
pub(super) const MOST_WAITING: usize = 256;
/// How many of those whose signature nobody can check yet: anybody can make such a value.
const MOST_EARLY: usize = 32;

/// Who authenticated, and by which snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) client: Arc<ClientView>,
    pub(crate) spec: Client,
}

/// Checks clients.
#[derive(Debug)]
pub(crate) struct Authenticator {
    issuer_name: IssuerName,
    clock: Clock,
    proven: Proven,
    usage: SecretUsage,
    of_client: Limiter,
    of_address: Limiter,
    beyond: Cell,
    waiting: Semaphore,
    waiting_early: Semaphore,
}

/// What one look at a snapshot says.
enum Look {
    Good(Arc<ClientView>, Client),
    NotYet(Missing),
    Bad,
}

/// What a value waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It is well signed for a client this snapshot does not hold.
    Client,
    /// It is signed, it says, with the key after the newest known.
    Key,
}

/// A place among those that wait, and for what.
type Seat<'a> = Option<(Missing, SemaphorePermit<'a>)>;

// === impl Authenticator ===

impl Authenticator {
    pub(crate) fn new(issuer_name: IssuerName, clock: Clock, usage: SecretUsage) -> Self {
        Self {
            issuer_name,
            clock,
            proven: Proven::default(),
            usage,
            of_client: Limiter::new(OF_CLIENT, CELLS),
            of_address: Limiter::new(OF_ADDRESS, CELLS),
            beyond: Cell::new(BEYOND),
            waiting: Semaphore::new(MOST_WAITING),
            waiting_early: Semaphore::new(MOST_EARLY),
        }
    }

    /// The client that presented this.
    pub(crate) async fn authenticate(
        &self,
        live: &Live<Snapshot>,
        presented: &Presented<'_>,
        peer: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        let snapshot = live.load_full();
        // Public clients and assertions are not built yet: the Directory accepts no client that could use them.
        let Presented::Secret { client_id, secret } = presented else { return Err(Refusal::invalid_client()) };
        let id = &**client_id;
        let digest = Digest::of(id, secret.expose());
        if let Some((client, spec)) = self.proven_before(&snapshot, id, &digest) {
            return Ok(Caller { snapshot, client, spec });
        }
        let now = self.clock.now();
        let peer = source(peer);
        if let Some(wait) = self.of_client.wait((id, peer), now).or(self.of_address.wait(peer, now)) {
            self.beyond.count(now).map_err(|_| Refusal::too_many(wait))?;
        }
        if snapshot.client_secret_keys.is_empty() && Value::parse(secret.expose()).is_ok() {
            return Err(Refusal::unavailable("client secrets cannot be checked yet"));
        }
        let attempt = Attempt { id, secret, digest };
        match self.look_patiently(live, snapshot, &attempt).await? {
            Some(caller) => Ok(caller),
            None => Err(self.failed(id, peer, now)),
        }
    }

    fn failed(&self, id: &str, peer: IpAddr, now: Timestamp) -> Refusal {
        match self.of_client.count((id, peer), now).and_then(|()| self.of_address.count(peer, now)) {
            Ok(()) => Refusal::invalid_client(),
            Err(wait) => Refusal::too_many(wait),
        }
    }

    /// The client, if this very value was found good before and still is by this snapshot.
    fn proven_before(&self, snapshot: &Snapshot, id: &str, digest: &Digest) -> Option<(Arc<ClientView>, Client)> {
        let proof = self.proven.get(&snapshot.client_secret_keys, digest)?;
        let (client, spec) = usable(snapshot, id)?;
        let settings = spec.secret()?;
        let good = match &proof {
            Proof::Signed { client: uid, issued_at, .. } => {
                *uid == client.object.uid
                    && is_signed(settings)
                    && *issued_at >= not_before(&client, settings).as_second()
            }
            Proof::Recorded(record) => {
                let kept = snapshot.records.get(&client.object.object);
                is_recorded(settings)
                    && kept.is_some_and(|kept| kept.record == *record && !kept.has_ended(self.clock.now()))
            }
        };
        if let (true, Proof::Signed { issued_at, last_use, .. }) = (good, &proof) {
            self.usage.note(&client.object, *issued_at, last_use, self.clock.now());
        }
        good.then_some((client, spec))
    }

    /// The client; none where the value is bad, or what it waits for did not come; an error where too many wait.
    async fn look_patiently(
        &self,
        live: &Live<Snapshot>,
        mut snapshot: Arc<Snapshot>,
        attempt: &Attempt<'_>,
    ) -> Result<Option<Caller>, Refusal> {
        let mut changes = live.subscribe();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut seat = None;
        loop {
            match self.look(&snapshot, attempt) {
                Look::Good(client, spec) => return Ok(Some(Caller { snapshot, client, spec })),
                Look::Bad => return Ok(None),
                Look::NotYet(missing) => self.sit(&mut seat, missing)?,
            }
            // What was published before the subscription is seen here, what comes after it wakes. Most changes concern
            // others and are not worth a signature check.
            let mut next = live.load_full();
            while !is_news(&next, &snapshot, attempt.id) {
                if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                    return Ok(None);
                }
                next = live.load_full();
            }
            snapshot = next;
        }
    }

    /// Takes a seat among those that wait for the same. Where there is none, nobody knows whether the value is bad.
    fn sit<'a>(&'a self, seat: &mut Seat<'a>, missing: Missing) -> Result<(), Refusal> {
        if seat.as_ref().is_some_and(|(taken, _)| *taken == missing) {
            return Ok(());
        }
        let room = match missing {
            Missing::Client => &self.waiting,
            Missing::Key => &self.waiting_early,
        };
        let free = room.try_acquire().map_err(|_| Refusal::unavailable("too many clients wait to become known"))?;
        *seat = Some((missing, free));
        Ok(())
    }

    /// The same work whether the client is known or not, by the form of what was presented.
    fn look(&self, snapshot: &Snapshot, attempt: &Attempt<'_>) -> Look {
        let known = snapshot.directory.client(attempt.id).is_some();
        let usable = usable(snapshot, attempt.id);
        let settings = usable.as_ref().and_then(|(_, spec)| spec.secret());
        let client = usable.as_ref().zip(settings);
        let proof = match Value::parse(attempt.secret.expose()) {
            Ok(value) => self.check_signed(snapshot, attempt, value.version, client),
            Err(_) => check_recorded(snapshot, attempt, client, self.clock.now()),
        };
        match (proof, usable) {
            (Checked::Proven(proof), Some((client, spec))) => {
                self.proven.insert(&snapshot.client_secret_keys, attempt.digest, proof);
                Look::Good(client, spec)
            }
            (Checked::WellSigned, None) if !known => Look::NotYet(Missing::Client),
            (Checked::Early, _) => Look::NotYet(Missing::Key),
            _ => Look::Bad,
        }
    }

    fn check_signed(
        &self,
        snapshot: &Snapshot,
        attempt: &Attempt<'_>,
        version: u32,
        client: Option<Usable<'_>>,
    ) -> Checked {
        // A client id that is none has no client; one that cannot have been signed for keeps the work the same.
        let Ok(id) = ClientId::new(attempt.id).or_else(|_| ClientId::new("-")) else { return Checked::Bad };
        let earliest = client.map_or(Timestamp::MIN, |((client, _), settings)| not_before(client, settings));
        let keys = &snapshot.client_secret_keys;
        let accepted = match accept(attempt.secret.expose(), &id, &self.issuer_name, keys, earliest) {
            Ok(accepted) => accepted,
            Err(SecretRefusal::UnknownVersion)
                if keys.active().is_some_and(|known| known.checked_add(1) == Some(version)) =>
            {
                return Checked::Early;
            }
            Err(_) => return Checked::Bad,
        };
        match client {
            None if id.as_str() == attempt.id => Checked::WellSigned,
            Some(((client, _), settings)) if is_signed(settings) => {
                let (issued_at, last_use) = (accepted.issued_at.as_second(), LastUse::default());
                self.usage.note(&client.object, issued_at, &last_use, self.clock.now());
                Checked::Proven(Proof::Signed { client: client.object.uid.clone(), issued_at, last_use })
            }
            _ => Checked::Bad,
        }
    }
}

type Found = (Arc<ClientView>, Client);
type Usable<'a> = (&'a Found, &'a SecretSettings);

struct Attempt<'a> {
    id: &'a str,
    secret: &'a Secret<'a>,
    digest: Digest,
}

enum Checked {
    Proven(Proof),
    WellSigned,
    Early,
    Bad,
}

fn check_recorded(snapshot: &Snapshot, attempt: &Attempt<'_>, client: Option<Usable<'_>>, now: Timestamp) -> Checked {
    let Some(key) = &snapshot.record_key else { return Checked::Bad };
    let Ok(id) = ClientId::new(attempt.id).or_else(|_| ClientId::new("-")) else { return Checked::Bad };
    let kept = client.and_then(|((client, _), _)| snapshot.records.get(&client.object.object));
    let matching = matching(kept, now, |record| record.matches(key, &id, attempt.secret.expose()));
    match (client, matching) {
        (Some((_, settings)), Some(record)) if is_recorded(settings) => Checked::Proven(Proof::Recorded(record)),
        _ => Checked::Bad,
    }
}

/// The record, if it matches and has not ended. One comparison whether there is a record or not.
fn matching(kept: Option<&KeptRecord>, now: Timestamp, matches: impl FnOnce(&Record) -> bool) -> Option<Record> {
    let matches = matches(kept.map_or(&Record::OF_NOTHING, |kept| &kept.record));
    kept.filter(|kept| matches && !kept.has_ended(now)).map(|kept| kept.record.clone())
}

fn usable(snapshot: &Snapshot, id: &str) -> Option<Found> {
    let client = snapshot.directory.client(id)?;
    let spec = client.usable()?.clone();
    Some((Arc::clone(client), spec))
}

/// Whether the next snapshot may say something else about this client than the one before.
fn is_news(next: &Snapshot, before: &Snapshot, id: &str) -> bool {
    let client = |snapshot: &Snapshot| snapshot.directory.client(id).map(Arc::as_ptr);
    !Arc::ptr_eq(&next.client_secret_keys, &before.client_secret_keys) || client(next) != client(before)
}

fn is_signed(settings: &SecretSettings) -> bool {
    matches!(settings.mode, SecretMode::Create | SecretMode::Adopt)
}

fn is_recorded(settings: &SecretSettings) -> bool {
    matches!(settings.mode, SecretMode::Reference | SecretMode::Adopt)
}

/// The earliest issue time still good.
fn not_before(client: &ClientView, settings: &SecretSettings) -> Timestamp {
    let since = client.object.accepted_since.unwrap_or(client.object.created_at);
    settings.reject_issued_before.map_or(since, |bound| bound.max(since))
}

/// The address failures are counted by: IPv6 by its /64, since one caller owns all of that.
fn source(peer: Option<IpAddr>) -> IpAddr {
    match peer.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn there_is_one_comparison_whatever_is_recorded() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let kept = |until| KeptRecord { record: Record::OF_NOTHING, until };
        for (kept, says, expected) in [
            (None, false, false),
            (None, true, false),
            (Some(kept(None)), false, false),
            (Some(kept(None)), true, true),
            (Some(kept(Some(at(11)))), true, true),
            (Some(kept(Some(at(10)))), true, false),
        ] {
            let comparisons = Cell::new(0);
            let found = matching(kept.as_ref(), at(10), |_| {
                comparisons.set(comparisons.get() + 1);
                says
            });
            assert_eq!((found.is_some(), comparisons.get()), (expected, 1), "{kept:?}");
        }
    }
}
