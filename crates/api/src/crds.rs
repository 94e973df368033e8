//! The custom resource definitions, as the API server is given them.
//!
//! Flows in: the derived schemas. Flows out: the same without what they cannot say themselves: no field may be null (a
//! null would count as present in the validation rules; times have no rules and people do write `null` for them), and
//! titles of Rust types are left out.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value};

use crate::{NamespaceAllowance, OAuthClient, ScopePolicy, SigningKey};

/// Every kind's definition, in alphabetical order.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [NamespaceAllowance::crd(), OAuthClient::crd(), ScopePolicy::crd(), SigningKey::crd()]
        .into_iter()
        .map(tidy)
        .collect()
}

fn tidy(crd: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut value = serde_json::to_value(crd)?;
    if let Some(schema) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy_schema(schema);
    }
    serde_json::from_value(value)
}

fn is_time(schema: &Map<String, Value>) -> bool {
    schema.get("format").is_some_and(|format| format == "date-time")
}

fn tidy_schema(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if !is_time(members) {
        members.remove("nullable");
    }
    members.remove("title");
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(tidy_schema);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = members.get_mut(inner) {
            tidy_schema(schema);
        }
    }
    // Line breaks of the source are not paragraphs.
    if let Some(Value::String(description)) = members.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a schema with the path of each part.
    fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, schema);
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, inner) in properties {
                walk(&format!("{path}.{name}"), inner, visit);
            }
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(schema) = schema.get(inner).filter(|inner| inner.is_object()) {
                walk(&format!("{path}[]"), schema, visit);
            }
        }
    }

    fn each(mut visit: impl FnMut(&str, &Value)) {
        for crd in crds().expect("the definitions print") {
            let kind = crd.spec.names.kind.clone();
            let value = serde_json::to_value(&crd).expect("prints");
            let schema = value.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("a schema");
            for part in ["spec", "status"] {
                walk(&format!("{kind}.{part}"), &schema["properties"][part], &mut visit);
            }
        }
    }

    #[test]
    fn every_string_list_and_map_has_a_limit() {
        each(|path, schema| match schema["type"].as_str() {
            Some("string") => assert!(
                schema.get("maxLength").or(schema.get("enum")).is_some() || schema["format"] == "date-time",
                "{path} has no maxLength"
            ),
            Some("array") => {
                assert!(schema.get("maxItems").is_some(), "{path} has no maxItems");
                assert!(schema.get("x-kubernetes-list-type").is_some(), "{path} has no list type");
            }
            Some("integer") => assert!(schema.get("minimum").is_some(), "{path} has no range"),
            Some("object") if schema.get("additionalProperties").is_some() => {
                assert!(schema.get("maxProperties").is_some(), "{path} has no maxProperties");
            }
            _ => {}
        });
    }

    #[test]
    fn every_field_is_described_and_none_may_be_null() {
        each(|path, schema| {
            assert!(schema.get("nullable").is_none() || schema["format"] == "date-time", "{path} may be null");
            assert!(schema.get("description").is_some() || path.ends_with("[]"), "{path} is not described");
        });
    }

    #[test]
    fn no_list_item_has_a_default() {
        each(|path, schema| assert!(!path.contains("[]") || schema.get("default").is_none(), "{path} has a default"));
    }

    #[test]
    fn words_of_later_versions_stay_out_of_the_schema() {
        each(|path, schema| {
            assert!(!schema["enum"].to_string().contains("Unknown\",\"") || path.ends_with("status"), "{path}");
            assert!(!path.ends_with(".unknown"), "{path}");
        });
    }
}
