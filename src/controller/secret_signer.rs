//! The key that signs client secrets.
//!
//! Flows in: its keyring and private halves, both in the system namespace. Flows out: signed values. The first leader
//! makes version 1; a lost private half makes a new version, under which every value is then issued anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use countersign_core::client_secret::{SignerKeyring, message, value};
use countersign_core::names::{ClientId, IssuerName};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{During, Failure, Kind, WriteError, Writer};
use crate::objects::layout::{KEYRING_DATA, Layout, PRIVATE_KEY_DATA, Part, SERIAL};
use crate::objects::{Class, Error as StoreError};
use crate::runtime::clock::Clock;

/// The one key of the queue of [`SecretSigner`].
pub const SIGNER: &str = "client-secret-signer";

/// How often the keyring is looked at: nothing watches it.
const CHECKED_EVERY: Duration = Duration::from_mins(1);

/// Why a value could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the private half of version {0} is not there")]
    NoKey(u32),
    #[error("the private half of version {0} cannot be read")]
    Unreadable(u32),
}

/// Makes the key when there is none, and signs with it.
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

    async fn write(&self, existing: Option<ConfigMap>, keyring: &SignerKeyring) -> Result<(), Failure> {
        const ACTION: &str = "write the keyring of client secrets";
        let text = serde_json::to_string(keyring).map_err(|source| Failure {
            class: Class::Bug,
            category: "malformed",
            action: ACTION,
            source: Box::new(source),
        })?;
        let data = Some([(KEYRING_DATA.to_owned(), text)].into());
        let written = if let Some(map) = existing {
            self.writer.replace(&ConfigMap { data, ..map }).await
        } else {
            let metadata = self.layout.meta(&self.layout.client_secret_keyring(), Part::ClientSecretKeyring);
            self.writer.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await
        };
        written.map(drop).during(ACTION)
    }
}

impl Kind for SecretSigner {
    type Key = &'static str;
    const NAME: &'static str = "client_secret_signer";

    async fn reconcile(&self, _: &&'static str) -> Result<Option<Timestamp>, Failure> {
        let map = self.writer.get::<ConfigMap>(&self.layout.client_secret_keyring()).await;
        let map = map.during("read the keyring of client secrets")?;
        let keyring = match &map {
            Some(map) => read_keyring(map)?,
            None => SignerKeyring::default(),
        };
        if let Some(active) = keyring.active() {
            if self.pair(active.version).await?.is_some() {
                return Ok(self.clock.now().checked_add(CHECKED_EVERY).ok());
            }
            tracing::error!(
                version = active.version,
                "the key that signs client secrets is lost: every secret is issued anew"
            );
        }
        let pair = self.make(keyring.next_version()).await?;
        let Ok(public) = pair.public_key().as_ref().try_into() else {
            return Err(unsigned(SignError::Unreadable(keyring.next_version())));
        };
        let now = self.clock.now();
        self.write(map, &keyring.with_version(public, now)).await?;
        Ok(now.checked_add(CHECKED_EVERY).ok())
    }
}

fn read_pair(secret: &Secret) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_pkcs8(&secret.data.as_ref()?.get(PRIVATE_KEY_DATA)?.0).ok()
}

/// A keyring that cannot be read is never replaced: that would end every secret there is.
fn read_keyring(map: &ConfigMap) -> Result<SignerKeyring, Failure> {
    let text = map.data.as_ref().and_then(|data| data.get(KEYRING_DATA)).map_or("", String::as_str);
    serde_json::from_str(text).map_err(|source| Failure {
        class: Class::Bug,
        category: "malformed",
        action: "read the keyring of client secrets",
        source: Box::new(source),
    })
}

fn unsigned(error: SignError) -> Failure {
    Failure { class: Class::Transient, category: "signer", action: "sign a client secret", source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use countersign_core::client_secret::{VerifyingKeys, accept};
    use countersign_core::names::Namespace;

    use super::*;
    use crate::controller::Gate;
    use crate::objects::{FolderStore, Objects, Preconditions};

    async fn keyring(objects: &Objects, layout: &Layout) -> SignerKeyring {
        read_keyring(&objects.get(&layout.client_secret_keyring()).await.unwrap().unwrap()).unwrap()
    }

    fn start() -> (Objects, Layout, SecretSigner) {
        let clock = Clock::fixed(Timestamp::from_second(1_000).unwrap());
        let objects = Objects::Folder(FolderStore::in_memory(clock.clone()).unwrap());
        let issuer = IssuerName::new("default").unwrap();
        let layout = Layout::new(issuer, &Namespace::new("countersign-system").unwrap()).unwrap();
        let signer = SecretSigner::new(Writer::new(&objects, Gate::always(), "signer"), layout.clone(), clock);
        (objects, layout, signer)
    }

    #[tokio::test]
    async fn the_first_look_makes_a_key_and_later_ones_write_nothing() {
        let (objects, layout, signer) = start();
        signer.reconcile(&SIGNER).await.unwrap();
        let first = keyring(&objects, &layout).await;
        signer.reconcile(&SIGNER).await.unwrap();
        assert_eq!((first.versions.len(), keyring(&objects, &layout).await), (1, first.clone()));

        let client = ClientId::new("shop.checkout").unwrap();
        let issued_at = Timestamp::from_second(1_000).unwrap();
        let value = signer.sign(&client, 1, issued_at).await.unwrap();
        let accepted = accept(&value, &client, layout.issuer_name(), &VerifyingKeys::new(&first), issued_at).unwrap();
        assert_eq!((accepted.version, accepted.issued_at), (1, issued_at));
    }

    #[tokio::test]
    async fn a_lost_private_half_makes_a_new_version() {
        let (objects, layout, signer) = start();
        signer.reconcile(&SIGNER).await.unwrap();
        objects.delete::<Secret>(&layout.client_secret_key(1), &Preconditions::default()).await.unwrap();
        let writer = Writer::new(&objects, Gate::always(), "signer");
        let restarted = SecretSigner::new(writer, layout.clone(), Clock::system());
        restarted.reconcile(&SIGNER).await.unwrap();
        assert_eq!(keyring(&objects, &layout).await.active().map(|active| active.version), Some(2));
    }

    #[tokio::test]
    async fn a_key_left_by_a_crashed_attempt_is_taken_up() {
        let (objects, layout, signer) = start();
        let left = signer.make(1).await.unwrap();
        let writer = Writer::new(&objects, Gate::always(), "signer");
        let restarted = SecretSigner::new(writer, layout.clone(), Clock::system());
        restarted.reconcile(&SIGNER).await.unwrap();
        let found = restarted.pair(1).await.unwrap().unwrap();
        assert_eq!(found.public_key().as_ref(), left.public_key().as_ref());
        assert_eq!(keyring(&objects, &layout).await.versions.len(), 1);
    }
}
