//! The key that signs client secrets.
//!
//! Flows in: its private halves, in the system namespace. Flows out: signed values. [`ring`] says which version signs.

pub mod ring;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use countersign_core::client_secret::{SignerHalf, message, value};
use countersign_core::names::{ClientId, IssuerName};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::{During, Failure, WriteError, Writer};
use crate::objects::layout::{self, Layout, PRIVATE_KEY_DATA, Part, SERIAL};
use crate::objects::{Class, Error as StoreError, Preconditions};
use crate::runtime::clock::Clock;

/// Why a value could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the private half of version {0} is not there")]
    NoKey(u32),
    #[error("the private half of version {0} cannot be read")]
    Unreadable(u32),
}

/// Signs with the private halves, and makes and deletes them.
pub struct SecretSigner {
    writer: Writer,
    layout: Layout,
    clock: Clock,
    pairs: Mutex<HashMap<u32, Arc<Ed25519KeyPair>>>,
}

impl SecretSigner {
    pub fn new(writer: Writer, layout: Layout, clock: Clock) -> Self {
        Self { writer, layout, clock, pairs: Mutex::default() }
    }

    /// The value for a client, issued at a time.
    pub(super) async fn sign(&self, client: &ClientId, version: u32, issued_at: Timestamp) -> Result<String, Failure> {
        let pair = self.pair(version).await?.ok_or_else(|| unsigned(SignError::NoKey(version)))?;
        let issuer: &IssuerName = self.layout.issuer_name();
        let signature = pair.sign(&message(issuer, client, version, issued_at));
        let signature = signature.as_ref().try_into().map_err(|_| unsigned(SignError::Unreadable(version)))?;
        Ok(value(version, issued_at, &signature))
    }

    async fn pair(&self, version: u32) -> Result<Option<Arc<Ed25519KeyPair>>, Failure> {
        if let Some(pair) = self.pairs.lock().unwrap_or_else(PoisonError::into_inner).get(&version) {
            return Ok(Some(Arc::clone(pair)));
        }
        let key = self.layout.client_secret_key(version.into());
        let secret = self.writer.get::<Secret>(&key).await.during("read the key that signs client secrets")?;
        let Some(secret) = secret else { return Ok(None) };
        let pair = Arc::new(read_pair(&secret).ok_or_else(|| unsigned(SignError::Unreadable(version)))?);
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).insert(version, Arc::clone(&pair));
        Ok(Some(pair))
    }

    /// Makes the private half of a version; one left by a crashed attempt is taken up.
    async fn make(&self, version: u32) -> Result<Arc<Ed25519KeyPair>, Failure> {
        const ACTION: &str = "make the key that signs client secrets";
        let document = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8()).map_err(|source| Failure {
            class: Class::Transient,
            category: "random",
            action: ACTION,
            source: Box::new(source),
        })?;
        let mut metadata = self.layout.meta(&self.layout.client_secret_key(version.into()), Part::ClientSecretKey);
        metadata.labels.get_or_insert_default().insert(SERIAL.to_owned(), version.to_string());
        let secret = Secret {
            metadata,
            immutable: Some(true),
            type_: Some("Opaque".to_owned()),
            data: Some([(PRIVATE_KEY_DATA.to_owned(), ByteString(document.as_ref().to_vec()))].into()),
            ..Secret::default()
        };
        match self.writer.create(&secret).await {
            Ok(_) | Err(WriteError::Store(StoreError::AlreadyExists { .. })) => {}
            Err(error) => return Err(error).during(ACTION),
        }
        self.pair(version).await?.ok_or_else(|| unsigned(SignError::NoKey(version)))
    }

    /// The private half of a version, where there is one.
    async fn half(&self, version: u32, created_at: Timestamp) -> Result<Option<SignerHalf>, Failure> {
        let Some(pair) = self.pair(version).await? else { return Ok(None) };
        let public_key = pair.public_key().as_ref().try_into();
        let public_key = public_key.map_err(|_| unsigned(SignError::Unreadable(version)))?;
        Ok(Some(SignerHalf { version, public_key, created_at }))
    }

    /// Deletes the private half of a version that signs no more.
    async fn delete(&self, version: u32) -> Result<(), Failure> {
        let key = self.layout.client_secret_key(version.into());
        let deleted = self.writer.delete::<Secret>(&key, &Preconditions::default()).await;
        deleted.during("delete a key that signs no more client secrets")?;
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).remove(&version);
        Ok(())
    }
}

/// The half a Secret holds, if it is one of ours and can be read.
fn read_half(secret: &Secret) -> Option<SignerHalf> {
    Some(SignerHalf {
        version: layout::label(&secret.metadata, SERIAL)?.parse().ok()?,
        public_key: read_pair(secret)?.public_key().as_ref().try_into().ok()?,
        created_at: secret.metadata.creation_timestamp.as_ref()?.0,
    })
}

fn read_pair(secret: &Secret) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_pkcs8(&secret.data.as_ref()?.get(PRIVATE_KEY_DATA)?.0).ok()
}

fn unsigned(error: SignError) -> Failure {
    Failure { class: Class::Transient, category: "signer", action: "sign a client secret", source: Box::new(error) }
}
