//! The API server's question about a pod that asks for an agent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::{Patch, PatchOperation, patch};
use serde_json::Value;

use super::webhook;

pub fn run(data: &[u8]) {
    let Some((mut request, response)) = webhook::answered("/inject", data) else { return };
    let Some(encoded) = response["patch"].as_str() else { return };
    assert!(response["allowed"] == true && response["patchType"] == "JSONPatch");
    let operations: Patch = serde_json::from_slice(&STANDARD.decode(encoded).expect("base64")).expect("a patch");
    assert!(operations.iter().all(|operation| matches!(operation, PatchOperation::Add(_))), "{operations:?}");
    let mut asked = request["object"].clone();
    // Ours to say.
    if let Some(annotations) = asked["metadata"]["annotations"].as_object_mut() {
        annotations.remove("countersign.dev/agent-injected");
    }
    patch(&mut request["object"], &operations).expect("it fits the pod");
    assert!(keeps(&asked, &request["object"]), "what was asked for is there: {operations:?}");

    // A webhook after this one may have the API server ask again.
    let again = serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let (_, response) = webhook::answered("/inject", again.to_string().as_bytes()).expect("a review");
    assert!(response["allowed"] == true && response["patch"].is_null(), "once is enough: {response}");
}

/// Whether everything is there still, in its order, whatever came beside it.
fn keeps(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(name, value)| after.get(name).is_some_and(|now| keeps(value, now)))
        }
        (Value::Array(before), Value::Array(after)) => {
            let mut rest = after.iter();
            before.iter().all(|value| rest.any(|now| keeps(value, now)))
        }
        // Null is as if it were not there.
        (Value::Null, _) => true,
        _ => before == after,
    }
}
