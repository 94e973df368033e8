//! What holds for any pod, and any text in its annotations.

use proptest::prelude::*;

use super::*;

/// Any pod that could be injected into: its lists there, empty or not there, in any order.
fn pods() -> impl Strategy<Value = Value> {
    let mounts = prop::option::of(prop::collection::vec(0u8..4, 0..3));
    let containers = |prefix: &'static str, least: usize| {
        let each = prop::collection::vec(mounts.clone(), least..4);
        each.prop_map(move |each| {
            let container = |(index, mounts): (usize, Option<Vec<u8>>)| {
                let mut container = json!({"name": format!("{prefix}{index}"), "image": "i"});
                if let Some(mounts) = mounts {
                    let mounts = mounts.iter().map(|at| json!({"name": "data", "mountPath": format!("/data/{at}")}));
                    container["volumeMounts"] = mounts.collect();
                }
                container
            };
            each.into_iter().enumerate().map(container).collect::<Vec<_>>()
        })
    };
    let init = prop::option::of(containers("init", 0));
    (init, containers("app", 1), any::<bool>(), any::<bool>()).prop_map(|(init, apps, volumes, group)| {
        let mut spec = json!({"serviceAccountName": "storefront", "containers": apps});
        if let Some(init) = init {
            spec["initContainers"] = init.into();
        }
        if volumes {
            spec["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
        }
        if group {
            spec["securityContext"] = json!({"fsGroup": 1});
        }
        spec
    })
}

/// The pod without what is ours.
fn stripped(mut pod: Value) -> Value {
    fn strip(list: &mut Value) {
        let Some(list) = list.as_array_mut() else { return };
        list.retain(|each| !each["name"].as_str().unwrap().starts_with("countersign-"));
        for each in list {
            strip(&mut each["volumeMounts"]);
        }
    }
    pod["metadata"]["annotations"].as_object_mut().unwrap().remove(INJECTED);
    for list in ["volumes", "initContainers", "containers"] {
        strip(&mut pod["spec"][list]);
    }
    emptied(pod)
}

/// Lists that are empty, null or not there are the same.
fn emptied(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        for member in members.values_mut() {
            *member = emptied(member.take());
        }
        members.retain(|_, member| !member.is_null() && *member != json!([]));
    } else if let Value::Array(list) = &mut value {
        for each in list {
            *each = emptied(each.take());
        }
    }
    value
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_pod_that_did_not_ask_is_left_as_it_is(spec in pods()) {
        prop_assert_eq!(said(&pod(json!({"other": "x"}), spec)), Injection::default());
    }

    #[test]
    fn twice_is_once_and_what_was_there_stays(spec in pods(), outputs in 0usize..3) {
        let outputs = ["File", "Socket,File", "Envoy"][outputs];
        let asks = asking(json!({OUTPUTS: outputs}), spec);
        let once = patched(&asks);
        prop_assert_eq!(&patched(&once), &once);
        prop_assert_eq!(said(&once), Injection::default());
        prop_assert_eq!(stripped(once), emptied(asks));
    }

    #[test]
    fn whatever_annotations_hold_there_is_an_answer(which in 0usize..6, value in any::<String>()) {
        let annotation = [INJECT, TOKENS, OUTPUTS, CONTAINERS, MOUNT_PATH, PORT][which];
        let asks = asking(json!({annotation: value}), one_container());
        let Injection { verdict, patch } = said(&asks);
        match verdict.refusal {
            Some(refusal) => prop_assert!(patch.is_empty() && !refusal.contains(char::is_control), "{:?}", refusal),
            None => prop_assert!(serde_json::from_value::<Pod>(applied(&asks, &patch)).is_ok()),
        }
    }
}
