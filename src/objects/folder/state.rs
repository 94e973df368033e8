//! The objects of a folder store in memory, and the rules of a small API server.
//!
//! Flows in: the object a write is about as it is stored, and what the caller wants. Flows out: the object as it will be
//! stored, or a typed refusal. Nothing here touches a disk; `commit` tells the watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::super::{Error, Key, Object, Preconditions};

/// Changes a slow watch may be behind before it lists anew.
const BACKLOG: usize = 1024;

/// Who wrote an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Origin {
    /// A file of the manifests folder: read-only but for its status.
    Manifest,
    /// Countersign itself.
    Written,
}

/// An object with what the store remembers about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) origin: Origin,
    /// What each field manager applied last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) applied: BTreeMap<String, Value>,
    pub(super) object: Value,
}

/// What watches are told.
#[derive(Clone, Debug)]
pub(super) enum Notice {
    Applied(Arc<Stored>),
    Deleted(Arc<Stored>),
}

/// A kind as the store files it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) name: String,
    /// `plural.group`, the table's and the directory's name.
    pub(super) table: String,
    /// Whether status is written apart from the rest.
    pub(super) has_status: bool,
}

impl Kind {
    pub(super) fn of<K: Object>() -> Self {
        let group = K::group(&());
        let table = if group.is_empty() { K::plural(&()).into_owned() } else { format!("{}.{group}", K::plural(&())) };
        Self { name: K::kind(&()).into_owned(), table, has_status: group == "countersign.dev" }
    }

    pub(super) fn is_secret(&self) -> bool {
        self.table == "secrets"
    }
}

/// Now and a fresh UID, for what is written.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub(super) now: Timestamp,
    pub(super) uid: String,
}

struct Table {
    objects: BTreeMap<Key, Arc<Stored>>,
    notices: broadcast::Sender<Notice>,
}

impl Default for Table {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), notices: broadcast::Sender::new(BACKLOG) }
    }
}

/// All tables.
#[derive(Default)]
pub(super) struct State {
    revision: u64,
    tables: BTreeMap<String, Table>,
}

impl State {
    pub(super) fn get(&self, kind: &Kind, key: &Key) -> Option<Arc<Stored>> {
        self.tables.get(&kind.table)?.objects.get(key).cloned()
    }

    pub(super) fn objects(&self, kind: &Kind) -> Vec<(Key, Arc<Stored>)> {
        let table = self.tables.get(&kind.table);
        table.map(|t| t.objects.iter().map(|(k, s)| (k.clone(), Arc::clone(s))).collect()).unwrap_or_default()
    }

    /// What there is and what will change from here on.
    pub(super) fn subscribe(&mut self, kind: &Kind) -> (Vec<Arc<Stored>>, broadcast::Receiver<Notice>) {
        let table = self.tables.entry(kind.table.clone()).or_default();
        (table.objects.values().cloned().collect(), table.notices.subscribe())
    }

    /// Puts back what was on disk, telling nobody.
    pub(super) fn restore(&mut self, kind_table: &str, key: Key, stored: Stored) {
        let version = meta_text(&stored.object, "resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        self.revision = self.revision.max(version);
        self.tables.entry(kind_table.to_owned()).or_default().objects.insert(key, Arc::new(stored));
    }

    /// Gives the object its resourceVersion; `commit` follows once it is safe on disk.
    pub(super) fn number(&mut self, stored: &mut Stored) {
        self.revision += 1;
        set_meta(&mut stored.object, "resourceVersion", self.revision.to_string().into());
    }

    pub(super) fn commit(&mut self, kind: &Kind, key: &Key, stored: Stored) -> Arc<Stored> {
        let stored = Arc::new(stored);
        let table = self.tables.entry(kind.table.clone()).or_default();
        table.objects.insert(key.clone(), Arc::clone(&stored));
        tell(&table.notices, Notice::Applied(Arc::clone(&stored)));
        stored
    }

    pub(super) fn remove(&mut self, kind: &Kind, key: &Key) {
        let Some(table) = self.tables.get_mut(&kind.table) else { return };
        if let Some(stored) = table.objects.remove(key) {
            tell(&table.notices, Notice::Deleted(stored));
        }
    }
}

fn tell(notices: &broadcast::Sender<Notice>, notice: Notice) {
    // An error says that nobody watches this kind.
    drop(notices.send(notice));
}

/// One write about one object: what is stored and who asks.
pub(super) struct Write<'a> {
    pub(super) kind: &'a Kind,
    pub(super) key: &'a Key,
    pub(super) old: Option<&'a Stored>,
    pub(super) stamp: &'a Stamp,
}

