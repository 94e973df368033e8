//! The life of the key that signs client secrets.
//!
//! ```text
//! keyring, what is remembered of it, private halves, values in use ─► SignerKeyring::step (pure) ─► half, keyring
//! ```
//! Flows in: the keyring's ConfigMap, whenever it changes, and every minute. Flows out: version 1 at the first start; a new
//! version where a private half was lost, under which every value is then issued anew; a keyring that was deleted or rolled
//! back as it was; the end of versions whose last value has ended.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::KeyPair;
use countersign_core::client_secret::{SignerHalf, SignerKeyring, SignerObserved, SignerStep, VersionState};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{SecretSigner, SignError, read_half, unsigned};
use crate::controller::listing::list;
use crate::controller::{During, Failure, Kind, Queue};
use crate::objects::layout::{KEYRING_DATA, Part};
use crate::objects::{Class, Objects};
use crate::runtime::live::Live;
use crate::runtime::supervisor::Shutdown;
use crate::snapshot::Snapshot;

/// The one key of the queue of [`SignerRing`].
pub const SIGNER: &str = "client-secret-signer";

/// How often it is looked at whether versions have ended, and private halves are still there.
const CHECKED_EVERY: Duration = Duration::from_mins(1);

/// Tells the versions of all values that clients may still use; `None` while that is not certain.
pub type InUse = Box<dyn Fn() -> Option<BTreeSet<u32>> + Send + Sync>;

/// What this kind works with.
pub struct Parts {
    pub signer: Arc<SecretSigner>,
    pub objects: Objects,
    pub snapshot: Live<Snapshot>,
    pub in_use: InUse,
}

/// The kind.
pub struct SignerRing {
    parts: Parts,
    /// The latest keyring this process has seen, which neither a loss nor a restored backup takes back.
    remembered: Mutex<SignerKeyring>,
}

impl SignerRing {
    pub fn new(parts: Parts) -> Self {
        Self { parts, remembered: Mutex::default() }
    }

    /// Follows the keyring, offering [`SIGNER`] when it changes.
    pub async fn follow(self: Arc<Self>, queue: Queue<&'static str>, shutdown: Shutdown) -> Result<(), Infallible> {
        let of_ours = self.parts.signer.layout.select(Part::ClientSecretKeyring);
        let mut maps = self.parts.objects.watch::<ConfigMap>(of_ours);
        while !shutdown.is_requested() {
            tokio::select! {
                Some(_) = maps.next() => queue.offer(SIGNER),
                () = shutdown.requested() => break,
            }
        }
        Ok(())
    }

    fn remember(&self, seen: Option<&SignerKeyring>) -> SignerKeyring {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.parts.snapshot.load();
        for keyring in [Some(snapshot.client_secret_keys.keyring()), seen].into_iter().flatten() {
            *remembered = remembered.merged(keyring);
        }
        remembered.clone()
    }

    /// The half that signs, or where the keyring is gone all there are.
    async fn halves(&self, stored: Option<&SignerKeyring>, known: &SignerKeyring) -> Result<Vec<SignerHalf>, Failure> {
        if stored.is_none() {
            return self.list().await;
        }
        let Some(active) = known.active() else { return Ok(Vec::new()) };
        let half = self.parts.signer.half(active.version, active.created_at).await?;
        if half.is_none() {
            let version = active.version;
            tracing::error!(version, "the key that signs client secrets is lost: every secret is issued anew");
        }
        Ok(half.into_iter().collect())
    }

    async fn list(&self) -> Result<Vec<SignerHalf>, Failure> {
        let of_ours = self.parts.signer.layout.select(Part::ClientSecretKey);
        let secrets = list::<Secret>(&self.parts.objects, of_ours, "list the keys that sign client secrets").await?;
        Ok(secrets.iter().filter_map(read_half).collect())
    }

    async fn write(&self, existing: Option<ConfigMap>, keyring: &SignerKeyring) -> Result<(), Failure> {
        const ACTION: &str = "write the keyring of client secrets";
        let text = serde_json::to_string(keyring).map_err(|source| malformed(ACTION, source))?;
        let data = Some([(KEYRING_DATA.to_owned(), text)].into());
        let SecretSigner { writer, layout, .. } = &*self.parts.signer;
        let written = if let Some(map) = existing {
            writer.replace(&ConfigMap { data, ..map }).await
        } else {
            let metadata = layout.meta(&layout.client_secret_keyring(), Part::ClientSecretKeyring);
            writer.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await
        };
        written.during(ACTION)?;
        self.remember(Some(keyring));
        tracing::info!(serial = keyring.serial, versions = keyring.versions.len(), "keyring of client secrets written");
        Ok(())
    }

    /// Deletes the private halves of the versions the next keyring ends.
    async fn delete_removed(&self, known: &SignerKeyring, next: &SignerKeyring) -> Result<(), Failure> {
        let removed = |keyring: &SignerKeyring, version: u32| {
            keyring.versions.iter().filter(|other| other.version == version).all(|it| it.state == VersionState::Removed)
        };
        for version in next.versions.iter().map(|version| version.version) {
            if removed(next, version) && !removed(known, version) {
                self.parts.signer.delete(version).await?;
            }
        }
        Ok(())
    }
}

impl Kind for SignerRing {
    type Key = &'static str;
    const NAME: &'static str = "client_secret_signer";

    async fn reconcile(&self, _: &&'static str) -> Result<Option<Timestamp>, Failure> {
        let SecretSigner { writer, layout, clock, .. } = &*self.parts.signer;
        let map = writer.get::<ConfigMap>(&layout.client_secret_keyring()).await;
        let map = map.during("read the keyring of client secrets")?;
        let stored = map.as_ref().map(read_keyring).transpose()?;
        let remembered = self.remember(stored.as_ref());
        let halves = self.halves(stored.as_ref(), &remembered).await?;
        let retiring = remembered.versions.iter().any(|version| version.state == VersionState::Retiring);
        let in_use = if retiring { (self.parts.in_use)() } else { None };
        let observed = SignerObserved { remembered: &remembered, halves: &halves, in_use: in_use.as_ref() };
        match SignerKeyring::step(stored.as_ref(), &observed) {
            SignerStep::Rest => {}
            SignerStep::Write(next) => {
                self.delete_removed(&remembered, &next).await?;
                self.write(map, &next).await?;
            }
            SignerStep::Make(known, version) => {
                let pair = self.parts.signer.make(version).await?;
                let public = pair.public_key().as_ref().try_into();
                let public = public.map_err(|_| unsigned(SignError::Unreadable(version)))?;
                self.write(map, &known.with_version(public, clock.now())).await?;
            }
        }
        Ok(clock.now().checked_add(CHECKED_EVERY).ok())
    }
}

/// A keyring that cannot be read is never replaced: that would end every secret there is.
pub(super) fn read_keyring(map: &ConfigMap) -> Result<SignerKeyring, Failure> {
    let text = map.data.as_ref().and_then(|data| data.get(KEYRING_DATA)).map_or("", String::as_str);
    serde_json::from_str(text).map_err(|source| malformed("read the keyring of client secrets", source))
}

fn malformed(action: &'static str, source: serde_json::Error) -> Failure {
    Failure { class: Class::Bug, category: "malformed", action, source: Box::new(source) }
}
