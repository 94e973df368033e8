//! What an explanation rests on: manifests, or a cluster as it is now.
//!
//! Flows in: paths or a connection. Flows out: a snapshot, what tokens are checked with, and where things are written.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_core::directory::{Conflicts, Directory};
use countersign_core::names::ObjectRef;
use countersign_core::token::KeySet;
use jiff::Timestamp;

use super::account::NotInForce;
use super::caller::Checks;
use crate::cli::manifests::{Flawed, Premises, World};
use crate::cli::options::Connection;
use crate::cli::process::Process;
use crate::objects::Key;
use crate::objects::folder::manifests::{Fields, Manifest};
use crate::runtime::clock::Clock;
use crate::snapshot::{Feed, Role, Snapshot, Sources};

/// How long a cluster may take to list what is there.
const PATIENCE: Duration = Duration::from_secs(15);

/// Everything that is known.
pub(super) struct Known {
    pub(super) snapshot: Snapshot,
    /// Absent: it comes from a cluster.
    world: Option<World>,
    fields: Mutex<HashMap<(&'static str, ObjectRef), Option<Fields>>>,
    keys: Option<KeySet>,
    issuer: Option<String>,
}

impl Known {
    pub(super) fn of_manifests(paths: &[PathBuf], premises: &Premises, now: Timestamp) -> Result<Self> {
        let world = World::read(paths, premises, now, Flawed::LeftOut)?;
        let issuer = premises.issuer_url.clone();
        let snapshot = world.offline.snapshot.clone();
        Ok(Self { snapshot, world: Some(world), fields: Mutex::default(), keys: None, issuer })
    }

    pub(super) fn of_cluster(connection: &Connection, premises: &Premises, clock: &Clock) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
        let snapshot = runtime.block_on(snapshot(connection, premises, clock))?;
        let keys = Some(KeySet::clone(&snapshot.keys));
        Ok(Self { snapshot, world: None, fields: Mutex::default(), keys, issuer: premises.issuer_url.clone() })
    }

    /// With keys the caller brought, if it did.
    pub(super) fn with_keys(self, keys: Option<KeySet>) -> Self {
        Self { keys: keys.or(self.keys), ..self }
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.snapshot.directory
    }

    pub(super) fn checks(&self, now: Timestamp) -> Checks<'_> {
        let revoked = self.world.is_none().then_some(&*self.snapshot.revoked);
        Checks { directory: self.directory(), keys: self.keys.as_ref(), revoked, issuer: self.issuer.as_deref(), now }
    }

    /// What is wrong with the objects that play no part, in the words of `check`.
    pub(super) fn not_in_force(&self) -> Vec<NotInForce> {
        let Some(world) = &self.world else { return Vec::new() };
        let told = world
            .survey
            .problems
            .iter()
            .map(|found| NotInForce::new(&found.place, found.field.clone(), found.message.clone()));
        let refused = world.offline.refused.iter().filter_map(|((kind, key), malformed)| {
            Some(NotInForce::new(&world.manifest(kind, key)?.place, String::new(), malformed.error.clone()))
        });
        told.chain(refused).collect()
    }

    /// The objects of a kind that play no part because of what is wrong with them.
    pub(super) fn left_out(&self, kind: &str) -> impl Iterator<Item = String> {
        let flawed = self.world.iter().flat_map(|world| &world.survey.flawed);
        flawed.filter(move |(of, _)| of == kind).map(|(kind, key)| format!("{kind} {key}"))
    }

    /// `file:line` of a field of an object.
    pub(super) fn place(&self, kind: &'static str, object: &ObjectRef, field: &str) -> Option<String> {
        let world = self.world.as_ref()?;
        let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        let of_object = fields
            .entry((kind, object.clone()))
            .or_insert_with(|| world.manifest(kind, &Key::from(object)).map(Manifest::fields));
        of_object.as_ref().map(|fields| fields.place(field).to_string())
    }
}

/// What a verifier, and the controller, would know right now. Reads no private key and no client's Secret.
async fn snapshot(connection: &Connection, premises: &Premises, clock: &Clock) -> Result<Snapshot> {
    let process = Process::quiet(clock.clone());
    let sources = Sources {
        objects: connection.objects(clock, ", or explain manifests with -f DIR").await?,
        layout: premises.layout()?,
        settings: Arc::new(premises.settings(Conflicts::OldestWins)),
        clock: clock.clone(),
    };
    let synced = process.readiness.condition("first-listing");
    let feed = Feed::new(sources, Role::Controller, synced, &process.metrics);
    let live = feed.live();
    let mut changes = live.subscribe();
    tokio::select! {
        _ = feed.run(process.supervisor.shutdown()) => {}
        listed = tokio::time::timeout(PATIENCE, changes.changed()) => {
            listed.context(
                "the cluster did not list everything within 15 s: explain reads the objects of countersign.dev, Namespaces, \
                 and the ConfigMaps of Countersign's own namespaces; check your permissions, --kubeconfig and --system-namespace",
            )?;
        }
    }
    Ok(Snapshot::clone(&live.load()))
}
