//! What the API server asks and is answered (`admission.k8s.io/v1`), read strictly.
//!
//! Flows in: the bytes of an `AdmissionReview`. Flows out: what is asked, or why it cannot be read; the answer's JSON. No
//! member may come twice: two readers of such a text could see two objects.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::token::strict_json;
use serde_json::{Map, Value, json};

use super::judge::Verdict;

/// Deeper than any Pod or object of ours, and what the API server keeps in its metadata.
const DEPTH: u8 = 48;
const API_VERSION: &str = "admission.k8s.io/v1";
/// Elements of lists in one review: read as an object of Kubernetes each takes hundreds of bytes, were it three in the text.
const MOST_ELEMENTS: usize = 128 * 1024;
/// The most the API server hands on whole of one warning, and of all.
const LONGEST_WARNING: usize = 256;
const MOST_WARNINGS: usize = 16;

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Review {
    pub(super) uid: String,
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) operation: String,
    pub(super) namespace: Option<String>,
    /// Absent where many are deleted at once.
    pub(super) name: Option<String>,
    pub(super) object: Option<Value>,
    pub(super) old_object: Option<Value>,
}

/// Why there is no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the body is not one JSON object in which no member comes twice")]
    Json,
    #[error("the body is no AdmissionReview of admission.k8s.io/v1")]
    Version,
    #[error("the review's lists have more than {MOST_ELEMENTS} elements")]
    Elements,
    #[error("the review has no {0}")]
    Missing(&'static str),
}

impl Review {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut review = strict_json(bytes, DEPTH).ok_or(Unreadable::Json)?;
        if review.values().map(elements).sum::<usize>() > MOST_ELEMENTS {
            return Err(Unreadable::Elements);
        }
        let is = |member: &str, wanted: &str| review.get(member).and_then(Value::as_str) == Some(wanted);
        if !is("apiVersion", API_VERSION) || !is("kind", "AdmissionReview") {
            return Err(Unreadable::Version);
        }
        let Some(Value::Object(mut request)) = review.remove("request") else {
            return Err(Unreadable::Missing("request"));
        };
        let Some(Value::Object(kind)) = request.remove("kind") else {
            return Err(Unreadable::Missing("request.kind"));
        };
        let object = |request: &mut Map<String, Value>, name| request.remove(name).filter(Value::is_object);
        Ok(Self {
            uid: text(&request, "uid").ok_or(Unreadable::Missing("request.uid"))?,
            group: text(&kind, "group").unwrap_or_default(),
            kind: text(&kind, "kind").ok_or(Unreadable::Missing("request.kind.kind"))?,
            operation: text(&request, "operation").ok_or(Unreadable::Missing("request.operation"))?,
            namespace: text(&request, "namespace"),
            name: text(&request, "name"),
            object: object(&mut request, "object"),
            old_object: object(&mut request, "oldObject"),
        })
    }

    pub(super) fn answer(&self, verdict: &Verdict) -> Value {
        let mut response = json!({ "uid": self.uid, "allowed": verdict.refusal.is_none() });
        if let (Some(refusal), Some(response)) = (&verdict.refusal, response.as_object_mut()) {
            let status = json!({ "code": 422, "reason": "Invalid", "message": refusal });
            response.insert("status".to_owned(), status);
        }
        let warnings: Vec<_> = verdict.warnings.iter().take(MOST_WARNINGS).map(|warning| cut(warning)).collect();
        if let (false, Some(response)) = (warnings.is_empty(), response.as_object_mut()) {
            response.insert("warnings".to_owned(), warnings.into());
        }
        json!({ "apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response })
    }

    /// The same with what the object is changed by (RFC 6902), if anything.
    pub(super) fn answer_with(&self, verdict: &Verdict, patch: &[Value]) -> Value {
        let mut answer = self.answer(verdict);
        let response = answer.get_mut("response").and_then(Value::as_object_mut);
        if let (false, Some(response)) = (patch.is_empty(), response) {
            let patch = BASE64_STANDARD.encode(Value::from(patch).to_string());
            response.insert("patchType".to_owned(), "JSONPatch".into());
            response.insert("patch".to_owned(), patch.into());
        }
        answer
    }
}

fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn cut(warning: &str) -> String {
    if warning.len() <= LONGEST_WARNING {
        return warning.to_owned();
    }
    let end = warning.floor_char_boundary(LONGEST_WARNING - '…'.len_utf8());
    format!("{}…", warning.get(..end).unwrap_or_default())
}

/// How many elements the lists in it have.
fn elements(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.len() + list.iter().map(elements).sum::<usize>(),
        Value::Object(members) => members.values().map(elements).sum(),
        _ => 0,
    }
}
