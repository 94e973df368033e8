//! What the API server would say to an object, said without one.
//!
//! Flows in: a manifest as it was written. Flows out: each place where it departs from the kind's schema: unknown fields,
//! types, words, forms, limits, repeated keys. The schema is the one the API server is given; its CEL rules are not run
//! here: what they refuse, the core refuses too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Value};

/// A place where an object departs from its kind's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where: `spec.rules[3].matches[0].path`.
    pub field: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Everything in the object's spec that the API server would refuse by its schema. An object of another kind has none.
pub fn violations(kind: &str, object: &Value) -> Vec<Violation> {
    let Some(schemas) = schemas() else { return Vec::new() };
    let Some(schema) = schemas.kinds.get(kind) else { return Vec::new() };
    let mut walk = Walk { patterns: &schemas.patterns, found: Vec::new() };
    let members = object.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    for name in members.filter(|name| !["apiVersion", "kind", "metadata", "spec", "status"].contains(name)) {
        walk.say(name, "is no field of this kind; what is asked for stands in spec".to_owned());
    }
    match object.get("spec") {
        Some(spec) => walk.value("spec", schema, spec),
        None => walk.say("spec", "is required".to_owned()),
    }
    walk.found
}

struct Schemas {
    kinds: BTreeMap<String, Value>,
    patterns: BTreeMap<String, Regex>,
}

/// The schemas of all specs, and their patterns ready to use.
fn schemas() -> Option<&'static Schemas> {
    static SCHEMAS: OnceLock<Option<Schemas>> = OnceLock::new();
    let read = || {
        let mut kinds = BTreeMap::new();
        let mut patterns = BTreeMap::new();
        for crd in crate::crds().ok()? {
            let kind = crd.spec.names.kind.clone();
            let mut crd = serde_json::to_value(crd).ok()?;
            let spec = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec")?.take();
            collect_patterns(&spec, &mut patterns)?;
            kinds.insert(kind, spec);
        }
        Some(Schemas { kinds, patterns })
    };
    SCHEMAS.get_or_init(read).as_ref()
}

fn collect_patterns(schema: &Value, patterns: &mut BTreeMap<String, Regex>) -> Option<()> {
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        patterns.insert(pattern.to_owned(), Regex::new(pattern).ok()?);
    }
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(_, inner)| inner);
    let inner = ["items", "additionalProperties"].into_iter().filter_map(|name| schema.get(name));
    properties.chain(inner).try_for_each(|inner| collect_patterns(inner, patterns))
}

struct Walk<'a> {
    patterns: &'a BTreeMap<String, Regex>,
    found: Vec<Violation>,
}

impl Walk<'_> {
    fn say(&mut self, field: &str, message: String) {
        self.found.push(Violation { field: field.to_owned(), message });
    }

    fn value(&mut self, field: &str, schema: &Value, value: &Value) {
        // The API server drops a null where none may be, but server-side apply refuses it.
        if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
            return;
        }
        match (schema.get("type").and_then(Value::as_str), value) {
            (None, _) | (Some("boolean"), Value::Bool(_)) => {}
            (Some("object"), Value::Object(members)) => self.object(field, schema, members),
            (Some("array"), Value::Array(items)) => self.array(field, schema, items),
            (Some("string"), Value::String(text)) => self.string(field, schema, text),
            (Some("integer"), Value::Number(number)) if number.is_i64() => {}
            (Some(wanted), _) => {
                self.say(field, format!("must be {wanted}, in quotes if it is text that looks otherwise"));
            }
        }
    }

    fn object(&mut self, field: &str, schema: &Value, members: &Map<String, Value>) {
        if let Some(most) = limit(schema, "maxProperties").filter(|most| members.len() > *most) {
            self.say(field, format!("must have at most {most} entries"));
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for name in required.filter(|name| !members.contains_key(*name)) {
            self.say(&format!("{field}.{name}"), "is required".to_owned());
        }
        let known = schema.get("properties").and_then(Value::as_object);
        for (name, value) in members {
            let inner = format!("{field}.{name}");
            let schema = known.and_then(|known| known.get(name)).or_else(|| schema.get("additionalProperties"));
            match (schema, known) {
                (Some(schema), _) => self.value(&inner, schema, value),
                (None, Some(known)) => {
                    let names: Vec<_> = known.keys().map(String::as_str).collect();
                    self.say(&inner, format!("is not known; here may stand {}", names.join(", ")));
                }
                (None, None) => {}
            }
        }
    }

    fn array(&mut self, field: &str, schema: &Value, items: &[Value]) {
        if let Some(most) = limit(schema, "maxItems").filter(|most| items.len() > *most) {
            self.say(field, format!("must have at most {most} entries"));
        }
        if let Some(least) = limit(schema, "minItems").filter(|least| items.len() < *least) {
            self.say(field, format!("must have at least {least}"));
        }
        let Some(inner) = schema.get("items") else { return };
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let field = format!("{field}[{index}]");
            self.value(&field, inner, item);
            if let Some(identity) = identity(schema, item).filter(|identity| !seen.insert(identity.clone())) {
                self.say(&field, format!("{identity} stands twice in the list: each may stand there once"));
            }
        }
    }

    fn string(&mut self, field: &str, schema: &Value, text: &str) {
        if let Some(most) = limit(schema, "maxLength").filter(|most| text.chars().count() > *most) {
            return self.say(field, format!("must have at most {most} characters"));
        }
        let words = schema.get("enum").and_then(Value::as_array);
        if let Some(words) = words.filter(|words| !words.iter().any(|word| word == text)) {
            let words: Vec<_> = words.iter().map(ToString::to_string).collect();
            self.say(field, format!("{text:?} must be one of {}", words.join(", ")));
        }
        let pattern = schema.get("pattern").and_then(Value::as_str).and_then(|pattern| self.patterns.get(pattern));
        if let Some(pattern) = pattern.filter(|pattern| !pattern.is_match(text)) {
            let meaning = schema.get("description").and_then(Value::as_str).map(|text| format!(". {text}"));
            self.say(field, format!("{text:?} has not the form {pattern}{}", meaning.unwrap_or_default()));
        }
    }
}

