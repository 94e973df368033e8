//! Follows the folders: manifests edited by people, and user Secrets somebody changed by hand.
//!
//! Flows in: the manifests as a whole set, the Secrets' files. Flows out: writes to the state. A set that cannot be read
//! leaves the last good one in force and says so.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::super::{Error, Key};
use super::Inner;
use super::disk::Trace;
use super::manifests::{self, Manifest, Place, Unreadable};
use super::state::{Kind, Origin, Stored};
use crate::runtime::telemetry::chain;

/// How soon files that could not be taken over are tried again although nobody edited them.
const RETRY: Duration = Duration::from_secs(1);
/// How long an emptied file is waited for: who saves in place empties first, and may be slow to write.
const EMPTIED: Duration = Duration::from_secs(3);
/// User Secrets are many small files, so they are looked at less often.
const SECRETS_PERIOD: Duration = Duration::from_secs(1);

/// Reads the manifests at the start, where an unreadable one is fatal.
pub(super) fn first(inner: &Inner) -> Result<(), Error> {
    let Some(dir) = &inner.settings.manifests else { return Ok(()) };
    let set = manifests::read(std::slice::from_ref(dir))?;
    Ok(take(inner, dir, set)?)
}

pub(super) async fn follow(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(inner.settings.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut follower = Follower {
        manifests: None,
        taken: None,
        emptied_at: None,
        again_at: None,
        secrets: HashMap::new(),
        secrets_at: Instant::now(),
    };
    loop {
        ticks.tick().await;
        let at = Arc::clone(&inner);
        match tokio::task::spawn_blocking(move || {
            follower.look(&at);
            follower
        })
        .await
        {
            Ok(back) => follower = back,
            Err(_) => return,
        }
    }
}

struct Follower {
    /// The manifests at the last look. They are read once two looks saw the same: a file caught between being emptied
    /// and being written would pass for objects deleted.
    manifests: Option<Trace>,
    /// The manifests last taken over, or found unreadable.
    taken: Option<Trace>,
    /// Since when one of them is empty that was not.
    emptied_at: Option<Instant>,
    /// When they are tried again, where that may help.
    again_at: Option<Instant>,
    /// Each Secret's files at the last look, and why they were not read, if they were not.
    secrets: HashMap<Key, (Trace, Option<String>)>,
    secrets_at: Instant,
}

impl Follower {
    fn look(&mut self, inner: &Inner) {
        inner.contact.touch(inner.clock.now());
        self.look_at_manifests(inner);
        if self.secrets_at.elapsed() >= SECRETS_PERIOD {
            self.secrets_at = Instant::now();
            self.look_at_secrets(inner);
        }
    }

    fn look_at_manifests(&mut self, inner: &Inner) {
        let Some(dir) = &inner.settings.manifests else { return };
        let trace = manifests::trace(dir);
        let settled = self.manifests.replace(trace.clone()) == Some(trace.clone());
        let again = self.again_at.is_some_and(|at| at <= Instant::now());
        if !settled || (self.taken.as_ref() == Some(&trace) && !again) {
            return;
        }
        // Taken for a deletion it would end tokens for good, so the content is waited for.
        if self.taken.as_ref().is_some_and(|taken| trace.is_emptied_since(taken))
            && self.emptied_at.get_or_insert_with(Instant::now).elapsed() < EMPTIED
        {
            return;
        }
        self.emptied_at = None;
        let set = manifests::read(std::slice::from_ref(dir));
        if manifests::trace(dir) != trace {
            return;
        }
        let unreadable = set.and_then(|set| take(inner, dir, set)).err();
        self.again_at = unreadable.as_ref().is_some_and(|it| it.may_pass).then(|| Instant::now() + RETRY);
        self.taken = Some(trace);
        tell(inner, unreadable);
    }

    /// Takes over what somebody did to the files of user Secrets, so that the controller sees it.
    fn look_at_secrets(&mut self, inner: &Inner) {
        let Some(disk) = &inner.disk else { return };
        let kind = Kind { name: "Secret".to_owned(), table: "secrets".to_owned(), has_status: false };
        let secrets = inner.state().objects(&kind);
        for (key, _) in
            secrets.iter().filter(|(key, stored)| stored.origin == Origin::Written && disk.as_files(&kind.table, key))
        {
            let trace = disk.trace(key);
            let before = self.secrets.get(key);
            if before.is_some_and(|(seen, trouble)| *seen == trace && trouble.is_none()) {
                continue;
            }
            let trouble = take_over(inner, &kind, key).err().map(|error| chain(&error));
            if let Some(error) = &trouble
                && before.and_then(|(_, trouble)| trouble.as_ref()) != Some(error)
            {
                tracing::warn!(secret = %key, error, "a Secret's files were not read");
            }
            self.secrets.insert(key.clone(), (trace, trouble));
        }
        let there: HashSet<_> = secrets.into_iter().map(|(key, _)| key).collect();
        self.secrets.retain(|key, _| there.contains(key));
    }
}

fn tell(inner: &Inner, unreadable: Option<Unreadable>) {
    inner.problem.send_if_modified(|problem| {
        let same = problem.as_deref().map(ToString::to_string) == unreadable.as_ref().map(ToString::to_string);
        if same {
            return false;
        }
        if let Some(error) = &unreadable {
            tracing::error!(%error, "the manifests are not in force as they are written; what was before stays");
        } else {
            tracing::info!("the manifests are in force again");
        }
        *problem = unreadable.map(Arc::new);
        true
    });
}

/// One Secret's files as they are now. The lock is held so that no write of our own comes between.
fn take_over(inner: &Inner, kind: &Kind, key: &Key) -> Result<(), Error> {
    let Some(disk) = &inner.disk else { return Ok(()) };
    let mut state = inner.state();
    let Some(old) = state.get(kind, key) else { return Ok(()) };
    let mut object = old.object.clone();
    if !disk.fill(key, &mut object)? {
        return inner.drop_object(&mut state, kind, key);
    }
    if object.get("data") == old.object.get("data") {
        return Ok(());
    }
    let mut new = Stored { object, ..(*old).clone() };
    state.number(&mut new);
    disk.write(kind, key, &new)?;
    state.commit(kind, key, new);
    Ok(())
}

/// Puts the whole set in force, or says what is in the way.
fn take(inner: &Inner, dir: &Path, set: Vec<Manifest>) -> Result<(), Unreadable> {
    vet(inner, &set)?;
    adopt(inner, dir, set)
}

/// Refuses a set with a Secret that Countersign writes itself: its clients would find their credentials gone.
fn vet(inner: &Inner, set: &[Manifest]) -> Result<(), Unreadable> {
    // Countersign may yet take its own away: that of a client just removed, say.
    let mut unreadable = Unreadable { may_pass: true, ..Unreadable::default() };
    for Manifest { kind, key, place, .. } in set.iter().filter(|manifest| manifest.kind.is_secret()) {
        if inner.state().get(kind, key).is_some_and(|stored| stored.origin == Origin::Written) {
            let message = format!("Secret {key} is written by Countersign: choose another name");
            unreadable.blame(place.clone(), "metadata.name".to_owned(), message);
        }
    }
    if unreadable.problems.is_empty() { Ok(()) } else { Err(unreadable) }
}

/// Makes the manifests' objects those of the set. An object that fails keeps out no other.
fn adopt(inner: &Inner, dir: &Path, set: Vec<Manifest>) -> Result<(), Unreadable> {
    let mut failed = Unreadable { may_pass: true, ..Unreadable::default() };
    let mut kept: HashMap<String, HashSet<Key>> = HashMap::new();
    for manifest in set {
        let Manifest { kind, key, object, place, .. } = manifest;
        if let Err(error) = inner.write(&kind, &key, |write| write.manifest(object)) {
            let message = format!("{} {key} is not in force as written: {}", kind.name, chain(&error));
            failed.blame(place, String::new(), message);
        }
        kept.entry(kind.table).or_default().insert(key);
    }
    for kind in manifests::kinds() {
        let kept = kept.remove(&kind.table).unwrap_or_default();
        let objects = inner.state().objects(&kind);
        for (key, _) in objects.into_iter().filter(|(key, it)| it.origin == Origin::Manifest && !kept.contains(key)) {
            let dropped = inner.drop_object(&mut inner.state(), &kind, &key);
            if let Err(error) = dropped {
                let message = format!("{} {key} is still in force: {}", kind.name, chain(&error));
                failed.blame(Place { file: dir.to_owned(), line: 0 }, String::new(), message);
            }
        }
    }
    if failed.problems.is_empty() { Ok(()) } else { Err(failed) }
}
