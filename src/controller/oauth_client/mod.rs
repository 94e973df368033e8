//! Each OAuthClient gets its Secret or ConfigMap, its status and, when access is taken away, its revocations.
//!
//! ```text
//! world (watches) ─┐
//! snapshot ────────┼─► observe ─► plan (pure) ─► execute ─► report
//! replicas ────────┘                 credentials, epochs, findings
//! ```
//! Flows in: which client to look at. Flows out: writes where something differs. A client that went is cleaned up after
//! when it is seen to go; what was missed while no controller ran is found by its owner record, if that kind is watched.

mod access;
mod config_map;
mod credentials;
mod epochs;
mod execute;
mod fights;
mod findings;
mod gone;
mod managed;
mod observe;
mod plan;
mod records;
mod report;
mod secret;
mod world;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_api::OAuthClient;
use countersign_api::metadata::oauth_name;
use countersign_core::names::ObjectRef;
use countersign_core::revocation::Sink;
use countersign_core::timings::Timings;
use futures::StreamExt;
use futures::stream::select_all;
use jiff::Timestamp;

pub use self::access::SecretAccess;
use self::config_map::ConfigChange;
use self::credentials::{CREDENTIALS_READY, SecretChange};
use self::fights::Heals;
use self::observe::{Look, in_namespace};
use self::plan::{Installation, Observed, Plan, plan};
use self::records::Records;
pub use self::secret::Connection;
use self::world::{Seen, There, World};
use super::conditions::Finding;
use super::connections::Connections;
use super::replicas::Replicas;
use super::secret_signer::SecretSigner;
use super::{Failure, Kind, Pace, Queue, Writer};
use crate::objects::layout::{Layout, PART, Part};
use crate::objects::{Class, Objects, Selection};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;

/// How soon to look again while the first listings are awaited.
const NOT_SYNCED: Duration = Duration::from_millis(200);
/// How soon to try again to clean up in a namespace that does not let us.
const DENIED: Duration = Duration::from_mins(5);

/// What this kind works with.
pub struct Parts {
    pub writer: Writer,
    pub layout: Layout,
    pub clock: Clock,
    pub timings: Timings,
    pub snapshot: Live<Snapshot>,
    pub sink: Arc<dyn Sink>,
    pub connections: Connections,
    /// Whether there is a cluster whose ServiceAccount tokens can be checked.
    pub has_cluster: bool,
    pub signer: Arc<SecretSigner>,
    pub replicas: Replicas,
    pub pace: Pace,
    pub access: SecretAccess,
}

/// The kind.
pub struct OAuthClients {
    writer: Writer,
    layout: Layout,
    clock: Clock,
    timings: Timings,
    snapshot: Live<Snapshot>,
    sink: Arc<dyn Sink>,
    connections: Connections,
    has_cluster: bool,
    signer: Arc<SecretSigner>,
    replicas: Replicas,
    pace: Pace,
    access: SecretAccess,
    /// How fast Secrets that are not watched are read.
    reads: Pace,
    records: Records,
    world: Mutex<World>,
    heals: Mutex<HashMap<ObjectRef, Heals>>,
}

impl OAuthClients {
    pub fn new(parts: Parts) -> Self {
        let Parts {
            writer,
            layout,
            clock,
            timings,
            snapshot,
            sink,
            connections,
            has_cluster,
            signer,
            replicas,
            pace,
            access,
        } = parts;
        let records = Records { writer: writer.clone(), layout: layout.clone(), key: Mutex::default() };
        let world = Mutex::new(World::new(layout.clone(), access.is_watched()));
        let heals = Mutex::default();
        Self {
            writer,
            layout,
            clock,
            timings,
            snapshot,
            sink,
            connections,
            has_cluster,
            signer,
            replicas,
            pace,
            access,
            reads: Pace::default(),
            records,
            world,
            heals,
        }
    }

    /// Follows the store and the Directory, offering each client something may have changed for.
    pub async fn follow(
        self: Arc<Self>,
        objects: Objects,
        queue: Queue<ObjectRef>,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let ours = self.layout.select_for_users().unlabelled(PART);
        let mut watches = vec![
            objects.watch(Selection::all()).map(|change| Seen::Client(Box::new(change))).boxed(),
            objects.watch(ours.clone()).map(Seen::ConfigMap).boxed(),
            objects.watch(self.layout.select(Part::ReferenceRecord)).map(Seen::Record).boxed(),
        ];
        if self.access.is_watched() {
            watches.push(objects.watch(ours).map(Seen::Secret).boxed());
        }
        let mut seen = select_all(watches);
        let mut changes = self.snapshot.subscribe();
        let mut told = self.connections.subscribe();
        let mut before = self.snapshot.load_full();
        while !shutdown.is_requested() {
            let affected = tokio::select! {
                Some(seen) = seen.next() => {
                    let now = self.clock.now();
                    self.world().see(seen, now)
                }
                () = changes.changed() => self.affected(&mut before),
                () = told.changed() => everyone(&before),
                () = shutdown.requested() => break,
            };
            for client in affected {
                queue.offer(client);
            }
        }
        Ok(())
    }

    /// The signer's versions of all values that clients may still use; `None` where that is not certain.
    pub fn versions_in_use(&self) -> Option<BTreeSet<u32>> {
        self.world().versions_in_use()
    }

