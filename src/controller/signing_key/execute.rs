//! The writes of a ring: private halves, the keyring, the SigningKey `default` where there is none.

use countersign_api::SigningKey;
use countersign_api::signingkey::SigningKeySpec;
use countersign_core::keyring::{DEFAULT_RING, Keyring, NeedKey, NewKey, RingSpec};
use countersign_core::names::ObjectName;
use countersign_core::token::PublicJwk;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;

use super::make::{Made, make};
use super::{Parts, SigningKeys, Stored};
use crate::controller::{During, Failure, WriteError};
use crate::objects::layout::{self, KEYRING_DATA, PRIVATE_KEY_DATA, PUBLIC_JWK, Part, RING, SERIAL};
use crate::objects::{Class, Error as StoreError, Key, Preconditions};
use crate::runtime::telemetry::chain;

const MAKE: &str = "make a signing key";
/// How many numbers whose Secret is of no use are passed over before giving up for now.
const MOST_PASSED_OVER: u64 = 16;

impl SigningKeys {
    /// The controller makes `default` when there is none, so that an empty installation can sign.
    pub(super) async fn create_default(&self) -> Result<(), Failure> {
        let Parts { writer, layout, .. } = &self.parts;
        let spec = SigningKeySpec { issuer: layout.issuer_name().to_string(), ..SigningKeySpec::default() };
        let mut key = SigningKey::new(DEFAULT_RING, spec);
        key.metadata.namespace = Some(layout.system_namespace().to_owned());
        match writer.create(&key).await {
            Ok(_) | Err(WriteError::Store(StoreError::AlreadyExists { .. })) => Ok(()),
            Err(error) => Err(error).during("create the SigningKey default"),
        }
    }

    /// Makes the key a step asked for and stores its private half. The half of a crashed attempt at the same number is
    /// taken up, and passed over where it is of no use. It is never replaced: another leader may have put it into the
    /// keyring a moment ago.
    pub(super) async fn make_key(&self, spec: &RingSpec, need: NeedKey) -> Result<NewKey, Failure> {
        let made = make(need.algorithm).await.map_err(|source| Failure {
            class: Class::Transient,
            category: "random",
            action: MAKE,
            source: Box::new(source),
        })?;
        let mut met = WriteError::NotLeader;
        for serial in need.serial..need.serial.saturating_add(MOST_PASSED_OVER) {
            match self.parts.writer.create(&self.private_half(&spec.ring, serial, &made)?).await {
                Ok(_) => return Ok(NewKey { serial, jwk: made.jwk }),
                Err(error @ WriteError::Store(StoreError::AlreadyExists { .. })) => met = error,
                Err(error) => return Err(error).during(MAKE),
            }
            let left = self.left_by_a_crash(&self.parts.layout.signing_key(spec.ring.as_str(), serial)).await?;
            let useful = |jwk: &PublicJwk| jwk.algorithm() == need.algorithm && !spec.revoked.contains(jwk.key_id());
            if let Some(jwk) = left.filter(useful) {
                return Ok(NewKey { serial, jwk });
            }
        }
        Err(met).during(MAKE)
    }

    fn private_half(&self, ring: &ObjectName, serial: u64, made: &Made) -> Result<Secret, Failure> {
        let public = serde_json::to_string(&made.jwk).map_err(|source| bug(MAKE, source))?;
        let layout = &self.parts.layout;
        let mut metadata = layout.meta(&layout.signing_key(ring.as_str(), serial), Part::SigningKey);
        let labels = metadata.labels.get_or_insert_default();
        labels.extend([(RING.to_owned(), ring.to_string()), (SERIAL.to_owned(), serial.to_string())]);
        metadata.annotations = Some([(PUBLIC_JWK.to_owned(), public)].into());
        Ok(Secret {
            metadata,
            immutable: Some(true),
            type_: Some("Opaque".to_owned()),
            data: Some([(PRIVATE_KEY_DATA.to_owned(), ByteString(made.private.to_vec()))].into()),
            ..Secret::default()
        })
    }

    /// The public half of what lies there, read from the metadata alone.
    async fn left_by_a_crash(&self, key: &Key) -> Result<Option<PublicJwk>, Failure> {
        let found = self.parts.writer.get::<PartialObjectMeta<Secret>>(key).await.during(MAKE)?;
        let public = found.as_ref().and_then(|found| layout::annotation(&found.metadata, PUBLIC_JWK));
        Ok(public.and_then(|text| serde_json::from_str(text).ok()))
    }

    /// Deletes what lies under numbers that were passed over: nobody can publish it any more.
    async fn clear_passed_over(&self, ring: &Keyring, first: u64) {
        let first = first.max(ring.next_key.saturating_sub(MOST_PASSED_OVER));
        let unused = |serial: &u64| ring.keys.iter().all(|key| key.serial != *serial);
        let passed_over: Vec<_> = (first..ring.next_key).filter(unused).collect();
        if let Err(failure) = self.delete_private_halves(&ring.ring, &passed_over).await {
            let error = chain(&failure);
            tracing::warn!(ring = %ring.ring, ?passed_over, error, "private halves nobody published were not deleted");
        }
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
        let first = stored.ring.as_ref().map_or(1, |before| before.next_key);
        let written = if let Some(map) = stored.map {
            writer.replace(&ConfigMap { data, ..map }).await
        } else {
            let mut metadata: ObjectMeta = layout.meta(&layout.keyring(ring.ring.as_str()), Part::Keyring);
            metadata.labels.get_or_insert_default().insert(RING.to_owned(), ring.ring.to_string());
            writer.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await
        };
        let map = written.during(ACTION)?;
        tracing::info!(ring = %ring.ring, serial = ring.serial, keys = ring.keys.len(), "keyring written");
        self.clear_passed_over(ring, first).await;
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
