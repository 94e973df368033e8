//! The kind SigningKey: each ring of keys goes through the life `core::keyring` gives it.
//!
//! ```text
//! SigningKey, keyring, heartbeats ─► observe ─► keyring::step (pure) ─► execute ─┐
//!                                       ▲                                        │ until nothing more is asked for
//!                                       └────────────────────────────────────────┘ ─► report
//! ```
//! Flows in: which ring to look at. Flows out: private halves, the keyring, status; where the SigningKey is gone, the end of
//! all of them ([`gone`]). Private halves are written and deleted here, never read.

mod execute;
mod gone;
#[cfg(test)]
mod gone_tests;
mod make;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_api::SigningKey;
use countersign_api::signingkey::Ring;
use countersign_core::keyring::{DEFAULT_RING, Keyring, Observed, Step, step};
use countersign_core::names::ObjectName;
use countersign_core::timings::Timings;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use self::execute::read_keyring;
use super::replicas::Replicas;
use super::table::Table;
use super::{During, Failure, Kind, Pace, Queue, Writer};
use crate::objects::layout::Layout;
use crate::objects::{Change, Class, Key, Objects, Selection};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;

/// A look at a ring is at most so many steps; what is left goes with the next look.
const MOST_STEPS: usize = 16;

/// What this kind works with.
pub struct Parts {
    pub writer: Writer,
    pub layout: Layout,
    pub clock: Clock,
    pub timings: Timings,
    pub snapshot: Live<Snapshot>,
    pub replicas: Replicas,
    pub pace: Pace,
}

/// The kind.
pub struct SigningKeys {
    parts: Parts,
    objects: Mutex<Table<SigningKey>>,
    /// The latest keyrings this process has seen, which a restored backup cannot take back.
    remembered: Mutex<BTreeMap<ObjectName, Keyring>>,
    /// The rings whose SigningKey was seen to go.
    gone: Mutex<BTreeSet<ObjectName>>,
}

/// The keyring as it is stored, and the ConfigMap it lies in.
struct Stored {
    map: Option<ConfigMap>,
    ring: Option<Keyring>,
}

impl SigningKeys {
    pub fn new(parts: Parts) -> Self {
        Self { parts, objects: Mutex::default(), remembered: Mutex::default(), gone: Mutex::default() }
    }

    /// Follows each SigningKey and keyring, offering each ring something may have changed for. Heartbeats are the caller's to
    /// offer for.
    pub async fn follow(
        self: Arc<Self>,
        objects: Objects,
        queue: Queue<ObjectName>,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let mut seen = objects.watch::<SigningKey>(Selection::namespace(self.parts.layout.system_namespace()));
        let mut changes = self.parts.snapshot.subscribe();
        let mut before = self.parts.snapshot.load_full();
        let mut listed = false;
        while !shutdown.is_requested() {
            tokio::select! {
                Some(change) = seen.next() => {
                    self.see(change).into_iter().for_each(|ring| queue.offer(ring));
                    // Only a whole listing tells whose SigningKey is not there; none of its steps would.
                    if !listed && self.objects().is_synced() {
                        listed = true;
                        self.rings().into_iter().chain(ObjectName::new(DEFAULT_RING)).for_each(|ring| queue.offer(ring));
                    }
                }
                () = changes.changed() => {
                    let now = self.parts.snapshot.load_full();
                    let names = now.rings.keys().chain(before.rings.keys());
                    let differs = |name: &&ObjectName| before.rings.get(*name) != now.rings.get(*name);
                    names.filter(differs).for_each(|name| queue.offer(name.clone()));
                    before = now;
                }
                () = shutdown.requested() => break,
            }
        }
        Ok(())
    }

