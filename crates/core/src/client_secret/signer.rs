//! The client-secret signer's own keyring: which versions of its key exist, and which may still be used.
//!
//! Flows in: the keyring as it is stored, as this process remembers it, the private halves there are, the versions clients
//! still have values of. Flows out of [`SignerKeyring::step`]: the keyring to write, or the version to make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a version is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VersionState {
    /// Signs new values.
    Active,
    /// What it signed is good until it was issued anew.
    Retiring,
    /// Nothing it signed is good.
    Removed,
}

/// One version of the signer's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignerVersion {
    /// Its number; part of every value it signed.
    pub version: u32,
    /// The Ed25519 public key, base64url.
    pub public_key: String,
    /// Where it is in its life.
    pub state: VersionState,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The document issuers read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignerKeyring {
    /// Grows with every write.
    pub serial: u64,
    /// The versions, oldest first.
    pub versions: Vec<SignerVersion>,
}

/// A private half that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerHalf {
    /// Its version.
    pub version: u32,
    /// Its public half.
    pub public_key: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
}

/// The world as the leader sees it.
#[derive(Clone, Copy, Debug)]
pub struct SignerObserved<'a> {
    /// The latest this process has seen, which neither a loss nor a restored backup takes back.
    pub remembered: &'a SignerKeyring,
    /// The private halves there are.
    pub halves: &'a [SignerHalf],
    /// The versions of the values that clients may still use; `None` while that is not known.
    pub in_use: Option<&'a BTreeSet<u32>>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerStep {
    /// Nothing.
    Rest,
    /// Delete the private halves of what is Removed, then write this.
    Write(SignerKeyring),
    /// Nothing signs: make this version, then write the keyring with it ([`SignerKeyring::with_version`]).
    Make(SignerKeyring, u32),
}

impl SignerHalf {
    fn version(&self) -> SignerVersion {
        SignerVersion {
            version: self.version,
            public_key: BASE64URL.encode(self.public_key),
            state: VersionState::Retiring,
            created_at: self.created_at,
        }
    }
}

impl SignerVersion {
    fn is(&self, other: &Self) -> bool {
        (self.version, &self.public_key) == (other.version, &other.public_key)
    }
}

impl SignerKeyring {
    /// Decides what the signer needs next. `stored` is the keyring as it lies there, none if it is gone: then it is put
    /// together from what is left, so that every value whose public key somebody knows stays good.
    pub fn step(stored: Option<&Self>, observed: &SignerObserved<'_>) -> SignerStep {
        let SignerObserved { remembered, halves, in_use } = observed;
        let mut next = stored.map_or_else(|| (*remembered).clone(), |stored| stored.merged(remembered));
        if stored.is_none() {
            next.take_up(halves);
        }
        let holds = |active: &SignerVersion| halves.iter().any(|half| active.is(&half.version()));
        let signs = next.active().is_some_and(holds);
        if !signs {
            let version = next.next_version();
            return SignerStep::Make(next, version);
        }
        if let Some(in_use) = in_use {
            let unused = |version: &&mut SignerVersion| {
                version.state == VersionState::Retiring && !in_use.contains(&version.version)
            };
            next.versions.iter_mut().filter(unused).for_each(|version| version.state = VersionState::Removed);
        }
        if stored == Some(&next) {
            return SignerStep::Rest;
        }
        next.serial += 1;
        SignerStep::Write(next)
    }

    /// What both views say together; never less than either. The later one says who signs.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let (later, earlier) = if self.serial >= other.serial { (self, other) } else { (other, self) };
        let mut merged = later.clone();
        for version in &earlier.versions {
            match merged.versions.iter_mut().find(|known| known.is(version)) {
                Some(known) => known.state = known.state.max(version.state),
                None => merged.versions.push(version.clone()),
            }
        }
        let signs = later.active().or(earlier.active()).cloned();
        for version in merged.versions.iter_mut().filter(|version| version.state == VersionState::Active) {
            if !signs.as_ref().is_some_and(|signs| signs.is(version)) {
                version.state = VersionState::Retiring;
            }
        }
        merged.versions.sort_by_key(|version| (version.version, version.created_at));
        merged
    }

    /// Takes up private halves it does not know; the last one signs if nothing does.
    fn take_up(&mut self, halves: &[SignerHalf]) {
        for half in halves {
            let found = half.version();
            if !self.versions.iter().any(|known| known.is(&found)) {
                self.versions.push(found);
            }
        }
        self.versions.sort_by_key(|version| (version.version, version.created_at));
        if self.active().is_none()
            && let Some(last) = self.versions.last_mut().filter(|last| last.state == VersionState::Retiring)
        {
            last.state = VersionState::Active;
        }
    }

    /// The version that signs.
    pub fn active(&self) -> Option<&SignerVersion> {
        self.versions.iter().rev().find(|version| version.state == VersionState::Active)
    }

    /// The number the next version gets.
    pub fn next_version(&self) -> u32 {
        self.versions.iter().map(|version| version.version).max().unwrap_or(0).saturating_add(1)
    }

    /// This keyring with a new version that signs from now on; what older ones signed stays good until issued anew.
    #[must_use]
    pub fn with_version(&self, public_key: &[u8; 32], now: Timestamp) -> Self {
        let mut next = self.clone();
        for version in next.versions.iter_mut().filter(|version| version.state == VersionState::Active) {
            version.state = VersionState::Retiring;
        }
        next.versions.push(SignerVersion {
            version: self.next_version(),
            public_key: BASE64URL.encode(public_key),
            state: VersionState::Active,
            created_at: now,
        });
        next.serial += 1;
        next
    }
}

/// The public keys values are checked with, parsed once.
#[derive(Clone, Debug, Default)]
pub struct VerifyingKeys {
    keyring: Arc<SignerKeyring>,
    /// More than one of a version where a keyring was lost and begun anew.
    versions: BTreeMap<u32, Vec<ParsedPublicKey>>,
}

impl VerifyingKeys {
    /// The versions still in use. One that cannot be read is left out: what it signed is refused.
    pub fn new(keyring: &SignerKeyring) -> Self {
        let mut versions: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for version in keyring.versions.iter().filter(|version| version.state != VersionState::Removed) {
            let key = BASE64URL.decode(&version.public_key).ok().filter(|key| key.len() == 32);
            if let Some(key) = key.and_then(|key| ParsedPublicKey::new(&ED25519, key).ok()) {
                versions.entry(version.version).or_default().push(key);
            }
        }
        Self { keyring: Arc::new(keyring.clone()), versions }
    }

    /// The keyring they are of.
    pub fn keyring(&self) -> &SignerKeyring {
        &self.keyring
    }

    /// The keys of a version.
    pub(super) fn get(&self, version: u32) -> Option<&[ParsedPublicKey]> {
        self.versions.get(&version).map(Vec::as_slice)
    }

    /// The version that signs new values.
    pub fn active(&self) -> Option<u32> {
        self.keyring.active().map(|version| version.version)
    }

    /// Whether no value can be checked.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }
}