impl Write<'_> {
    fn about(&self) -> (String, Key) {
        (self.kind.name.clone(), self.key.clone())
    }

    fn conflict(&self) -> Error {
        let (kind, key) = self.about();
        Error::Conflict { kind, key }
    }

    fn existing(&self) -> Result<&Stored, Error> {
        let (kind, key) = self.about();
        self.old.ok_or(Error::NotFound { kind, key })
    }

    fn writable(&self) -> Result<&Stored, Error> {
        let old = self.existing()?;
        let (kind, key) = self.about();
        if old.origin == Origin::Manifest { Err(Error::ReadOnly { kind, key }) } else { Ok(old) }
    }

    /// A new object.
    pub(super) fn create(&self, mut object: Value, origin: Origin) -> Result<Stored, Error> {
        if self.old.is_some() {
            let (kind, key) = self.about();
            return Err(Error::AlreadyExists { kind, key });
        }
        if self.kind.has_status {
            remove(&mut object, "status");
        }
        set_meta(&mut object, "uid", self.stamp.uid.clone().into());
        set_meta(&mut object, "creationTimestamp", seconds(self.stamp.now).into());
        set_meta(&mut object, "generation", 1.into());
        Ok(Stored { origin, applied: BTreeMap::new(), object })
    }

    /// The whole object but its status, for the version it carries. `None`: it holds already.
    pub(super) fn replace(&self, object: Value) -> Result<Option<Stored>, Error> {
        let old = self.writable()?;
        if meta_text(&object, "resourceVersion") != meta_text(&old.object, "resourceVersion") {
            return Err(self.conflict());
        }
        let uid = meta_text(&object, "uid");
        if uid.is_some() && uid != meta_text(&old.object, "uid") {
            return Err(self.conflict());
        }
        self.refuse_to_change_the_immutable(&old.object, &object)?;
        Ok(self.succeed(old, object, Origin::Written))
    }

    /// What a manifest says now. A Secret that Countersign writes is never overwritten: clients hold its values.
    pub(super) fn manifest(&self, object: Value) -> Result<Option<Stored>, Error> {
        match self.old {
            None => self.create(object, Origin::Manifest).map(Some),
            Some(old) if self.kind.is_secret() && old.origin == Origin::Written => {
                let (kind, key) = self.about();
                Err(Error::AlreadyExists { kind, key })
            }
            Some(old) => Ok(self.succeed(old, object, Origin::Manifest)),
        }
    }

    /// The fields `manager` sets; those it set before and does not now, go.
    pub(super) fn apply(&self, manager: &str, intent: Value) -> Result<Option<Stored>, Error> {
        let Some(old) = self.old else {
            let mut stored = self.create(intent.clone(), Origin::Written)?;
            stored.applied.insert(manager.to_owned(), intent);
            return Ok(Some(stored));
        };
        let old = if old.origin == Origin::Manifest { self.writable()? } else { old };
        let mut object = old.object.clone();
        if let Some(before) = old.applied.get(manager) {
            prune(&mut object, before, &intent);
        }
        merge(&mut object, &intent, false);
        self.refuse_to_change_the_immutable(&old.object, &object)?;
        let Some(mut stored) = self.succeed(old, object, Origin::Written) else { return Ok(None) };
        stored.applied.insert(manager.to_owned(), intent);
        Ok(Some(stored))
    }

    /// The status alone: whole, or merged where `merged`.
    pub(super) fn status(&self, version: Option<&str>, status: Value, merged: bool) -> Result<Option<Stored>, Error> {
        let old = self.existing()?;
        if version.is_some() && version != meta_text(&old.object, "resourceVersion") {
            return Err(self.conflict());
        }
        let mut stored = old.clone();
        let Some(fields) = stored.object.as_object_mut() else { return Ok(None) };
        let slot = fields.entry("status").or_insert_with(|| json!({}));
        if merged {
            merge(slot, &status, true);
        } else {
            *slot = status;
        }
        Ok((stored.object != old.object).then_some(stored))
    }

    pub(super) fn delete(&self, preconditions: &Preconditions) -> Result<(), Error> {
        let old = self.writable()?;
        let Preconditions { uid, resource_version } = preconditions;
        for (expected, field) in [(uid, "uid"), (resource_version, "resourceVersion")] {
            if expected.is_some() && expected.as_deref() != meta_text(&old.object, field) {
                return Err(self.conflict());
            }
        }
        Ok(())
    }

    /// The new content under the old identity; `None` where nothing differs.
    fn succeed(&self, old: &Stored, mut object: Value, origin: Origin) -> Option<Stored> {
        for field in ["uid", "creationTimestamp", "generation", "resourceVersion"] {
            let value = old.object.pointer(&format!("/metadata/{field}")).cloned().unwrap_or(Value::Null);
            set_meta(&mut object, field, value);
        }
        if self.kind.has_status {
            remove(&mut object, "status");
            if let (Some(status), Some(fields)) = (old.object.get("status"), object.as_object_mut()) {
                fields.insert("status".to_owned(), status.clone());
            }
        }
        if object == old.object && origin == old.origin {
            return None;
        }
        if spec(&object) != spec(&old.object) {
            let generation = old.object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            set_meta(&mut object, "generation", (generation + 1).into());
        }
        Some(Stored { origin, applied: old.applied.clone(), object })
    }

    fn refuse_to_change_the_immutable(&self, old: &Value, new: &Value) -> Result<(), Error> {
        if old.get("immutable") != Some(&Value::Bool(true)) || spec(old) == spec(new) {
            return Ok(());
        }
        let (kind, key) = self.about();
        Err(Error::Invalid { verb: "replace", kind, key, message: "the object is immutable".to_owned() })
    }
}