    /// Takes in a change; the rings to look at.
    fn see(&self, change: Change<SigningKey>) -> Vec<ObjectName> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rings = Vec::new();
        for step in self.objects().apply(change) {
            let Ok(ring) = ObjectName::new(&step.key.name) else { continue };
            if step.new.is_some() || step.malformed.is_some() {
                gone.remove(&ring);
            } else if step.old.is_some_and(|old| old.spec.issuer == self.parts.layout.issuer_name().as_str()) {
                gone.insert(ring.clone());
            }
            rings.push(ring);
        }
        rings
    }

    /// The rings there are, for whoever learns of something that concerns all of them.
    pub fn rings(&self) -> Vec<ObjectName> {
        self.parts.snapshot.load().rings.keys().cloned().collect()
    }

    async fn observe(&self, object: &SigningKey, ring: &Ring) -> Result<(Stored, Observed), Failure> {
        let Parts { writer, layout, clock, timings, replicas, snapshot, .. } = &self.parts;
        let name = &ring.spec.ring;
        let map = writer.get::<ConfigMap>(&layout.keyring(name.as_str())).await.during("read the keyring")?;
        let stored = Stored { ring: map.as_ref().map(read_keyring).transpose()?, map };
        let remembered =
            self.remember(name, [snapshot.load().rings.get(name).map(|ring| (**ring).clone()), stored.ring.clone()]);
        let status = object.status.as_ref();
        // A status without a keyring is the trace of one that was lost; its serial nobody knows, only that there was one.
        let once_had = u64::from(status.is_some_and(|status| status.active_key_id.is_some()));
        let (live, highest) = {
            let replicas = replicas.witnesses();
            (replicas.of_ring(name.as_str(), clock.now(), timings), replicas.highest_serial(name.as_str()))
        };
        let observed = Observed {
            spec: ring.spec.clone(),
            witnesses: live,
            // Replicas that hold more than is remembered here would seem to hold a new ring before they saw it.
            known_serial: remembered.as_ref().map_or(once_had, |ring| ring.serial).max(highest),
            remembered,
            new_key: None,
        };
        Ok((stored, observed))
    }

    async fn tend(&self, object: &SigningKey, ring: &Ring) -> Result<Step, Failure> {
        let (stored, observed) = self.observe(object, ring).await?;
        self.advance(stored, observed).await
    }

    fn remember(&self, name: &ObjectName, seen: [Option<Keyring>; 2]) -> Option<Keyring> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        for ring in seen.into_iter().flatten() {
            match remembered.get(name) {
                Some(known) if known.serial >= ring.serial => {}
                _ => drop(remembered.insert(name.clone(), ring)),
            }
        }
        remembered.get(name).cloned()
    }

    /// Steps until nothing more is asked for; the last answer.
    async fn advance(&self, mut stored: Stored, mut observed: Observed) -> Result<Step, Failure> {
        for _ in 0..MOST_STEPS {
            let next = step(stored.ring.as_ref(), &observed, self.parts.clock.now(), &self.parts.timings);
            observed.new_key = None;
            self.delete_private_halves(&observed.spec.ring, &next.delete_private_halves).await?;
            if let Some(ring) = &next.ring {
                stored = self.write_keyring(stored, ring).await?;
                self.remember(&observed.spec.ring, [stored.ring.clone(), None]);
            } else if let Some(need) = next.need_key {
                observed.new_key = Some(self.make_key(&observed.spec, need).await?);
            } else {
                return Ok(next);
            }
        }
        Err(Failure {
            class: Class::Bug,
            category: "keyring",
            action: "bring the ring to rest",
            source: format!("it still asks for more after {MOST_STEPS} steps").into(),
        })
    }

    fn objects(&self) -> MutexGuard<'_, Table<SigningKey>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind for SigningKeys {
    type Key = ObjectName;
    const NAME: &'static str = "signing_key";

    async fn reconcile(&self, name: &ObjectName) -> Result<Option<Timestamp>, Failure> {
        let key = Key::namespaced(self.parts.layout.system_namespace(), name.as_str());
        let (object, synced, malformed) = {
            let objects = self.objects();
            (objects.get(&key).cloned(), objects.is_synced(), objects.is_malformed(&key))
        };
        let ours = |object: &Arc<SigningKey>| object.spec.issuer == self.parts.layout.issuer_name().as_str();
        let foreign = object.as_ref().is_some_and(|object| !ours(object));
        let Some(object) = object.filter(ours) else {
            // Without a spec nothing is decided: the keyring stands, and what it holds goes on verifying.
            if !synced || malformed || foreign {
                return Ok(None);
            }
            if name.as_str() == DEFAULT_RING {
                self.create_default().await?;
                return Ok(None);
            }
            return self.wind_down(name).await;
        };
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let ring = Ring::try_from(object.as_ref()).map_err(|source| Failure {
            class: Class::User,
            category: "malformed",
            action: "read the SigningKey",
            source: Box::new(source),
        })?;
        match self.tend(&object, &ring).await {
            Ok(step) => {
                let later = self.report(&object, &ring, &step).await?;
                Ok(step.wake_at.into_iter().chain(later).min())
            }
            Err(failure) => {
                if failure.class == Class::User {
                    self.report_refused(&object, &failure).await?;
                }
                Err(failure)
            }
        }
    }
}
