//! How each object of Kubernetes becomes a value of core.
//!
//! Flows in: objects of the kinds and Countersign's own ConfigMaps and Secrets. Flows out: core's values, nothing for
//! what another installation owns, or what is wrong.

use std::fmt::Display;

use countersign_api::{NamespaceAllowance, OAuthClient, ScopePolicy, SigningKey};
use countersign_core::bounds::AllowanceObject;
use countersign_core::client::ClientObject;
use countersign_core::client_secret::{KeptRecord, Record, SignerKeyring};
use countersign_core::directory::{NamespaceObject, PolicyObject, RingObject, Settings};
use countersign_core::keyring::Keyring;
use countersign_core::names::{self, ObjectRef};
use countersign_core::revocation::Shard;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::core::PartialObjectMeta;

use super::PrivateKey;
use super::table::Converted;
use crate::objects::layout::{
    KEYRING_DATA, Layout, PRIVATE_KEY_DATA, Part, RECORD_DATA, RECORD_KEY_DATA, is_part, until,
};
use crate::objects::{Key, revocations};

/// A ConfigMap of the system namespace.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SystemMap {
    Ring(Keyring),
    Signer(SignerKeyring),
}

/// A Secret of the keys namespace.
#[derive(Clone, PartialEq)]
pub(super) enum KeySecret {
    Private { ring: String, serial: u64, key: PrivateKey },
    Record(ObjectRef, KeptRecord),
    RecordKey([u8; 32]),
}

pub(super) fn client(settings: &Settings, object: &OAuthClient) -> Converted<ClientObject> {
    ours(settings, &object.spec.issuer, || ClientObject::try_from(object).map_err(text))
}

/// An epoch never shrinks at a running replica, whatever was restored.
pub(super) fn keep_epoch(new: &mut ClientObject, old: &ClientObject) {
    new.epoch = new.epoch.max(old.epoch);
}

pub(super) fn policy(settings: &Settings, object: &ScopePolicy) -> Converted<PolicyObject> {
    ours(settings, &object.spec.issuer, || PolicyObject::try_from(object).map_err(text))
}

pub(super) fn allowance(settings: &Settings, object: &NamespaceAllowance) -> Converted<AllowanceObject> {
    ours(settings, &object.spec.issuer, || AllowanceObject::try_from(object).map_err(text))
}

pub(super) fn signing_key(settings: &Settings, object: &SigningKey) -> Converted<RingObject> {
    ours(settings, &object.spec.issuer, || RingObject::try_from(object).map_err(text))
}

pub(super) fn namespace(object: &PartialObjectMeta<Namespace>) -> Converted<NamespaceObject> {
    let name = names::Namespace::new(object.metadata.name.as_deref().unwrap_or("")).map_err(text)?;
    let labels = object.metadata.labels.clone().unwrap_or_default();
    Ok(Some(NamespaceObject { name, labels, is_ending: object.metadata.deletion_timestamp.is_some() }))
}

pub(super) fn system_map(layout: &Layout, map: &ConfigMap) -> Converted<SystemMap> {
    let content = map.data.as_ref().and_then(|data| data.get(KEYRING_DATA)).map_or("", String::as_str);
    if is_part(&map.metadata, Part::ClientSecretKeyring) {
        let signer = serde_json::from_str(content).map_err(text)?;
        return Ok((Key::of(&map.metadata) == layout.client_secret_keyring()).then_some(SystemMap::Signer(signer)));
    }
    if !is_part(&map.metadata, Part::Keyring) {
        return Ok(None);
    }
    let ring = Keyring::parse(content).map_err(text)?;
    // A keyring under another ring's name would be two truths about one ring.
    if Key::of(&map.metadata) != layout.keyring(ring.ring.as_str()) {
        return Err(format!("it holds the ring {}", ring.ring));
    }
    Ok(Some(SystemMap::Ring(ring)))
}

pub(super) fn key_secret(layout: &Layout, secret: &Secret) -> Converted<KeySecret> {
    let meta = &secret.metadata;
    let bytes = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
    let name = meta.name.as_deref().unwrap_or("");
    if is_part(meta, Part::SigningKey) {
        let (ring, serial) = name.rsplit_once('-').ok_or("its name is not <ring>-<serial>")?;
        let serial = serial.parse().map_err(text)?;
        let key = PrivateKey::new(bytes(PRIVATE_KEY_DATA).ok_or("it holds no private half")?);
        return Ok(Some(KeySecret::Private { ring: ring.to_owned(), serial, key }));
    }
    if is_part(meta, Part::ReferenceKey) {
        let key = bytes(RECORD_KEY_DATA).and_then(|key| key.try_into().ok()).ok_or("it holds no key of 32 bytes")?;
        return Ok((Key::of(meta) == layout.reference_key()).then_some(KeySecret::RecordKey(key)));
    }
    if !is_part(meta, Part::ReferenceRecord) {
        return Ok(None);
    }
    let client = layout.owner(meta).ok_or("its owner record names no client of this installation")?;
    // A record under another client's name would be two truths about one client.
    if Key::of(meta) != layout.reference_record(&client) {
        return Err(format!("it is the record of {client}"));
    }
    // The content is told by its place only: a parser's message may quote it.
    let record: Option<Record> = bytes(RECORD_DATA).and_then(|record| serde_json::from_slice(&record).ok());
    let kept = KeptRecord { record: record.ok_or("it holds no record")?, until: until(meta).map_err(text)? };
    Ok(Some(KeySecret::Record(client, kept)))
}

pub(super) fn shard(map: &ConfigMap) -> Converted<Shard> {
    revocations::read(map).transpose().map_err(text)
}

fn ours<T>(settings: &Settings, issuer: &str, read: impl FnOnce() -> Result<T, String>) -> Converted<T> {
    if settings.is_ours(Some(issuer)) { read().map(Some) } else { Ok(None) }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
