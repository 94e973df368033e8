//! Connects the traffic of a ScopePolicy's targets: objects of Envoy Gateway and Istio, where those are there.
//!
//! ```text
//! policies, routes, gateways, what stands on them (watches) ─┐
//! snapshot: what the policy holds ───────────────────────────┼─► plan (pure) ─► execute ─► Wired ─► status of the policy
//! which kinds the cluster has, the mesh's providers (looks) ─┘
//! ```
//! Flows in: which policy to look at. Flows out: objects with its owner record, removed with the policy or the target; the
//! words for its status, which `scope_policy` writes. What somebody else wrote is never touched.

mod execute;
mod follow;
mod plan;
mod seen;
#[cfg(test)]
mod tests;
mod wired;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_api::ScopePolicy;
use countersign_api::wiring::{Wiring, Word};
use countersign_core::names::ObjectRef;
use jiff::Timestamp;

use self::plan::{Plan, plan, sweep};
use self::seen::{Seen, There};
pub use self::wired::Wired;
use super::{Failure, Kind, Queue, Writer};
use crate::objects::layout::Layout;
use crate::objects::{Class, Key};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::snapshot::Snapshot;

/// How soon to look again while the first listing is awaited.
const NOT_SYNCED: Duration = Duration::from_millis(200);

/// What the flags say.
#[derive(Clone, Debug)]
pub struct Settings {
    pub wiring: Wiring,
    /// The ConfigMap of the Istio mesh's configuration.
    pub mesh: Key,
}

/// What this kind works with.
pub struct Parts {
    pub writer: Writer,
    pub layout: Layout,
    pub clock: Clock,
    pub snapshot: Live<Snapshot>,
    pub settings: Settings,
    pub wired: Wired,
    /// Those whose status is to be looked at.
    pub tell: Queue<Key>,
}

/// The kind.
pub struct Wirings {
    writer: Writer,
    clock: Clock,
    snapshot: Live<Snapshot>,
    settings: Settings,
    wired: Wired,
    tell: Queue<Key>,
    seen: Mutex<Seen>,
}

impl Wirings {
    pub fn new(parts: Parts) -> Self {
        let Parts { writer, layout, clock, snapshot, settings, wired, tell } = parts;
        let seen = Mutex::new(Seen::new(layout));
        Self { writer, clock, snapshot, settings, wired, tell, seen }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done for a policy that is there; `None`: nothing can be said of it at this moment.
    fn decide(&self, key: &ObjectRef, policy: &ScopePolicy) -> Option<Plan> {
        let snapshot = self.snapshot.load();
        let view = snapshot.directory.policy(key)?;
        let same = view.object.generation == policy.metadata.generation.unwrap_or_default()
            && policy.metadata.uid.as_deref() == Some(view.object.uid.as_str());
        // Of what could not be read nobody knows what it is attached to.
        if !same || view.object.source.unreadable.is_some() {
            return None;
        }
        let labels = snapshot.directory.labels_of(&key.namespace).cloned().unwrap_or_default();
        Some(plan(&self.seen(), (policy, view), labels, &self.settings.wiring))
    }

    async fn tend(&self, key: &ObjectRef, policy: &ScopePolicy) -> Result<(), Failure> {
        let Some(mut plan) = self.decide(key, policy) else { return Ok(()) };
        let done = self.execute(key, &plan).await;
        if let Err(failure) = &done {
            if failure.class != Class::User {
                return done;
            }
            let word = Word::write_refused(&failure.source);
            plan.words.iter_mut().for_each(|(_, told)| *told = word.clone());
        }
        if self.wired.set(key, plan.words) {
            self.tell.offer(Key::from(key));
        }
        done
    }
}

impl Kind for Wirings {
    type Key = ObjectRef;
    const NAME: &'static str = "wiring";

    async fn reconcile(&self, key: &ObjectRef) -> Result<Option<Timestamp>, Failure> {
        let now = self.clock.now();
        let there = self.seen().there(key);
        match there {
            There::NotSynced => Ok(now.checked_add(NOT_SYNCED).ok()),
            There::Policy(policy) => self.tend(key, &policy).await.map(|()| None),
            // It stays as it is, and so does what was said of it.
            There::Ending | There::Malformed => Ok(None),
            There::Nothing { seen_to_go } => {
                let (plan, later) = sweep(&self.seen(), key, (seen_to_go, now));
                self.execute(key, &plan).await?;
                self.wired.forget(key);
                self.seen().buried(key);
                Ok(later)
            }
        }
    }
}
