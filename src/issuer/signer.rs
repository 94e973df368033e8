//! Private keys, parsed once, and the signatures made with them.
//!
//! Flows in: private halves as the snapshot holds them (PKCS#8). Flows out: `Signers`, rebuilt when the halves change and
//! found by the `kid` that is Active in the keyring the request's snapshot holds: a key signs only where both are seen.

use crate::runtime::telemetry::chain;
use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::names::KeyId;
use countersign_core::token::{Algorithm, JwkError, PublicJwk, compact_header};

/// Why a private half cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("read the private half of key {key_id} as {algorithm} in PKCS#8")]
    Parse { key_id: KeyId, algorithm: Algorithm },
    #[error("derive the public half of key {key_id}")]
    Public { key_id: KeyId, source: JwkError },
    #[error("match the private half of key {key_id} with its public half")]
    Mismatch { key_id: KeyId },
}

/// The signature could not be made.
#[derive(Debug, thiserror::Error)]
#[error("sign with key {0}")]
pub struct SignError(KeyId);

/// One key that can sign.
pub struct Signer {
    key_id: KeyId,
    header: String,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, Algorithm),
}

/// Every key this issuer can sign with, by `kid`.
#[derive(Debug, Default)]
pub struct Signers(HashMap<KeyId, Arc<Signer>>);

// === impl Pair ===

impl Pair {
    fn parse(algorithm: Algorithm, pkcs8: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::ES256 => Self::Ecdsa(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?),
            Algorithm::ES384 => Self::Ecdsa(EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8).ok()?),
            Algorithm::EdDSA => Self::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8).ok()?),
            Algorithm::RS256 | Algorithm::PS256 => Self::Rsa(RsaKeyPair::from_pkcs8(pkcs8).ok()?, algorithm),
        })
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::Ecdsa(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair, _) => pair.public_key().as_ref(),
        }
    }

    /// Appends the signature in base64url.
    fn sign_onto(&self, text: &mut String) -> Option<()> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair) => {
                let signature = pair.sign(&random, text.as_bytes()).ok()?;
                append(text, signature.as_ref());
            }
            Self::Ed25519(pair) => {
                let signature = pair.sign(text.as_bytes());
                append(text, signature.as_ref());
            }
            Self::Rsa(pair, algorithm) => {
                let padding = if *algorithm == Algorithm::PS256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, text.as_bytes(), &mut signature).ok()?;
                append(text, &signature);
            }
        }
        Some(())
    }
}

fn append(text: &mut String, signature: &[u8]) {
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, text);
}

// === impl Signer ===

impl Signer {
    /// Parses a private half and checks that it is that of `key_id`.
    pub fn parse(key_id: &KeyId, algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, SignerError> {
        let key_id = key_id.clone();
        let Some(pair) = Pair::parse(algorithm, pkcs8) else { return Err(SignerError::Parse { key_id, algorithm }) };
        match PublicJwk::from_public_key(algorithm, pair.public()) {
            Err(source) => Err(SignerError::Public { key_id, source }),
            Ok(public) if *public.key_id() != key_id => Err(SignerError::Mismatch { key_id }),
            Ok(_) => Ok(Self { header: compact_header(algorithm, &key_id), key_id, pair }),
        }
    }

    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The encoded header of every token this key signs.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Header and claims become a compact JWS.
    pub fn sign(&self, mut signing_input: String) -> Result<String, SignError> {
        self.pair.sign_onto(&mut signing_input).ok_or_else(|| SignError(self.key_id.clone()))?;
        Ok(signing_input)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

// === impl Signers ===

impl Signers {
    /// The halves given, each parsed unless `self` already holds it; those that cannot be used are told and left out.
    #[must_use]
    pub fn next<'a>(&self, halves: impl IntoIterator<Item = (&'a KeyId, Algorithm, &'a [u8])>) -> Self {
        let signer = |(key_id, algorithm, pkcs8): (&KeyId, Algorithm, &[u8])| match self.0.get(key_id) {
            Some(known) => Some((key_id.clone(), Arc::clone(known))),
            None => match Signer::parse(key_id, algorithm, pkcs8) {
                Ok(signer) => Some((key_id.clone(), Arc::new(signer))),
                Err(error) => {
                    tracing::error!(error = chain(&error), "private key unusable");
                    None
                }
            },
        };
        Self(halves.into_iter().filter_map(signer).collect())
    }

    pub fn get(&self, key_id: &KeyId) -> Option<&Arc<Signer>> {
        self.0.get(key_id)
    }

    /// Whether both hold the same keys.
    pub fn same_keys(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.keys().all(|key| other.0.contains_key(key))
    }
}
