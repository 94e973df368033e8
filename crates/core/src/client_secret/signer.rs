//! The client-secret signer's own keyring: which versions of its key exist, and which may still be used.

use std::collections::BTreeMap;

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

impl SignerKeyring {
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
    versions: BTreeMap<u32, ParsedPublicKey>,
    active: Option<u32>,
}

impl VerifyingKeys {
    /// The versions still in use. One that cannot be read is left out: what it signed is refused.
    pub fn new(keyring: &SignerKeyring) -> Self {
        let in_use = keyring.versions.iter().filter(|version| version.state != VersionState::Removed);
        let parsed = in_use.filter_map(|version| {
            let key = BASE64URL.decode(&version.public_key).ok().filter(|key| key.len() == 32)?;
            Some((version.version, ParsedPublicKey::new(&ED25519, key).ok()?))
        });
        Self { versions: parsed.collect(), active: keyring.active().map(|version| version.version) }
    }

    /// The key of a version.
    pub(super) fn get(&self, version: u32) -> Option<&ParsedPublicKey> {
        self.versions.get(&version)
    }

    /// The version that signs new values.
    pub fn active(&self) -> Option<u32> {
        self.active
    }

    /// Whether no value can be checked.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }
}