fn limit(schema: &Value, name: &str) -> Option<usize> {
    schema.get(name).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok())
}

/// What tells an item of a set or a map apart from the others.
fn identity(list: &Value, item: &Value) -> Option<String> {
    match list.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Some(item.to_string()),
        Some("map") => {
            let keys =
                list.get("x-kubernetes-list-map-keys").and_then(Value::as_array)?.iter().filter_map(Value::as_str);
            let of = |key: &str| item.get(key).map(|value| format!("{key}: {value}"));
            Some(keys.map(of).collect::<Option<Vec<_>>>()?.join(", "))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(kind: &str, spec: &Value) -> Vec<String> {
        violations(kind, &json!({"kind": kind, "spec": spec})).into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn a_field_nobody_knows_is_named_wherever_it_stands() {
        let secret = json!({"type": "ClientSecret", "secret": {"rejectIssuedBefor": null}});
        let spec = json!({"stat": "Active", "authentication": {"methods": [secret]}});
        assert_eq!(
            fields("OAuthClient", &spec),
            ["spec.authentication.methods[0].secret.rejectIssuedBefor", "spec.stat"]
        );
        assert_eq!(violations("SigningKey", &json!({"spec": {}, "rotation": {}}))[0].field, "rotation");
    }

    #[test]
    fn each_part_of_the_schema_is_judged() {
        for (kind, spec, field) in [
            ("ScopePolicy", json!({}), "spec.audience"),
            ("ScopePolicy", json!({"audience": "orders"}), "spec.audience"),
            ("ScopePolicy", json!({"audience": "x:y", "mode": "Audit"}), "spec.mode"),
            ("ScopePolicy", json!({"audience": "x:y", "scopes": [{"name": "a"}, {"name": "a"}]}), "spec.scopes[1]"),
            ("ScopePolicy", json!({"audience": "x:y", "scopes": {"name": "a"}}), "spec.scopes"),
            ("ScopePolicy", json!({"audience": "x:y", "resourceServers": ["a", "a"]}), "spec.resourceServers[1]"),
            (
                "ScopePolicy",
                json!({"audience": "x:y", "grants": [{"scopes": [], "to": [{}]}]}),
                "spec.grants[0].scopes",
            ),
            ("OAuthClient", json!({"displayName": 7}), "spec.displayName"),
            ("OAuthClient", json!({"displayName": "x".repeat(257)}), "spec.displayName"),
            ("OAuthClient", json!({"displayName": null}), "spec.displayName"),
            ("OAuthClient", json!({"displayName": "Check\r\nout"}), "spec.displayName"),
            ("OAuthClient", json!({"displayName": "Check\u{9b}out"}), "spec.displayName"),
            ("SigningKey", json!({"rotation": {"period": "30d"}}), "spec.rotation.period"),
            (
                "NamespaceAllowance",
                json!({"namespaceSelector": {"matchLabels": {"a": "b c"}}}),
                "spec.namespaceSelector.matchLabels.a",
            ),
        ] {
            assert_eq!(fields(kind, &spec), [field], "{kind} {spec}");
        }
    }

    #[test]
    fn what_the_api_server_takes_is_taken() {
        let methods = json!([{"type": "ClientSecret", "secret": {"rejectIssuedBefore": null}}]);
        let spec = json!({
            "tokens": {"claims": {"deep": {"a": [1, true]}}}, "authentication": {"methods": methods}, "tokensNotBefore": null
        });
        assert!(fields("OAuthClient", &spec).is_empty());
        assert!(violations("Secret", &json!({"data": {}})).is_empty());
    }
}
