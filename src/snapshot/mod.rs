//! What a replica knows at one moment, in one immutable value.
//!
//! Flows in: the watches of `objects`, each object converted once into core's values. Flows out: `Live<Snapshot>`, read by
//! every role without a lock. A part that did not change keeps its pointer.

mod build;
pub mod cluster_keys;
mod feed;
mod offline;
pub mod pods;
mod read;
mod table;
#[cfg(test)]
mod tests;
mod unreadable;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use countersign_core::client_secret::{KeptRecord, RecordKey, VerifyingKeys};
use countersign_core::directory::{Directory, Settings};
use countersign_core::keyring::Keyring;
use countersign_core::names::{KeyId, ObjectName, ObjectRef};
use countersign_core::revocation::Revoked;
use countersign_core::token::KeySet;

pub use feed::{Feed, Role, Sources};
pub use offline::{Offline, offline};
pub use table::Refused;

/// Everything one decision needs.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Clients, policies, allowances and what follows from them.
    pub directory: Arc<Directory>,
    /// The token keys that verify, parsed.
    pub keys: Arc<KeySet>,
    /// The keyrings as they are stored; their serials are what a heartbeat reports.
    pub rings: Arc<BTreeMap<ObjectName, Arc<Keyring>>>,
    /// Epochs and deny list.
    pub revoked: Arc<Revoked>,
    /// What signed client secrets are checked with.
    pub client_secret_keys: Arc<VerifyingKeys>,
    /// Private halves of token keys; empty but in an issuer.
    pub private_keys: Arc<HashMap<KeyId, PrivateKey>>,
    /// Records of referenced client secrets; empty but in an issuer.
    pub records: Arc<HashMap<ObjectRef, KeptRecord>>,
    /// What those records are made with; absent but in an issuer.
    pub record_key: Option<Arc<RecordKey>>,
}

impl Snapshot {
    /// What is known before anything is: nothing, so nothing is granted and no token is good.
    pub fn empty(settings: Arc<Settings>) -> Self {
        Self {
            directory: Arc::new(Directory::empty(settings)),
            keys: Arc::default(),
            rings: Arc::default(),
            revoked: Arc::default(),
            client_secret_keys: Arc::default(),
            private_keys: Arc::default(),
            records: Arc::default(),
            record_key: None,
        }
    }
}

/// A private half, PKCS#8 DER. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Arc<zeroize::Zeroizing<Vec<u8>>>);

impl PrivateKey {
    /// Takes the bytes; the last clone wipes them.
    pub fn new(der: Vec<u8>) -> Self {
        Self(Arc::new(der.into()))
    }

    /// The bytes, for whoever signs with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}
