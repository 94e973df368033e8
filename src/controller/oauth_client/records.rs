//! What issuers check a value against that is someone else's: an HMAC, never the value.
//!
//! Flows in: values of referenced and adopted Secrets. Flows out: one Secret a client in the keys namespace. The key of
//! the records is random and made once.

use std::sync::{Mutex, PoisonError};

use countersign_core::client_secret::{Record, RecordKey};
use countersign_core::names::{ClientId, ObjectRef};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::controller::{During, Failure, WriteError, Writer};
use crate::objects::layout::{self, Layout, OWNER, Part, RECORD_DATA, RECORD_KEY_DATA, UNTIL};
use crate::objects::{Class, Error as StoreError, Preconditions};
use crate::runtime::random;

const ACTION: &str = "write the record of a referenced secret";

/// Writes records.
pub(super) struct Records {
    pub(super) writer: Writer,
    pub(super) layout: Layout,
    pub(super) key: Mutex<Option<RecordKey>>,
}

impl Records {
    /// Makes the record say that the value is good, if it does not yet. A record of the same value keeps its end, so that
    /// a repeated attempt does not prolong it.
    pub(super) async fn set(
        &self,
        client: &ObjectRef,
        id: &ClientId,
        value: &str,
        until: Option<Timestamp>,
        existing: Option<&Secret>,
    ) -> Result<(), Failure> {
        let record = serde_json::to_vec(&Record::of(&self.key().await?, id, value)).map_err(|_| malformed())?;
        let same = existing.filter(|secret| held(secret) == Some(&record));
        if same
            .is_some_and(|secret| layout::until(&secret.metadata).is_ok_and(|kept| kept.is_some() == until.is_some()))
        {
            return Ok(());
        }
        let wanted = self.build(client, record, until);
        let written = match existing {
            Some(old) => {
                let mut wanted = wanted;
                wanted.metadata.resource_version.clone_from(&old.metadata.resource_version);
                self.writer.replace(&wanted).await
            }
            None => self.writer.create(&wanted).await,
        };
        written.map(drop).during(ACTION)
    }

    /// Removes the record, if there is one.
    pub(super) async fn remove(&self, existing: Option<&Secret>) -> Result<(), Failure> {
        let Some(record) = existing else { return Ok(()) };
        let key = crate::objects::Key::of(&record.metadata);
        self.writer.delete::<Secret>(&key, &Preconditions::exactly(&record.metadata)).await.map(drop).during(ACTION)
    }

    fn build(&self, client: &ObjectRef, record: Vec<u8>, until: Option<Timestamp>) -> Secret {
        let mut metadata = self.layout.meta(&self.layout.reference_record(client), Part::ReferenceRecord);
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(OWNER.to_owned(), self.layout.owner_record(client));
        annotations.extend(until.map(|until| (UNTIL.to_owned(), until.to_string())));
        Secret {
            metadata,
            type_: Some("Opaque".to_owned()),
            data: Some([(RECORD_DATA.to_owned(), ByteString(record))].into()),
            ..Secret::default()
        }
    }

    async fn key(&self) -> Result<RecordKey, Failure> {
        if let Some(key) = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(key);
        }
        let place = self.layout.reference_key();
        let secret = match self.writer.get::<Secret>(&place).await.during(ACTION)? {
            Some(secret) => secret,
            None => self.make_key().await?,
        };
        let bytes = secret
            .data
            .as_ref()
            .and_then(|data| data.get(RECORD_KEY_DATA))
            .and_then(|key| key.0.as_slice().try_into().ok());
        let key = RecordKey::new(bytes.ok_or_else(malformed)?);
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        Ok(key)
    }

    async fn make_key(&self) -> Result<Secret, Failure> {
        let place = self.layout.reference_key();
        let bytes = random::bytes::<32>().map_err(|source| Failure {
            class: Class::Transient,
            category: "random",
            action: ACTION,
            source: Box::new(source),
        })?;
        let secret = Secret {
            metadata: self.layout.meta(&place, Part::ReferenceKey),
            immutable: Some(true),
            type_: Some("Opaque".to_owned()),
            data: Some([(RECORD_KEY_DATA.to_owned(), ByteString(bytes.to_vec()))].into()),
            ..Secret::default()
        };
        match self.writer.create(&secret).await {
            Err(WriteError::Store(StoreError::AlreadyExists { .. })) => {
                self.writer.get::<Secret>(&place).await.during(ACTION)?.ok_or_else(malformed)
            }
            written => written.during(ACTION),
        }
    }
}

fn held(secret: &Secret) -> Option<&Vec<u8>> {
    secret.data.as_ref()?.get(RECORD_DATA).map(|data| &data.0)
}

fn malformed() -> Failure {
    Failure { class: Class::Bug, category: "malformed", action: ACTION, source: Box::new(MalformedKey) }
}

#[derive(Debug, thiserror::Error)]
#[error("the key of the records is not what it should be")]
struct MalformedKey;
