//! A wrapper that reads any object, well-formed or not.
//!
//! Flows in: one object of a list or watch as JSON. Flows out: the object without its managedFields, or what is wrong
//! with it and which one it is; reading the wrapper itself does not fail, so no object stalls a watch.

use std::borrow::Cow;

use countersign_api::GROUP;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Key, Object};

/// An object that exists and cannot be read as its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub key: Key,
    pub uid: Option<String>,
    pub generation: Option<i64>,
    /// What is wrong, for the one who wrote it.
    pub error: String,
    /// All that came, where it is one of Countersign's own kinds: parts of it may be readable still. Never of other kinds,
    /// which may hold what nobody is to see.
    pub body: Option<Value>,
}

/// An object as it came.
#[derive(Clone, Debug)]
pub(super) struct Guarded<K> {
    pub(super) object: Result<K, Unread>,
    meta: ObjectMeta,
}

/// Why an object could not be read, and all of it where that may be kept.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    pub(super) error: String,
    body: Option<Value>,
}

impl<K: Object> Guarded<K> {
    /// Reads one object.
    pub(super) fn read(mut value: Value) -> Self {
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("managedFields");
        }
        let meta = value.get("metadata").map(lenient_meta).unwrap_or_default();
        let object = K::deserialize(&value).map_err(|error| Unread {
            // Errors of serde quote values; a Secret's must not reach a log.
            error: if K::kind(&()) == "Secret" { "is not a Secret".to_owned() } else { error.to_string() },
            body: (K::group(&()) == GROUP).then_some(value),
        });
        Self { object, meta }
    }

    #[expect(clippy::result_large_err, reason = "moved once, into the table of the watch")]
    pub(super) fn into_result(self) -> Result<K, Malformed> {
        let Self { object, meta } = self;
        object.map_err(|Unread { error, body }| {
            let (key, uid, generation) = (Key::of(&meta), meta.uid, meta.generation);
            Malformed { key, uid, generation, error, body }
        })
    }
}

/// The fields of the metadata that say which object it is; the API server vouches for their form.
fn lenient_meta(meta: &Value) -> ObjectMeta {
    let text = |field: &str| meta.get(field).and_then(Value::as_str).map(str::to_owned);
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        generation: meta.get("generation").and_then(Value::as_i64),
        ..ObjectMeta::default()
    }
}

impl<'de, K: Object> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::read)
    }
}

/// The scope is dynamic so that one path serves namespaced and cluster-scoped kinds.
impl<K: Object> kube::Resource for Guarded<K> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_malformed_object_says_which_it_is_and_what_is_wrong() {
        let guarded: Guarded<ConfigMap> = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "shop", "uid": "u1", "generation": 3}, "data": "text"
        }))
        .unwrap();
        let malformed = guarded.into_result().unwrap_err();
        assert_eq!(malformed.key, Key::namespaced("shop", "a"));
        assert_eq!((malformed.uid.as_deref(), malformed.generation), (Some("u1"), Some(3)));
        assert!(malformed.error.contains("expected"), "{}", malformed.error);
    }

    #[test]
    fn managed_fields_are_dropped() {
        let guarded: Guarded<ConfigMap> =
            serde_json::from_value(json!({"metadata": {"name": "a", "managedFields": [{"manager": "x"}]}})).unwrap();
        assert_eq!(guarded.into_result().unwrap().metadata.managed_fields, None);
    }

    #[test]
    fn a_malformed_secret_is_reported_without_its_values() {
        let guarded = Guarded::<Secret>::read(json!({"metadata": {"name": "a"}, "data": {"k": "tops3cret!"}}));
        assert!(!format!("{guarded:?}").contains("tops3cret"));
    }
}
