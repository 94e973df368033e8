//! Keeps the signers in step with the snapshot, and says whether this issuer can do its work.
//!
//! Flows in: changes of the snapshot and of the clock's correction. Flows out: `Live<Signers>`, parsed once a key; two
//! conditions of readiness.

use std::convert::Infallible;
use std::time::Duration;

use countersign_core::keyring::RingKey;
use countersign_core::names::{KeyId, ObjectName};
use countersign_core::timings::Timings;
use countersign_core::token::Algorithm;

use crate::issuer::signer::Signers;
use crate::runtime::clock::Clock;
use crate::runtime::contact::Contact;
use crate::runtime::live::Live;
use crate::runtime::readiness::{Condition, Readiness};
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;

/// How often what changes without a new snapshot is looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// What the task looks at.
pub struct Watched {
    pub snapshot: Live<Snapshot>,
    pub signers: Live<Signers>,
    pub clock: Clock,
    pub contact: Contact,
    pub timings: Timings,
    /// The ring that must be able to sign before this issuer is ready.
    pub default_ring: ObjectName,
}

/// The task's state.
pub struct Keeper {
    watched: Watched,
    /// A key may sign: Active in the keyring seen here, its private half held.
    signing_key: Condition,
    /// Signed client secrets can be checked.
    client_secret_keys: Condition,
    /// The clock is less than S/2 off the API server's.
    clock: Condition,
    /// The API server was heard from within G.
    contact: Condition,
}

impl Keeper {
    /// Adds the issuer's conditions to the process's readiness.
    pub fn new(watched: Watched, readiness: &Readiness) -> Self {
        Self {
            watched,
            signing_key: readiness.condition("signing-key"),
            client_secret_keys: readiness.condition("client-secret-keys"),
            clock: readiness.condition("clock"),
            contact: readiness.condition("api-server-contact"),
        }
    }

    /// Runs until shutdown.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut changes = self.watched.snapshot.subscribe();
        loop {
            self.keep();
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = changes.changed() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// One look at what is there now.
    pub fn keep(&self) {
        let Watched { snapshot, signers, clock, contact, timings, default_ring } = &self.watched;
        let snapshot = snapshot.load_full();
        let held = signers.load_full();
        let next = held.next(halves(&snapshot));
        if !next.same_keys(&held) {
            signers.publish(next);
        }
        let active = snapshot.rings.get(default_ring).and_then(|ring| ring.active()).map(RingKey::key_id);
        self.signing_key.set(active.is_some_and(|key_id| signers.load().get(key_id).is_some()));
        self.client_secret_keys.set(!snapshot.client_secret_keys.is_empty());
        self.clock.set(clock.correction().unsigned_abs() <= timings.clock_skew / 2);
        let age = contact.age(clock.now());
        self.contact.set(age.is_some_and(|age| age.unsigned_abs() <= timings.offline_grace));
    }
}

/// The private halves of keys that a ring names, each with the algorithm the ring gives it.
fn halves(snapshot: &Snapshot) -> impl Iterator<Item = (&KeyId, Algorithm, &[u8])> {
    snapshot.rings.values().flat_map(|ring| &ring.keys).filter_map(|key| {
        let half = snapshot.private_keys.get(key.key_id())?;
        Some((key.key_id(), key.jwk.algorithm(), half.expose()))
    })
}
