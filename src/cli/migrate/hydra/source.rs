//! The OAuth2Clients and Secrets among the documents of files.
//!
//! Flows in: documents, Lists of kubectl among them. Flows out: each OAuth2Client with the places of its fields, and of each
//! Secret its client id and whether its value may be kept. The value itself goes no further than this file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::client_secret::is_hard_to_guess;
use countersign_core::names::{Namespace, ObjectName, ObjectRef};
use serde_json::{Map, Value};

use super::super::report::{Finding, Reason, Severity};
use super::Choices;
use crate::objects::Key;
use crate::objects::folder::documents::{self, Document, Fields, Place};

/// What hydra-maester calls a client.
pub(super) const KIND: &str = "OAuth2Client";
const GROUP: &str = "hydra.ory.sh/";
const VERSION: &str = "hydra.ory.sh/v1alpha1";

/// Everything of interest in the files.
pub(super) struct Source {
    pub(super) clients: Vec<HydraClient>,
    pub(super) secrets: Secrets,
    pub(super) findings: Vec<Finding>,
    pub(super) files: usize,
}

/// The Secrets among the files.
pub(super) type Secrets = BTreeMap<ObjectRef, Credentials>;

/// What is known of a Secret.
#[derive(Debug)]
pub(super) struct Credentials {
    /// None: there is no such key, or no text under it.
    pub(super) client_id: Option<String>,
    /// Whether the secret value may be kept; none: there is none.
    pub(super) strong: Option<bool>,
}

/// An OAuth2Client as it was found.
#[derive(Debug)]
pub(super) struct HydraClient {
    pub(super) object: ObjectRef,
    pub(super) metadata: Map<String, Value>,
    pub(super) spec: Map<String, Value>,
    /// Whether it says itself in which namespace it is.
    pub(super) says_namespace: bool,
    at: At,
}

/// Where an object stands: in a document by itself, or in a List.
#[derive(Clone, Debug)]
struct At {
    fields: Rc<Fields>,
    prefix: String,
}

impl At {
    fn place(&self, field: &str) -> Place {
        if self.prefix.is_empty() {
            return self.fields.place(field);
        }
        let dot = if field.is_empty() { "" } else { "." };
        self.fields.place(&format!("{}{dot}{field}", self.prefix))
    }
}

impl HydraClient {
    pub(super) fn place(&self, field: &str) -> Place {
        self.at.place(field)
    }
}

pub(super) fn read(paths: &[PathBuf], texts: &[(PathBuf, String)], choices: &Choices) -> Source {
    let source = Source { clients: Vec::new(), secrets: BTreeMap::new(), findings: Vec::new(), files: 0 };
    let mut reader = Reader { choices, source };
    let tally = documents::read(paths, texts, &mut |document| match document {
        Ok(document) => reader.document(&document),
        Err(documents::Problem { place, field, message }) => reader.blame(place, None, &field, message),
    });
    let mut source = reader.source;
    source.files = tally.files;
    if source.clients.is_empty() {
        source.findings.push(Finding {
            severity: Severity::Problem,
            place: Place { file: "(files)".into(), line: 0 },
            object: None,
            field: String::new(),
            reason: Reason::Missing,
            message: format!("there is no {KIND} of {VERSION} in them that can be read"),
            next: "give the files, or kubectl get oauth2clients.hydra.ory.sh -A -o yaml".to_owned(),
        });
    }
    source
}

struct Reader<'a> {
    choices: &'a Choices,
    source: Source,
}

impl Reader<'_> {
    fn document(&mut self, document: &Document) {
        let at = At { fields: Rc::new(document.fields()), prefix: String::new() };
        let items = document.value.get("items").and_then(Value::as_array);
        let is_list = document.value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        let Some(items) = items.filter(|_| is_list) else { return self.object(&at, &document.value) };
        for (index, item) in items.iter().enumerate() {
            self.object(&At { prefix: format!("items[{index}]"), ..at.clone() }, item);
        }
    }

    fn object(&mut self, at: &At, object: &Value) {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version.is_empty() || kind.is_empty() {
            return self.blame(at.place(""), None, "", "apiVersion and kind are missing".to_owned());
        }
        match (version, kind) {
            (VERSION, KIND) => self.client(at, object),
            ("v1", "Secret") => self.secret(at, object),
            _ if version.starts_with(GROUP) => {
                self.blame(at.place("kind"), None, "kind", format!("{version} {kind} is not known to this version"));
            }
            _ => {}
        }
    }

    fn client(&mut self, at: &At, object: &Value) {
        let Some(name) = self.key(at, object) else { return };
        let map = |field| object.get(field).and_then(Value::as_object).cloned();
        let Some(spec) = map("spec") else {
            return self.blame(at.place("spec"), Some(&name), "spec", "must be there, and an object".to_owned());
        };
        if self.source.clients.iter().any(|client| client.object == name) {
            let message = "the same object comes twice; the first counts".to_owned();
            return self.blame(at.place("metadata.name"), Some(&name), "metadata.name", message);
        }
        let metadata = map("metadata").unwrap_or_default();
        let says_namespace = metadata.contains_key("namespace");
        self.source.clients.push(HydraClient { object: name, metadata, spec, says_namespace, at: at.clone() });
    }

    fn secret(&mut self, at: &At, object: &Value) {
        let Some(name) = self.key(at, object) else { return };
        let client_id = entry(object, &self.choices.client_id_key);
        let strong = entry(object, &self.choices.client_secret_key).map(|value| is_hard_to_guess(&value));
        self.source.secrets.insert(name, Credentials { client_id, strong });
    }

    fn key(&mut self, at: &At, object: &Value) -> Option<ObjectRef> {
        let text = |field: &str| object.pointer(field).map(|value| value.as_str().unwrap_or_default());
        let name = ObjectName::new(text("/metadata/name").unwrap_or_default());
        let namespace = text("/metadata/namespace").map_or(Ok(self.choices.namespace.clone()), Namespace::new);
        match (name, namespace) {
            (Ok(name), Ok(namespace)) => Some(ObjectRef { namespace, name }),
            (Err(error), _) => {
                self.blame(at.place("metadata.name"), None, "metadata.name", error.to_string());
                None
            }
            (_, Err(error)) => {
                self.blame(at.place("metadata.namespace"), None, "metadata.namespace", error.to_string());
                None
            }
        }
    }

    fn blame(&mut self, place: Place, object: Option<&ObjectRef>, field: &str, message: String) {
        self.source.findings.push(Finding {
            severity: Severity::Problem,
            place,
            object: object.map(|object| (KIND, Key::from(object))),
            field: field.to_owned(),
            reason: Reason::Invalid,
            message,
            next: "correct it and run this again; the rest was read all the same".to_owned(),
        });
    }
}

/// An entry of a Secret, where it is text.
fn entry(secret: &Value, key: &str) -> Option<String> {
    let of = |field: &str| secret.get(field)?.get(key)?.as_str();
    // What is written as text counts, as with the API server.
    if let Some(text) = of("stringData") {
        return Some(text.to_owned());
    }
    String::from_utf8(STANDARD.decode(of("data")?.trim()).ok()?).ok()
}
