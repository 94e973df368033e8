//! Rings of signing keys: the life of a key, and the one document that is the truth about it.
//!
//! Flows in: the keyring last written, what the spec asks for, which replicas hold what, the time. Flows out of
//! [`step`]: the keyring to write, private halves to delete, a key to make, when to look again. Issuers and verifiers
//! read the same document; nothing else says which keys are good.
//!
//! ```text
//! (made) ──► Published ──► Active ──► Retiring ──► Removed        forward only
//!                 └───────────┴───────────┴──────────► Revoked    sticky
//! ```

mod gate;
mod merge;
mod report;
mod step;
#[cfg(test)]
mod tests;
mod wind_down;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::names::{KeyId, ObjectName};
use crate::token::PublicJwk;

pub use gate::{ReplicaRole, Witness};
pub use report::{Findings, KeyReport, RefusedTimings, StatusReport};
pub use step::{NeedKey, NewKey, Observed, RingSpec, Step, step};
pub use wind_down::{Departed, WindDown, wind_down};

/// Where a key is in its life; later states win when two views disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyState {
    /// Known to everyone, signing nothing yet.
    Published,
    /// The one that signs.
    Active,
    /// Signs no more; what it signed is still good.
    Retiring,
    /// Out of service: everything it signed has ended.
    Removed,
    /// Compromised: nothing it signed is good, for ever.
    Revoked,
}

impl KeyState {
    /// The name in status, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "Published",
            Self::Active => "Active",
            Self::Retiring => "Retiring",
            Self::Removed => "Removed",
            Self::Revoked => "Revoked",
        }
    }
}

/// Whether a key's private half still exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PrivateHalf {
    /// In its Secret.
    Held,
    /// Deleted: nothing can be signed with this key any more.
    Deleted,
}

/// When a key stopped being the one that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// When its successor became Active.
    pub at: Timestamp,
    /// The keyring serial that said so.
    pub serial: u64,
}

/// The ring whose key signs where a client names none; the controller sees to it that there is one.
pub const DEFAULT_RING: &str = "default";

/// One key of a ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RingKey {
    /// Its number in the ring, never given twice; names its Secret.
    pub serial: u64,
    /// The public half.
    pub jwk: PublicJwk,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was published.
    pub published_at: Timestamp,
    /// The first keyring serial that holds it.
    pub published_serial: u64,
    /// When it began to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<Superseded>,
    /// The largest token life in force while it was Active.
    pub longest_lifetime: SignedDuration,
    /// Whether its private half exists.
    pub private_half: PrivateHalf,
}

impl RingKey {
    /// A key that is published, and signs nothing yet.
    pub fn published(serial: u64, jwk: PublicJwk, (at, ring_serial): (Timestamp, u64)) -> Self {
        Self {
            serial,
            jwk,
            state: KeyState::Published,
            published_at: at,
            published_serial: ring_serial,
            activated_at: None,
            superseded: None,
            longest_lifetime: SignedDuration::ZERO,
            private_half: PrivateHalf::Held,
        }
    }

    /// The thumbprint.
    pub fn key_id(&self) -> &KeyId {
        self.jwk.key_id()
    }
}

/// The keyring of one `SigningKey`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keyring {
    /// The name of the `SigningKey`.
    pub ring: ObjectName,
    /// Grows with every write; what replicas report to hold.
    pub serial: u64,
    /// The number the next key gets.
    pub next_key: u64,
    /// When the keyring was found missing, until a key signs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
    /// When somebody was found to remember a later keyring than the stored one, until that is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_at: Option<Timestamp>,
    /// The keys, oldest first.
    pub keys: Vec<RingKey>,
}

/// Why a text is not a keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Not the JSON of a keyring.
    #[error("failed to read the keyring")]
    Json(#[from] serde_json::Error),
    /// Two keys claim to be the one that signs, or share a number or an id.
    #[error("the keyring contradicts itself")]
    Contradiction,
}

impl Keyring {
    /// Reads the document and checks that it says one thing.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let ring: Self = serde_json::from_str(text)?;
        let active = ring.keys.iter().filter(|key| key.state == KeyState::Active).count();
        let repeated = ring.keys.iter().enumerate().any(|(index, key)| {
            ring.keys.iter().skip(index + 1).any(|other| other.serial == key.serial || other.key_id() == key.key_id())
        });
        if active > 1 || repeated { Err(KeyringError::Contradiction) } else { Ok(ring) }
    }

    /// The document as it is stored.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The key that signs.
    pub fn active(&self) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }

    /// Whether nothing is left of it: no key signs or verifies, no private half exists.
    pub fn is_over(&self) -> bool {
        self.keys.iter().all(|key| {
            matches!(key.state, KeyState::Removed | KeyState::Revoked) && key.private_half == PrivateHalf::Deleted
        })
    }

    /// The key of that id.
    pub fn key(&self, key_id: &KeyId) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.key_id() == key_id)
    }

    fn published(&self) -> impl Iterator<Item = &RingKey> {
        self.keys.iter().filter(|key| key.state == KeyState::Published)
    }

    /// The keyring of a ring without keys.
    pub fn empty(ring: ObjectName) -> Self {
        Self { ring, serial: 0, next_key: 1, lost_at: None, rollback_at: None, keys: Vec::new() }
    }
}
