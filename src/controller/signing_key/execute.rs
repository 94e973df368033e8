//! The writes of a ring: private halves, the keyring, the SigningKey `default` where there is none.

use countersign_api::SigningKey;
use countersign_api::signingkey::SigningKeySpec;
use countersign_core::keyring::{Keyring, NeedKey, NewKey};
use countersign_core::names::ObjectName;
use countersign_core::token::PublicJwk;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;

use super::make::make;
use super::{DEFAULT, Parts, SigningKeys, Stored};
use crate::controller::{During, Failure, WriteError};
use crate::objects::layout::{self, KEYRING_DATA, PRIVATE_KEY_DATA, PUBLIC_JWK, Part, RING, SERIAL};
use crate::objects::{Class, Error as StoreError, Key, Preconditions};

impl SigningKeys {
    /// The controller makes `default` when there is none, so that an empty installation can sign.
    pub(super) async fn create_default(&self) -> Result<(), Failure> {
        let Parts { writer, layout, .. } = &self.parts;
        let spec = SigningKeySpec { issuer: layout.issuer_name().to_string(), ..SigningKeySpec::default() };
        let mut key = SigningKey::new(DEFAULT, spec);
        key.metadata.namespace = Some(layout.system_namespace().to_owned());
        match writer.create(&key).await {
            Ok(_) | Err(WriteError::Store(StoreError::AlreadyExists { .. })) => Ok(()),
            Err(error) => Err(error).during("create the SigningKey default"),
        }
    }

    /// Makes the key a step asked for and stores its private half. The half of a crashed attempt at the same number is
    /// taken up, never replaced: another leader may have put it into the keyring a moment ago.
    pub(super) async fn make_key(&self, ring: &ObjectName, need: NeedKey) -> Result<NewKey, Failure> {
        const ACTION: &str = "make a signing key";
        let made = make(need.algorithm).await.map_err(|source| Failure {
            class: Class::Transient,
            category: "random",
            action: ACTION,
            source: Box::new(source),
        })?;
        let Parts { writer, layout, .. } = &self.parts;
        let key = layout.signing_key(ring.as_str(), need.serial);
        let public = serde_json::to_string(&made.jwk).map_err(|source| bug(ACTION, source))?;
        let mut metadata = layout.meta(&key, Part::SigningKey);
        let labels = metadata.labels.get_or_insert_default();
        labels.extend([(RING.to_owned(), ring.to_string()), (SERIAL.to_owned(), need.serial.to_string())]);
        metadata.annotations = Some([(PUBLIC_JWK.to_owned(), public)].into());
        let secret = Secret {
            metadata,
            immutable: Some(true),
            type_: Some("Opaque".to_owned()),
            data: Some([(PRIVATE_KEY_DATA.to_owned(), ByteString(made.private.to_vec()))].into()),
            ..Secret::default()
        };
        match writer.create(&secret).await {
            Ok(_) => Ok(NewKey { serial: need.serial, jwk: made.jwk }),
            Err(WriteError::Store(StoreError::AlreadyExists { .. })) => self.take_up(&key, need).await,
            Err(error) => Err(error).during(ACTION),
        }
    }

    /// The public half of what a crashed attempt left, read from the metadata alone. One that is of no use goes: no
    /// keyring can name a key whose public half nobody knows, nor one of another algorithm under a number still wanted.
    async fn take_up(&self, key: &Key, need: NeedKey) -> Result<NewKey, Failure> {
        const ACTION: &str = "take up a signing key left by a crash";
        let found = self.parts.writer.get::<PartialObjectMeta<Secret>>(key).await.during(ACTION)?;
        let public = found.as_ref().and_then(|found| layout::annotation(&found.metadata, PUBLIC_JWK));
        let jwk = public.and_then(|text| serde_json::from_str::<PublicJwk>(text).ok());
        if let Some(jwk) = jwk.filter(|jwk| jwk.algorithm() == need.algorithm) {
            return Ok(NewKey { serial: need.serial, jwk });
        }
        if let Some(found) = found {
            let as_seen = Preconditions::exactly(&found.metadata);
            self.parts.writer.delete::<Secret>(key, &as_seen).await.during(ACTION)?;
        }
        let source = format!("Secret {key} was of no use and is gone; it is made anew with the next look").into();
        Err(Failure { class: Class::Transient, category: "crashed_attempt", action: ACTION, source })
    }

    /// Deletes private halves whose keys will not sign again.
    pub(super) async fn delete_private_halves(&self, ring: &ObjectName, serials: &[u64]) -> Result<(), Failure> {
        for serial in serials {
            let key = self.parts.layout.signing_key(ring.as_str(), *serial);
            let deleted = self.parts.writer.delete::<Secret>(&key, &Preconditions::default()).await;
            deleted.during("delete a private half")?;
        }
        Ok(())
    }

    /// Writes the keyring over the one the step was decided on, so that a stale leader's write fails.
    pub(super) async fn write_keyring(&self, stored: Stored, ring: &Keyring) -> Result<Stored, Failure> {
        const ACTION: &str = "write the keyring";
        let text = ring.to_json().map_err(|source| bug(ACTION, source))?;
        let data = Some([(KEYRING_DATA.to_owned(), text)].into());
        let Parts { writer, layout, .. } = &self.parts;
        let written = if let Some(map) = stored.map {
            writer.replace(&ConfigMap { data, ..map }).await
        } else {
            let mut metadata: ObjectMeta = layout.meta(&layout.keyring(ring.ring.as_str()), Part::Keyring);
            metadata.labels.get_or_insert_default().insert(RING.to_owned(), ring.ring.to_string());
            writer.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await
        };
        let map = written.during(ACTION)?;
        tracing::info!(ring = %ring.ring, serial = ring.serial, keys = ring.keys.len(), "keyring written");
        Ok(Stored { map: Some(map), ring: Some(ring.clone()) })
    }
}

/// A keyring that cannot be read is never replaced: that would end every token there is.
pub(super) fn read_keyring(map: &ConfigMap) -> Result<Keyring, Failure> {
    let text = map.data.as_ref().and_then(|data| data.get(KEYRING_DATA)).map_or("", String::as_str);
    Keyring::parse(text).map_err(|source| bug("read the keyring", source))
}

fn bug(action: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure { class: Class::Bug, category: "malformed", action, source: Box::new(source) }
}
