//! Follows the folders: manifests edited by people, and user Secrets somebody changed by hand.
//!
//! Flows in: the manifests as a whole set, the Secrets' files. Flows out: writes to the state. A set that cannot be read
//! leaves the last good one in force and says so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::super::{Error, Key};
use super::disk::Trace;
use super::manifests::{self, Manifest};
use super::state::{Kind, Origin, Stored};
use super::{Inner, manifests::Unreadable};

/// User Secrets are many small files, so they are looked at less often.
const SECRETS_PERIOD: Duration = Duration::from_secs(1);

/// Reads the manifests at the start, where an unreadable one is fatal.
pub(super) fn first(inner: &Inner) -> Result<(), Error> {
    let Some(dir) = &inner.settings.manifests else { return Ok(()) };
    adopt(inner, manifests::read(std::slice::from_ref(dir))?)
}

pub(super) async fn follow(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(inner.settings.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut follower = Follower { manifests: None, taken: None, secrets: HashMap::new(), secrets_at: Instant::now() };
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
    secrets: HashMap<Key, Trace>,
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
        if !settled || self.taken.as_ref() == Some(&trace) {
            return;
        }
        let set = manifests::read(std::slice::from_ref(dir));
        if manifests::trace(dir) != trace {
            return;
        }
        match set.map(|set| adopt(inner, set)) {
            Ok(Ok(())) => tell(inner, None),
            Ok(Err(error)) => {
                // A failed disk: try again at the next tick.
                tracing::error!(error = &error as &dyn std::error::Error, "the manifests were not taken over whole");
                return;
            }
            Err(unreadable) => tell(inner, Some(unreadable)),
        }
        self.taken = Some(trace);
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
            if self.secrets.get(key) == Some(&trace) {
                continue;
            }
            match take_over(inner, &kind, key) {
                Ok(()) => drop(self.secrets.insert(key.clone(), trace)),
                Err(error) => {
                    tracing::warn!(secret = %key, error = &error as &dyn std::error::Error, "a Secret's files were not read");
                }
            }
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
            tracing::error!(%error, "the manifests cannot be read; the last good ones stay in force");
        } else {
            tracing::info!("the manifests can be read again");
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

/// Makes the manifests' objects those of the set.
fn adopt(inner: &Inner, set: Vec<Manifest>) -> Result<(), Error> {
    let mut kept: HashMap<String, HashSet<Key>> = HashMap::new();
    for manifest in set {
        let Manifest { kind, key, object, .. } = manifest;
        inner.write(&kind, &key, |write| write.manifest(object))?;
        kept.entry(kind.table).or_default().insert(key);
    }
    for kind in manifests::kinds() {
        let kept = kept.remove(&kind.table).unwrap_or_default();
        let objects = inner.state().objects(&kind);
        for (key, stored) in objects {
            if stored.origin == Origin::Manifest && !kept.contains(&key) {
                inner.drop_object(&mut inner.state(), &kind, &key)?;
            }
        }
    }
    Ok(())
}
