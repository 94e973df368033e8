//! What the metadata of every kind says.
//!
//! Flows in: an object's metadata. Flows out: its identity, or why it has none; what its annotations ask for; what is called
//! after it.

use countersign_core::directory::reason;
use countersign_core::names::{NameError, Namespace, ObjectName, ObjectRef, Uid};
use countersign_core::policy::Problem;
use jiff::Timestamp;
use kube::api::ObjectMeta;

/// `"true"` stops writes, never a revocation.
pub const PAUSED: &str = "countersign.dev/paused";
/// An RFC 3339 time: rotate if the current value was issued earlier.
pub const ROTATE_AT: &str = "countersign.dev/rotate-at";
/// An RFC 3339 time, on the SigningKey `default`: roll-backs found until then are accepted.
pub const ACCEPT_RESTORE: &str = "countersign.dev/accept-restore";

/// The name of a client's Secret where its spec gives none, and of its ConfigMap: what a program needs to get its tokens.
pub fn oauth_name(client: &ObjectName) -> String {
    format!("{client}-oauth")
}

/// Why an object has no usable identity. The API server lets no such object be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A name, namespace or UID is malformed.
    #[error("failed to read metadata")]
    Name(#[from] NameError),
    /// A member is missing.
    #[error("metadata.{0} is missing")]
    Missing(&'static str),
}

/// Who an object is and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) object: ObjectRef,
    pub(crate) uid: Uid,
    pub(crate) created_at: Timestamp,
    pub(crate) generation: i64,
}

pub(crate) fn identity(metadata: &ObjectMeta) -> Result<Identity, MetadataError> {
    let namespace = metadata.namespace.as_deref().ok_or(MetadataError::Missing("namespace"))?;
    let uid = metadata.uid.as_deref().ok_or(MetadataError::Missing("uid"))?;
    let created_at = metadata.creation_timestamp.as_ref().ok_or(MetadataError::Missing("creationTimestamp"))?;
    Ok(Identity {
        object: ObjectRef { namespace: Namespace::new(namespace)?, name: name(metadata)? },
        uid: Uid::new(uid)?,
        created_at: created_at.0,
        generation: generation(metadata),
    })
}

pub(crate) fn name(metadata: &ObjectMeta) -> Result<ObjectName, MetadataError> {
    Ok(ObjectName::new(metadata.name.as_deref().ok_or(MetadataError::Missing("name"))?)?)
}

pub(crate) fn generation(metadata: &ObjectMeta) -> i64 {
    metadata.generation.unwrap_or_default()
}

/// Whether writes for this object are to stop.
pub fn is_paused(metadata: &ObjectMeta) -> bool {
    annotation(metadata, PAUSED) == Some("true")
}

/// What `rotate-at` asks for.
pub fn rotate_at(metadata: &ObjectMeta) -> Result<Option<Timestamp>, Problem> {
    time(metadata, ROTATE_AT)
}

/// What `accept-restore` asks for.
pub fn accept_restore(metadata: &ObjectMeta) -> Result<Option<Timestamp>, Problem> {
    time(metadata, ACCEPT_RESTORE)
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn time(metadata: &ObjectMeta, key: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = annotation(metadata, key) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let message = "must be an RFC 3339 time, such as 2026-11-22T04:00:00Z";
        Problem::new(format!("metadata.annotations[{key}]"), reason::INVALID, message)
    })
}