/// What `generation` counts: all but metadata and status.
fn spec(object: &Value) -> Map<String, Value> {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    fields.remove("metadata");
    fields.remove("status");
    fields
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

pub(super) fn meta_text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

pub(super) fn set_meta(object: &mut Value, field: &str, value: Value) {
    let Some(fields) = object.as_object_mut() else { return };
    let Some(meta) = fields.entry("metadata").or_insert_with(|| json!({})).as_object_mut() else { return };
    if value.is_null() {
        meta.remove(field);
    } else {
        meta.insert(field.to_owned(), value);
    }
}

/// A time as the API server writes it: whole seconds.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// Lays `patch` over `target`; where `null_removes` (JSON merge patch, RFC 7396) a null removes the field.
fn merge(target: &mut Value, patch: &Value, null_removes: bool) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() && null_removes {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value, null_removes);
        }
    }
}

/// Takes away the leaves that `before` had and `now` has not.
fn prune(target: &mut Value, before: &Value, now: &Value) {
    let (Some(fields), Some(before)) = (target.as_object_mut(), before.as_object()) else { return };
    for (name, old) in before {
        match (now.get(name), fields.get_mut(name)) {
            (None, Some(field)) if old.is_object() => prune(field, old, &json!({})),
            (None, Some(_)) => {
                fields.remove(name);
            }
            (Some(new), Some(field)) => prune(field, old, new),
            (_, None) => {}
        }
    }
}
