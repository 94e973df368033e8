//! The public keys a replica knows, parsed once.
//!
//! Flows in: the keyrings and the ids specs declare revoked. Flows out: an exact look-up by `kid`, and the JWKS.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_lc_rs::signature::ParsedPublicKey;

use super::{Algorithm, Jwks, PublicJwk, TokenRefusal};
use crate::keyring::{KeyState, Keyring};
use crate::names::KeyId;

/// A public key ready to verify with.
#[derive(Clone, Debug)]
pub struct VerificationKey {
    jwk: PublicJwk,
    parsed: ParsedPublicKey,
    state: KeyState,
    longest_lifetime: Duration,
}

impl VerificationKey {
    /// The algorithm the key, and nothing else, is used with.
    pub fn algorithm(&self) -> Algorithm {
        self.jwk.algorithm()
    }

    /// Where the key is in its life.
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// The longest life a token signed with this key was given.
    pub(super) fn longest_lifetime(&self) -> Duration {
        self.longest_lifetime
    }

    pub(super) fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

/// Every key of every ring, by `kid`; immutable.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: HashMap<KeyId, VerificationKey>,
    revoked: BTreeSet<KeyId>,
}

impl KeySet {
    /// The keys of the rings. `revoked` are the ids the specs declare dead, known to a ring or not.
    pub fn build<'a>(rings: impl IntoIterator<Item = &'a Keyring>, revoked: impl IntoIterator<Item = KeyId>) -> Self {
        let mut set = Self { keys: HashMap::new(), revoked: revoked.into_iter().collect() };
        for key in rings.into_iter().flat_map(|ring| &ring.keys) {
            // A key in two rings is in the later of its two states.
            let known = set.keys.get(key.jwk.key_id()).map(|known| known.state);
            if known.is_some_and(|known| known >= key.state) {
                continue;
            }
            let Ok(parsed) = key.jwk.parsed() else { continue };
            let (jwk, state) = (key.jwk.clone(), key.state);
            let longest_lifetime = key.longest_lifetime.unsigned_abs();
            set.keys.insert(jwk.key_id().clone(), VerificationKey { jwk, parsed, state, longest_lifetime });
        }
        set
    }

    /// The keys of a JWKS document, all of them in service: what somebody has who checks a token without a cluster.
    pub fn of_jwks(jwks: &Jwks) -> Self {
        let key = |jwk: &PublicJwk| {
            let parsed = jwk.parsed().ok()?;
            let (state, longest_lifetime) = (KeyState::Active, Duration::ZERO);
            Some((jwk.key_id().clone(), VerificationKey { jwk: jwk.clone(), parsed, state, longest_lifetime }))
        };
        Self { keys: jwks.keys().iter().filter_map(key).collect(), revoked: BTreeSet::new() }
    }

    /// The key a token of this `kid` is verified with, if it is still in service.
    pub fn find(&self, key_id: &KeyId) -> Result<&VerificationKey, TokenRefusal> {
        if self.revoked.contains(key_id) {
            return Err(TokenRefusal::KeyRevoked);
        }
        let Some(key) = self.keys.get(key_id) else {
            return Err(if self.keys.is_empty() { TokenRefusal::NoKeys } else { TokenRefusal::UnknownKey });
        };
        match key.state {
            // A verifier may see a key as Published for an instant after an issuer saw it Active.
            KeyState::Published | KeyState::Active | KeyState::Retiring => Ok(key),
            KeyState::Removed => Err(TokenRefusal::KeyRetired),
            KeyState::Revoked => Err(TokenRefusal::KeyRevoked),
        }
    }

    /// The document at `/oauth2/jwks`: the keys in service.
    pub fn jwks(&self) -> Jwks {
        let in_service = |key: &&VerificationKey| self.find(key.jwk.key_id()).is_ok();
        Jwks::new(self.keys.values().filter(in_service).map(|key| key.jwk.clone()))
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyId, &VerificationKey)> {
        self.keys.iter()
    }
}