    fn affected(&self, before: &mut Arc<Snapshot>) -> Vec<ObjectRef> {
        let now = self.snapshot.load_full();
        let before = std::mem::replace(before, Arc::clone(&now));
        let all = before.client_secret_keys.active() != now.client_secret_keys.active()
            || !before.directory.rings().eq(now.directory.rings());
        if all {
            return everyone(&now);
        }
        let mut affected = now.directory.affected_clients(&before.directory);
        // An issuer may have raised an epoch, too: until status says so it signs nothing for that client.
        let raised: HashSet<_> = now.revoked.raised_since(&before.revoked).collect();
        if !raised.is_empty() {
            let clients = now.directory.clients().filter(|client| raised.contains(&client.object.uid));
            affected.extend(clients.map(|client| client.object.object.clone()));
        }
        affected
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heals(&self, client: &ObjectRef) -> Heals {
        self.heals.lock().unwrap_or_else(PoisonError::into_inner).get(client).cloned().unwrap_or_default()
    }

    /// Notes that a Secret was put back, and forgets old fights.
    fn heal(&self, client: &ObjectRef, writer: Option<String>, now: Timestamp) {
        let mut heals = self.heals.lock().unwrap_or_else(PoisonError::into_inner);
        heals.retain(|_, heals| !heals.is_over(now));
        heals.entry(client.clone()).or_default().note(writer, now);
    }

    async fn tend(
        &self,
        key: &ObjectRef,
        object: Arc<OAuthClient>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Failure> {
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let snapshot = self.snapshot.load_full();
        let observed = match self.observe(key, object, &snapshot, now).await? {
            Look::At(observed) => *observed,
            Look::Nothing => return Ok(None),
            Look::Later(observed, later) => {
                self.revoke_alone(&observed, &snapshot, now).await?;
                return Ok(Some(later));
            }
        };
        let (observed, mut plan) = self.decide(key, observed, &snapshot, now).await?;
        self.end_epochs(&observed, &plan, now).await?;
        let done = self.execute(&observed, &plan, now).await;
        if let Err(failure) = &done {
            if failure.class != Class::User {
                // Until status has the new epoch, issuers sign nothing: a Secret that cannot be written holds that not up.
                if plan.grows {
                    self.remember(&observed.object, &plan.report).await?;
                }
                return done.map(|()| None);
            }
            plan.report.unwritten(observed.object.status.as_ref(), &self.refused(key, failure));
        }
        let later = if plan.silent { None } else { self.report(&observed.object, &plan.report, now).await? };
        if done.as_ref().is_err_and(|failure| self.access.denied(&key.namespace, failure).is_some()) {
            // It is said in status, and no failure of ours: somebody may let us any moment.
            return Ok(later.into_iter().chain([self.retry_at(now)]).min());
        }
        done.map(|()| [plan.wake_at, later, self.reread_at(&observed, now)].into_iter().flatten().min())
    }

    /// What was taken away ends now, although the Secret's turn to be read has not come.
    async fn revoke_alone(&self, observed: &Observed, snapshot: &Snapshot, now: Timestamp) -> Result<(), Failure> {
        let connection = self.connections.now();
        let plan = plan(&self.installation(snapshot, &connection), observed, now);
        if plan.grows {
            self.end_epochs(observed, &plan, now).await?;
            self.remember(&observed.object, &plan.report).await?;
        }
        Ok(())
    }

    fn installation<'a>(&'a self, snapshot: &'a Snapshot, connection: &'a Connection) -> Installation<'a> {
        Installation {
            issuer: self.layout.issuer_name(),
            connection,
            timings: &self.timings,
            keys: &snapshot.client_secret_keys,
            has_cluster: self.has_cluster,
        }
    }

    /// What to say of a write that the API server refused.
    fn refused(&self, key: &ObjectRef, failure: &Failure) -> Finding {
        self.access.denied(&key.namespace, failure).unwrap_or_else(|| {
            let message = format!("the API server refuses what is to be written for the client: {}", failure.source);
            Finding::fails(CREDENTIALS_READY, "WriteRefused", message)
        })
    }

    /// What is decided on a watched Secret or ConfigMap is decided again on a fresh one before anything is written: the watch may lag,
    /// and does not say who wrote last.
    async fn decide(
        &self,
        key: &ObjectRef,
        mut observed: Observed,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<(Observed, Plan), Failure> {
        let connection = self.connections.now();
        let installation = self.installation(snapshot, &connection);
        let first = plan(&installation, &observed, now);
        match (&first.secret, &first.config_map, observed.settings()) {
            (SecretChange::Write { base: Some(_), .. }, _, Some(settings)) => {
                observed.secret = self.look(&in_namespace(key, settings.name.as_str()), now).await?;
            }
            (_, ConfigChange::Write { base: Some(_), .. }, _) => {
                observed.config_map = self.read(&in_namespace(key, &oauth_name(&key.name))).await?;
            }
            _ => return Ok((observed, first)),
        }
        let again = plan(&installation, &observed, now);
        Ok((observed, again))
    }
}

fn everyone(snapshot: &Snapshot) -> Vec<ObjectRef> {
    snapshot.directory.clients().map(|client| client.object.object.clone()).collect()
}

impl Kind for OAuthClients {
    type Key = ObjectRef;
    const NAME: &'static str = "oauth_client";

    async fn reconcile(&self, key: &ObjectRef) -> Result<Option<Timestamp>, Failure> {
        let now = self.clock.now();
        let (there, synced) = {
            let world = self.world();
            (world.there(key), world.is_synced())
        };
        if !synced || !self.connections.are_known() {
            return Ok(now.checked_add(NOT_SYNCED).ok());
        }
        let mut later = None;
        match self.bury(key, &there, now).await {
            // What a client left there is tried again; one that follows it is not held up.
            Err(failure) if self.access.denied(&key.namespace, &failure).is_some() => {
                later = now.checked_add(DENIED).ok();
            }
            buried => buried?,
        }
        let next = match there {
            There::Client(object) => self.tend(key, object, now).await?,
            There::Malformed => None,
            There::Nothing => self.sweep(key, now).await?,
        };
        Ok(next.into_iter().chain(later).min())
    }
}

#[cfg(test)]
mod tests;
