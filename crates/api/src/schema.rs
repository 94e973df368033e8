//! The building blocks of the schemas: every string with a length and, where it has one, a form; every list with a
//! length and a merge strategy.
//!
//! Flows in: marker types for the forms a string may have, `Item` for what stands in a list. Flows out: functions for
//! `#[schemars(schema_with = …)]`. The limits are core's, so that what the API server lets in, core can read.

use countersign_core::names::{Audience, ClientId, KeyId, ObjectName, ScopeName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The form of a string: its greatest length and, where it has one, its pattern (RE2).
pub(crate) trait Form {
    const MAX: usize;
    const PATTERN: Option<&'static str>;
}

macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident, $max:expr $(, $pattern:expr)?;)*) => {$(
        $(#[$doc])*
        pub(crate) enum $name {}
        impl Form for $name {
            const MAX: usize = $max;
            const PATTERN: Option<&'static str> = forms!(@pattern $($pattern)?);
        }
    )*};
    (@pattern) => { None };
    (@pattern $pattern:expr) => { Some($pattern) };
}

const DNS_LABEL: &str = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

forms! {
    /// An installation's name.
    IssuerForm, 63, DNS_LABEL;
    /// The name of a Kubernetes object.
    NameForm, ObjectName::MAX, DNS_SUBDOMAIN;
    /// The name of a Service (RFC 1035 label) or of a route or gateway.
    TargetForm, ObjectName::MAX, DNS_SUBDOMAIN;
    /// A client identifier.
    ClientIdForm, ClientId::MAX, r"^[A-Za-z0-9._~-]+$";
    /// An audience: an absolute URI without a fragment.
    AudienceForm, Audience::MAX, r"^[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z\[\]_a-z~]+$";
    /// A scope.
    ScopeForm, ScopeName::MAX, r"^[\x21\x23-\x5B\x5D-\x7E]+$";
    /// A key identifier.
    KeyIdForm, KeyId::MAX, r"^[A-Za-z0-9_-]{43}$";
    /// Text for people.
    TextForm, 256;
    /// The same in one line: no control characters.
    LineForm, 256, r"^\P{Cc}*$";
    /// A message for people, in status.
    MessageForm, 1024;
    /// A CEL expression over token, request, path and client.
    ConditionForm, 1024;
    /// An HTTP method.
    MethodForm, 7, r"^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|CONNECT)$";
    /// A path as a rule writes it; Prefix, Exact and Template narrow it further.
    PathForm, 512, r"^/[A-Za-z0-9._~!$&'()*+,;=:@%{}/-]*$";
    /// The first segments of a path.
    PrefixForm, 512, r"^/[A-Za-z0-9._~!$&'()*+,;=:@%-]+(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*$";
    /// A host, `*.` before it for everything below it, a port after it where it is not the scheme's own.
    HostForm, 260, r"^(\*\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*(:[0-9]{1,5})?$";
    /// A host and, optionally, the first segments of a path.
    HostAndPathForm, 772, r"^(\*\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*$";
    /// Where a browser may be sent back to.
    RedirectUriForm, 512, r"^(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][^\s#]*)?|http://(127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?([/?][^\s#]*)?|[a-z][a-z0-9+-]*\.[a-z0-9+.-]*:/[^\s#]*)$";
    /// A URL that is fetched.
    HttpsUrlForm, 512, r"^https://[^\s#/?]+([/?][^\s#]*)?$";
    /// The key of an entry of a Secret.
    DataKeyForm, 253, r"^[A-Za-z0-9._-]+$";
    /// A label's key.
    LabelKeyForm, 317, r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
    /// A label's value.
    LabelValueForm, 63, r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$";
    /// An annotation's value.
    AnnotationForm, 4096;
    /// A GEP-2257 duration.
    DurationForm, 32, r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";
    /// An RFC 3339 time.
    TimeForm, 35, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$";
    /// A SPIFFE id or another URI in a certificate.
    UriForm, 512, r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$";
    /// A distinguished name (RFC 4514).
    SubjectForm, 512;
    /// A member of a JSON Web Key: base64url or a registered word.
    JwkTextForm, 1024, r"^[A-Za-z0-9_-]+$";
    /// The path of an element, `spec.rules[3].matches[0].path`.
    ElementForm, 256;
    /// A reason: one CamelCase word.
    ReasonForm, 64, r"^[A-Za-z][A-Za-z0-9]*$";
}

