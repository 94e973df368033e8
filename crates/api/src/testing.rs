//! Objects for tests, as the API server hands them over.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An object `shop/<name>` with this spec.
pub(crate) fn object<K: DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    let metadata = json!({
        "name": name, "namespace": "shop", "uid": "6f9619ff-8b86-d011-b42d-00c04fc964ff", "generation": 3,
        "creationTimestamp": "2026-11-22T04:00:00Z"
    });
    let object = json!({"apiVersion": "countersign.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    serde_json::from_value(object).expect("a test's object reads")
}
