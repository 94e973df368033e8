//! Manifests: YAML files of the kinds and of Namespaces, as people write them for a cluster.
//!
//! Flows in: folders and files. Flows out: the whole set, or every reason why it cannot be read, each with its file, line
//! and field. Objects of other kinds are passed over: the same folder may feed a cluster.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_api::{NamespaceAllowance, OAuthClient, ScopePolicy, SigningKey};
use countersign_core::names::{Namespace as NamespaceName, ObjectName};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Key, Object};
use super::disk::{self, Trace};
use super::documents::{self, Document};
pub use super::documents::{Fields, Place, Problem};
use super::files::Found;
use super::state::{Kind, set_meta};
use super::yaml::{field_at, first_line, line_of};

/// The largest object (the API server's own limit is higher).
const LARGEST_OBJECT: usize = 256 << 10;
/// More problems than these tell nobody more.
const MOST_PROBLEMS: usize = 20;
/// The label the API server puts on every Namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// One object of the manifests.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub(super) kind: Kind,
    /// Which object.
    pub key: Key,
    /// The object as JSON.
    pub object: Value,
    pub place: Place,
    /// As it is written.
    text: Arc<str>,
}

impl Manifest {
    /// The kind's name, such as `OAuthClient`.
    pub fn kind(&self) -> &str {
        &self.kind.name
    }

    /// Whether somebody wrote it, rather than its being taken for granted, as the namespaces of objects are.
    pub fn is_written(&self) -> bool {
        !self.text.is_empty()
    }

    /// Where its fields stand.
    pub fn fields(&self) -> Fields {
        Fields::of(&self.text, &self.place)
    }
}

/// Everything found in some folders, files and texts.
#[derive(Debug, Default)]
pub struct Survey {
    /// What can be read, in order. With problems it is less than what was meant.
    pub manifests: Vec<Manifest>,
    pub problems: Vec<Problem>,
    /// Kind and name of the objects with problems, where they can be read so far. Some of them are among the manifests.
    pub flawed: Vec<(String, Key)>,
    /// How many files and texts were read.
    pub files: usize,
    /// How many objects of other kinds were passed over.
    pub others: usize,
    /// Whether trying again may help although nothing is edited.
    pub(super) may_pass: bool,
}

/// Why the set cannot be read, or is not in force as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Unreadable {
    pub problems: Vec<Problem>,
    /// Trying again may help although nothing is edited: a disk failed, or another object is in the way.
    pub may_pass: bool,
}

impl Unreadable {
    /// One more problem; beyond a number nobody reads, they are only one more.
    pub(super) fn blame(&mut self, place: Place, field: String, message: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem { place, field, message });
        }
    }
}

/// What is wrong with an object, and the line where the YAML itself can be blamed.
type Fault = (String, Option<usize>);

/// A kind that manifests may hold.
struct Known {
    kind: Kind,
    api_version: String,
    namespaced: bool,
    /// Why the object is not of its kind.
    check: fn(&str, &Value) -> Option<Fault>,
}

impl Known {
    fn new<K: Object>(namespaced: bool) -> Self {
        Self { kind: Kind::of::<K>(), api_version: K::api_version(&()).into_owned(), namespaced, check: check::<K> }
    }
}

fn known() -> Vec<Known> {
    vec![
        Known::new::<Namespace>(false),
        Known::new::<NamespaceAllowance>(false),
        Known::new::<OAuthClient>(true),
        Known::new::<ScopePolicy>(true),
        Known::new::<Secret>(true),
        Known::new::<SigningKey>(true),
    ]
}

/// The kinds, as the store files them.
pub(super) fn kinds() -> Vec<Kind> {
    known().into_iter().map(|known| known.kind).collect()
}

fn check<K: Object>(text: &str, object: &Value) -> Option<Fault> {
    let error = K::deserialize(object).err()?;
    let secret = K::kind(&()) == "Secret";
    match serde_saphyr::from_str::<K>(text) {
        Err(error) if !secret => Some((first_line(&error), line_of(&error))),
        Err(error) => Some(("is not a Secret".to_owned(), line_of(&error))),
        Ok(_) => Some((error.to_string(), None)),
    }
}

/// Changes whenever a file of the folder does.
pub(super) fn trace(dir: &Path) -> Trace {
    let found = Found::below(&[dir.to_owned()]);
    disk::trace(found.files.into_iter().chain([dir.to_owned()]))
}

/// Reads all manifests of the folders and files, whole or not at all.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>, Unreadable> {
    let Survey { manifests, problems, may_pass, .. } = survey(paths, &[]);
    let mut unreadable = Unreadable { problems: Vec::new(), may_pass };
    for Problem { place, field, message } in problems {
        unreadable.blame(place, field, message);
    }
    if unreadable.problems.is_empty() { Ok(manifests) } else { Err(unreadable) }
}

/// Reads what can be read of the folders and files, and of texts under a name each, and says what cannot.
pub fn survey(paths: &[PathBuf], texts: &[(PathBuf, String)]) -> Survey {
    let mut reader = Reader { known: known(), seen: HashMap::new(), found: Survey::default() };
    let tally = documents::read(paths, texts, &mut |document| match document {
        Ok(document) => reader.document(document),
        Err(problem) => reader.found.problems.push(problem),
    });
    (reader.found.files, reader.found.may_pass) = (tally.files, tally.may_pass);
    reader.add_namespaces();
    reader.found
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
}

struct Reader {
    known: Vec<Known>,
    seen: HashMap<(String, Key), Place>,
    found: Survey,
}