/// The schema of a string.
pub(crate) fn text<F: Form>(_: &mut SchemaGenerator) -> Schema {
    let mut schema = json_schema!({ "type": "string", "maxLength": F::MAX });
    if let Some(pattern) = F::PATTERN {
        schema.insert("pattern".to_owned(), pattern.into());
    }
    schema
}

/// The schema of a set of strings.
pub(crate) fn set<F: Form, const MAX: u32>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": text::<F>(generator), "maxItems": MAX, "x-kubernetes-list-type": "set" })
}

/// The schema of a set of strings with at least one of them.
pub(crate) fn some<F: Form, const MAX: u32>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = set::<F, MAX>(generator);
    schema.insert("minItems".to_owned(), 1.into());
    schema
}

/// The schema of a set of one-word choices.
pub(crate) fn choices<C: JsonSchema, const MAX: u32>(generator: &mut SchemaGenerator) -> Schema {
    let items = C::json_schema(generator);
    json_schema!({ "type": "array", "items": items, "maxItems": MAX, "minItems": 1, "x-kubernetes-list-type": "set" })
}

/// The schema of a map from text to text.
pub(crate) fn texts<F: Form, const MAX: u32>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": text::<F>(generator), "maxProperties": MAX })
}

/// The schema of a map from text to whatever JSON has.
pub(crate) fn anything<const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    let any = serde_json::json!({ "x-kubernetes-preserve-unknown-fields": true });
    json_schema!({ "type": "object", "additionalProperties": any, "maxProperties": MAX })
}

/// What stands in a list: how many there may be, and which members tell them apart for server-side apply.
pub(crate) trait Item: JsonSchema {
    const MAX: u32;
    const MIN: u32 = 0;
    /// None: the list is applied as a whole.
    const KEYS: &'static [&'static str] = &[];
}

/// The schema of a list of objects.
pub(crate) fn list<I: Item>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = json_schema!({ "type": "array", "items": I::json_schema(generator), "maxItems": I::MAX });
    if I::MIN > 0 {
        schema.insert("minItems".to_owned(), I::MIN.into());
    }
    if I::KEYS.is_empty() {
        schema.insert("x-kubernetes-list-type".to_owned(), "atomic".into());
    } else {
        schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
        schema.insert("x-kubernetes-list-map-keys".to_owned(), serde_json::json!(I::KEYS));
    }
    schema
}

/// The schema of an RFC 3339 time.
pub(crate) fn time(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = text::<TimeForm>(generator);
    schema.insert("format".to_owned(), "date-time".into());
    schema
}

/// The schema of an RFC 3339 time that a person may also write as `null`: none.
pub(crate) fn time_or_null(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = time(generator);
    schema.insert("nullable".to_owned(), true.into());
    schema
}

/// The schema of a counter that never is below zero.
pub(crate) fn counter(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 0 })
}

/// The schema of a small number.
pub(crate) fn small<const MAX: i32>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 0, "maximum": MAX })
}

/// The schema of metav1 Conditions, as the Gateway API writes it.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "description": "What the condition is about, such as Ready.",
                    "type": "string", "maxLength": 64, "pattern": "^[A-Za-z][A-Za-z0-9]*$"
                },
                "status": { "description": "True, False or Unknown.", "type": "string", "enum": ["True", "False", "Unknown"] },
                "observedGeneration": {
                    "description": "The metadata.generation this was said about.",
                    "type": "integer", "format": "int64", "minimum": 0
                },
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string", "format": "date-time"
                },
                "reason": {
                    "description": "One word for programs: why the status is what it is.",
                    "type": "string", "maxLength": 64, "minLength": 1, "pattern": "^[A-Za-z][A-Za-z0-9]*$"
                },
                "message": { "description": "What is, and what to do about it.", "type": "string", "maxLength": 4096 }
            }
        }
    })
}
