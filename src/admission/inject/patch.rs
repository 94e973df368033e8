//! The patch: additions alone.
//!
//! Flows in: a pod's spec, a wish. Flows out: operations of RFC 6902 on the pod as it was sent.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

use super::Settings;
use super::parts;
use super::slots::{self, Slot, Slots};
use super::wish::{INJECTED, Refusal, Wish};

pub(super) fn patch(spec: &PodSpec, wish: &Wish, settings: &Settings, issuer_url: &str) -> Result<Vec<Value>, Refusal> {
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        return Err(Refusal::System);
    }
    let Slots { agent, tokens } = slots::slots(spec, wish)?;
    slots::refuse_port(spec, wish.port.unwrap_or(settings.admin.port()))?;
    let mut operations = vec![add(&format!("/metadata/annotations/{}", INJECTED.replace('/', "~1")), &json!("true"))];
    operations.extend(into_list("/spec/volumes", spec.volumes.is_some(), "-", parts::volumes(wish, issuer_url)));
    let container = parts::container(spec, wish, settings, issuer_url);
    let has_list = spec.init_containers.is_some();
    operations.extend(into_list("/spec/initContainers", has_list, &agent.to_string(), [container]));
    for Slot { list, index, has_mounts } in tokens {
        // Those that start after the agent are one further on by now.
        let index = if list == "initContainers" { index + 1 } else { index };
        let path = format!("/spec/{list}/{index}/volumeMounts");
        operations.extend(into_list(&path, has_mounts, "-", [parts::mount(wish)]));
    }
    Ok(operations)
}

fn add(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

/// Adds to a list, which is made where there is none.
fn into_list(path: &str, is_there: bool, at: &str, values: impl IntoIterator<Item = Value>) -> Vec<Value> {
    if is_there {
        values.into_iter().map(|value| add(&format!("{path}/{at}"), &value)).collect()
    } else {
        vec![add(path, &values.into_iter().collect())]
    }
}
