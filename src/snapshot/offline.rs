//! A snapshot of manifests alone, without a store: what `check` and `explain` look at.
//!
//! Flows in: manifests. Flows out: the snapshot a standalone would have of them, by the same tables and conversions, and
//! the objects these leave out. Files have no age and no UID; each gets one, and a conflict is an error on both sides.

use std::sync::Arc;

use countersign_core::directory::Settings;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Snapshot;
use super::build::{Builder, Update};
use super::read;
use super::table::{Converted, Read, Refused};
use crate::objects::folder::manifests::Manifest;
use crate::objects::layout::Layout;
use crate::objects::{Change, Object};

/// What manifests come to.
#[derive(Debug)]
pub struct Offline {
    pub snapshot: Snapshot,
    /// The objects that are left out, and why.
    pub refused: Refused,
}

/// Takes manifests in as if they had all just been listed.
pub fn offline(settings: Arc<Settings>, layout: Layout, manifests: &[Manifest], now: Timestamp) -> Offline {
    let mut builder = Builder::new(Arc::clone(&settings), layout);
    let updates = [
        Update::Namespace(list(manifests, "Namespace", read::namespace)),
        Update::Allowance(list(manifests, "NamespaceAllowance", |object| read::allowance(&settings, object))),
        Update::SigningKey(list(manifests, "SigningKey", |object| read::signing_key(&settings, object))),
        Update::Policy(list(manifests, "ScopePolicy", |object| read::policy(&settings, object))),
        Update::Client(list(manifests, "OAuthClient", |object| read::client(&settings, object))),
    ];
    for update in updates {
        // No revocation is written in a manifest.
        drop(builder.take(update));
    }
    let snapshot = builder.build(now).unwrap_or_else(|| Snapshot::empty(settings));
    Offline { snapshot, refused: builder.refused().clone() }
}

/// The manifests of a kind, converted. One that is not of its kind was told when it was read.
fn list<K: Object + DeserializeOwned, T>(
    manifests: &[Manifest],
    kind: &str,
    read: impl Fn(&K) -> Converted<T>,
) -> Change<Read<T>> {
    let of_kind = manifests.iter().enumerate().filter(|(_, manifest)| manifest.kind() == kind);
    let objects = of_kind.filter_map(|(number, manifest)| typed(number, &manifest.object));
    Change::Reset(objects.map(|object| Read::of(&object, read(&object))).collect(), Vec::new())
}

fn typed<K: DeserializeOwned>(number: usize, object: &Value) -> Option<K> {
    let mut object = object.clone();
    let meta = object.get_mut("metadata")?.as_object_mut()?;
    meta.insert("uid".to_owned(), format!("00000000-0000-4000-8000-{number:012}").into());
    meta.insert("creationTimestamp".to_owned(), json!(Timestamp::UNIX_EPOCH));
    meta.insert("generation".to_owned(), 1.into());
    serde_json::from_value(object).ok()
}