impl Reader {
    fn document(&mut self, Document { place, text, value }: Document) {
        let Ok(Head { api_version: Some(api_version), kind: Some(kind) }) = Head::deserialize(&value) else {
            return self.blame(place, String::new(), "apiVersion and kind are missing".to_owned());
        };
        let Some(at) = self.known.iter().position(|k| k.api_version == api_version && k.kind.name == kind) else {
            self.found.others += 1;
            if api_version.starts_with("countersign.dev/") {
                let message = format!("{api_version} {kind} is not known to this version");
                self.blame(place, "kind".to_owned(), message);
            }
            return;
        };
        if text.len() > LARGEST_OBJECT {
            return self.blame(place, String::new(), format!("the object is larger than {LARGEST_OBJECT} bytes"));
        }
        self.object(place, &text, at, value);
    }

    fn object(&mut self, place: Place, text: &str, at: usize, mut value: Value) {
        let Some(known) = self.known.get(at) else { return };
        let violations = countersign_api::violations(&known.kind.name, &value);
        let unreadable = (known.check)(text, &value);
        let (kind, namespaced) = (known.kind.clone(), known.namespaced);
        if !violations.is_empty() || unreadable.is_some() {
            self.found.flawed.extend(key(&value, namespaced).ok().map(|key| (kind.name.clone(), key)));
        }
        if !violations.is_empty() {
            let fields = Fields::of(text, &place);
            for found in violations {
                self.blame(fields.place(&found.field), found.field, found.message);
            }
            if unreadable.is_some() {
                return;
            }
        } else if let Some((message, line)) = unreadable {
            let field = line.map(|line| field_at(text, line)).unwrap_or_default();
            return self.blame(Place { line: place.line + line.unwrap_or(1) - 1, ..place }, field, message);
        }
        let key = match key(&value, namespaced) {
            Ok(key) => key,
            Err((field, message)) => return self.blame(field_place(&place, text, field), field.to_owned(), message),
        };
        complete(&kind, &key, &mut value);
        if let Some(bad) = bad_data_key(&value) {
            let message = format!("{bad:?} is no data key: {}", disk::DATA_KEY);
            return self.blame(field_place(&place, text, "data"), "data".to_owned(), message);
        }
        if let Some(earlier) = self.seen.insert((kind.table.clone(), key.clone()), place.clone()) {
            let message = format!("{} {key} is also written at {earlier}", kind.name);
            self.found.flawed.push((kind.name, key));
            return self.blame(field_place(&place, text, "metadata.name"), "metadata.name".to_owned(), message);
        }
        self.found.manifests.push(Manifest { kind, key, object: value, place, text: text.into() });
    }

    fn blame(&mut self, place: Place, field: String, message: String) {
        self.found.problems.push(Problem { place, field, message });
    }

    /// A namespace that objects lie in exists, as it would have to in a cluster.
    fn add_namespaces(&mut self) {
        let kind = Kind::of::<Namespace>();
        let set = &mut self.found.manifests;
        let used: Vec<_> = set.iter().filter_map(|m| Some((m.key.namespace.clone()?, m.place.clone()))).collect();
        for (namespace, place) in used {
            let key = Key::cluster(&namespace);
            if self.seen.insert((kind.table.clone(), key.clone()), place.clone()).is_none() {
                let mut object = json!({"apiVersion": "v1", "kind": "Namespace"});
                complete(&kind, &key, &mut object);
                set.push(Manifest { kind: kind.clone(), key, object, place, text: Arc::default() });
            }
        }
    }
}

/// What the API server would add.
fn complete(kind: &Kind, key: &Key, object: &mut Value) {
    set_meta(object, "name", (*key.name).into());
    if let Some(namespace) = &key.namespace {
        set_meta(object, "namespace", (**namespace).into());
    }
    if kind.table == "namespaces" {
        let mut labels = object.pointer("/metadata/labels").cloned().filter(Value::is_object).unwrap_or(json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(NAMESPACE_NAME.to_owned(), (*key.name).into());
        }
        set_meta(object, "labels", labels);
    }
    if kind.table == "secrets" {
        encode_string_data(object);
    }
    if let Some(fields) = object.as_object_mut().filter(|_| kind.has_status) {
        fields.remove("status");
    }
}

fn encode_string_data(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else { return };
    let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
    let Some(data) = fields.entry("data").or_insert_with(|| json!({})).as_object_mut() else { return };
    for (name, text) in texts {
        data.insert(name, STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
}

fn key(object: &Value, namespaced: bool) -> Result<Key, (&'static str, String)> {
    let text = |field: &str| object.pointer(field).and_then(Value::as_str);
    let name = ObjectName::new(text("/metadata/name").unwrap_or(""));
    let name = name.map_err(|error| ("metadata.name", error.to_string()))?;
    if !namespaced {
        return Ok(Key::cluster(name.as_str()));
    }
    let namespace = NamespaceName::new(text("/metadata/namespace").unwrap_or("default"));
    let namespace = namespace.map_err(|error| ("metadata.namespace", error.to_string()))?;
    Ok(Key::namespaced(namespace.as_str(), name.as_str()))
}

fn field_place(place: &Place, text: &str, field: &str) -> Place {
    Fields::of(text, place).place(field)
}

/// Data keys become file names. A bad one is found here, while the whole set can still be refused.
fn bad_data_key(object: &Value) -> Option<&str> {
    let data = object.get("data").and_then(Value::as_object)?;
    data.keys().map(String::as_str).find(|key| !disk::is_data_key(key))
}
