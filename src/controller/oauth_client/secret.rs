//! The Secret of a client: whose it is, what it holds, and what it should hold.
//!
//! Flows in: a Secret as it is, and what the client's spec and the installation say. Flows out: whether it may be
//! touched, the value in it, and the Secret to write. Values never reach a log: nothing here implements `Debug` over them.

use std::collections::BTreeMap;

use countersign_core::client::{SecretKeys, SecretMode, SecretSettings};
use countersign_core::names::{ClientId, ObjectRef};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::managed::metadata;
use crate::objects::layout::{CLIENT, COUNTERSIGN, MANAGED_BY, OWNER, annotation};

/// `Retain` on a Secret that outlives its client; read when nobody saw the client go.
pub(super) const DELETION_POLICY: &str = "countersign.dev/deletion-policy";
const RETAIN: &str = "Retain";
const OPAQUE: &str = "Opaque";

/// What an application needs to know besides its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub issuer: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
    /// PEM of the authorities to trust when calling the issuer, where a file was given.
    pub ca: Option<String>,
}

/// Whom the owner record of an object names, seen from one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Us,
    /// Another client, of this installation or another: not up for adoption, whatever else is written on it.
    Another,
    Nobody,
}

/// What a client's Secret should be like, but for the secret value.
pub(super) struct Wanted<'a> {
    pub(super) object: &'a ObjectRef,
    /// The owner record.
    pub(super) record: &'a str,
    pub(super) client_id: &'a ClientId,
    pub(super) settings: &'a SecretSettings,
    pub(super) connection: &'a Connection,
    pub(super) retain: bool,
}

/// Whose the object is, seen from the client with this record.
pub(super) fn owner(meta: &ObjectMeta, record: &str) -> Owner {
    match annotation(meta, OWNER) {
        Some(owner) if owner == record => Owner::Us,
        Some(_) => Owner::Another,
        None => Owner::Nobody,
    }
}

/// Whether the object carries the label of what we write.
pub(super) fn is_labelled(meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == COUNTERSIGN)
}

/// Whether whoever made the Secret lets this client refer to it or take it over.
pub(super) fn consents(secret: &Secret, client: &ObjectRef) -> bool {
    annotation(&secret.metadata, CLIENT) == Some(client.name.as_str())
}

/// An entry of the Secret, where it is text.
pub(super) fn entry<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

/// Whether the Secret is to outlive its client.
pub(super) fn is_retained(secret: &Secret) -> bool {
    annotation(&secret.metadata, DELETION_POLICY) == Some(RETAIN)
}

/// Whether what we want cannot be had by an update: the type of a Secret never changes, an immutable one not at all.
pub(super) fn needs_new_object(existing: &Secret) -> bool {
    existing.immutable == Some(true) || existing.type_.as_deref().unwrap_or(OPAQUE) != OPAQUE
}

impl Connection {
    /// What a program is told besides its secret, under these keys.
    pub(super) fn entries<'a>(
        &'a self,
        client_id: &'a ClientId,
        keys: &'a SecretKeys,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let Self { issuer, token_endpoint, jwks_uri, ca } = self;
        let entries = [
            (&keys.client_id, Some(client_id.as_str())),
            (&keys.issuer, Some(issuer.as_str())),
            (&keys.token_endpoint, Some(token_endpoint.as_str())),
            (&keys.jwks_uri, Some(jwks_uri.as_str())),
            (&keys.ca, ca.as_deref()),
        ];
        entries.into_iter().filter_map(|(key, text)| Some((key.as_str(), text?)))
    }
}

impl Wanted<'_> {
    /// The Secret to write. Labels and annotations of others stay; of the data, what others added stays only in a Secret
    /// that was theirs to begin with.
    pub(super) fn build(&self, existing: Option<&Secret>, value: &str) -> Secret {
        let mut meta = existing.map(|secret| secret.metadata.clone()).unwrap_or_default();
        let mut data = match (self.settings.mode, existing) {
            (SecretMode::Adopt, Some(existing)) => existing.data.clone().unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        data.extend(self.data(value));
        let labels = self.labels(meta.labels.take().unwrap_or_default());
        let annotations = self.annotations(meta.annotations.take().unwrap_or_default());
        Secret {
            metadata: metadata((&self.object.namespace, self.settings.name.to_string()), meta, labels, annotations),
            type_: Some(OPAQUE.to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }

    /// Whether the Secret is as it should be with the value it holds.
    pub(super) fn holds(&self, existing: &Secret) -> bool {
        let Some(value) = entry(existing, &self.settings.keys.client_secret) else { return false };
        let wanted = self.build(Some(existing), value);
        wanted.data == existing.data
            && wanted.metadata.labels == existing.metadata.labels
            && wanted.metadata.annotations == existing.metadata.annotations
            && !needs_new_object(existing)
    }

    /// Whether the Secret is as it should be, or was before the authorities to trust changed.
    pub(super) fn holds_but_for_authorities(&self, existing: &Secret) -> bool {
        let ca = entry(existing, &self.settings.keys.ca).map(str::to_owned);
        let connection = Connection { ca, ..self.connection.clone() };
        Wanted { connection: &connection, ..*self }.holds(existing)
    }

    fn data(&self, value: &str) -> impl Iterator<Item = (String, ByteString)> {
        let keys = &self.settings.keys;
        let secret = [(keys.client_secret.as_str(), value)];
        let entries = self.connection.entries(self.client_id, keys).chain(secret);
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        entries.map(|(key, text)| (key.to_owned(), bytes(text))).collect::<Vec<_>>().into_iter()
    }

    fn labels(&self, mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        labels.extend(self.settings.labels.clone());
        labels.insert(MANAGED_BY.to_owned(), COUNTERSIGN.to_owned());
        labels
    }

    fn annotations(&self, mut annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
        annotations.extend(self.settings.annotations.clone());
        annotations.insert(OWNER.to_owned(), self.record.to_owned());
        if self.retain {
            annotations.insert(DELETION_POLICY.to_owned(), RETAIN.to_owned());
        } else {
            annotations.remove(DELETION_POLICY);
        }
        annotations
    }
}
