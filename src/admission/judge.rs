//! What to say to an object: the conversions and checks of the roles, on the Directory as it would be with it.
//!
//! Flows in: a review, the snapshot, the time. Flows out: a refusal, warnings, or neither. Refused is what no other object can
//! make good, and what somebody else holds; what may come true later (an allowance, a grant, a policy that is applied next)
//! is a warning. What an object had wrong before, and has still, never stands in the way of changing something else.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_api::metadata::PAUSED;
use countersign_api::reasons::{Place, Reason};
use countersign_api::signingkey::Ring;
use countersign_api::{DEFAULT_ISSUER, GROUP, NamespaceAllowance, OAuthClient, ScopePolicy, SigningKey};
use countersign_core::bounds::AllowanceObject;
use countersign_core::client::ClientObject;
use countersign_core::directory::{Change, Directory, PolicyObject, reason};
use countersign_core::keyring::RefusedTimings;
use countersign_core::names::Namespace;
use countersign_core::policy::Problem;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::deletion;
use super::review::Review;
use super::rings::RingUse;
use crate::runtime::telemetry::chain;
use crate::snapshot::Snapshot;

/// What a judgement rests on.
pub(super) struct Premises<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) system_namespace: &'a Namespace,
    pub(super) rings: &'a RingUse,
    pub(super) now: Timestamp,
}

/// What is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) refusal: Option<String>,
    pub(super) warnings: Vec<String>,
}

/// What there is to say of one object.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

pub(super) fn judge(review: &Review, premises: &Premises<'_>) -> Verdict {
    let known = ["OAuthClient", "ScopePolicy", "NamespaceAllowance", "SigningKey"].contains(&review.kind.as_str());
    if review.group != GROUP || !known {
        let Review { group, kind, .. } = review;
        return Verdict::refuse(format!(
            "this webhook knows no {kind} of {group:?}: take it out of the webhook's rules"
        ));
    }
    match review.operation.as_str() {
        "CREATE" | "UPDATE" => written(review, premises),
        "DELETE" => deleted(review, premises),
        other => Verdict::refuse(format!("this webhook judges no {other}: take it out of the webhook's rules")),
    }
}

fn written(review: &Review, premises: &Premises<'_>) -> Verdict {
    let Some(object) = &review.object else {
        return Verdict::refuse("the review holds no object".to_owned());
    };
    if review.operation == "UPDATE" && review.old_object.is_none() {
        return Verdict::refuse("the review of an update holds no oldObject".to_owned());
    }
    let leaving = object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null());
    if leaving || !is_ours(object, premises) {
        return Verdict::default();
    }
    let found = match findings(review, object, premises) {
        Ok(found) => found,
        Err(error) => return Verdict::refuse(format!("it cannot be read: {error}")),
    };
    let before = review.old_object.as_ref().filter(|old| is_ours(old, premises));
    let before = before.and_then(|old| findings(review, old, premises).ok()).unwrap_or_default();
    let known: BTreeSet<_> = before.problems.iter().map(|problem| (problem.reason, &problem.message)).collect();
    let is_new = |problem: &&Problem| !known.contains(&(problem.reason, &problem.message)) && is_final(problem.reason);
    let refused: Vec<_> = found.problems.iter().filter(is_new).map(told).collect();
    if !refused.is_empty() {
        return Verdict::refuse(refused.join("; "));
    }
    let warnings = found.problems.iter().map(told).chain(found.warnings).collect();
    Verdict { refusal: None, warnings }
}

fn deleted(review: &Review, premises: &Premises<'_>) -> Verdict {
    let Some(object) = &review.old_object else {
        return Verdict::refuse("the review of a deletion holds no oldObject".to_owned());
    };
    let here = review.namespace.as_deref() == Some(premises.system_namespace.as_str());
    let goes_anyway = premises.snapshot.directory.is_ending(premises.system_namespace);
    if review.kind != "SigningKey" || !here || goes_anyway || !is_ours(object, premises) {
        return Verdict::default();
    }
    // The review of one of many that are deleted at once has no name of its own.
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    Verdict { refusal: name.and_then(|name| deletion::refusal(name, premises)), warnings: Vec::new() }
}

/// Whether nothing but a change of this object, or of the one that holds what it claims, makes this good.
fn is_final(name: &str) -> bool {
    ![reason::NOT_ALLOWED, reason::NOT_IMPLEMENTED].contains(&name)
}

/// Element, what is wrong, and what to do.
fn told(problem: &Problem) -> String {
    let Problem { element, reason: name, message } = problem;
    let next = Reason::find(name, Place::Element).map_or("", |found| found.next);
    let element = if element.is_empty() { String::new() } else { format!("{element}: ") };
    if next.is_empty() {
        format!("{element}{message} ({name})")
    } else {
        format!("{element}{message} ({name}): {next}")
    }
}

fn is_ours(object: &Value, premises: &Premises<'_>) -> bool {
    let issuer = object.pointer("/spec/issuer").and_then(Value::as_str).unwrap_or(DEFAULT_ISSUER);
    premises.snapshot.directory.settings().is_ours(Some(issuer))
}

fn findings(review: &Review, object: &Value, premises: &Premises<'_>) -> Result<Findings, String> {
    let directory = &*premises.snapshot.directory;
    let object = with_identity(object, premises.now);
    match review.kind.as_str() {
        "OAuthClient" => client(directory, &read(object)?),
        "ScopePolicy" => policy(directory, &read(object)?),
        "NamespaceAllowance" => allowance(&read(object)?),
        _ => signing_key(premises, &read(object)?),
    }
}

/// A dry run, and some API servers, ask before there is a UID and a time of creation.
fn with_identity(object: &Value, now: Timestamp) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
        if absent(metadata.get("uid")) {
            metadata.insert("uid".to_owned(), json!("not-created-yet"));
        }
        if absent(metadata.get("creationTimestamp")) {
            metadata.insert("creationTimestamp".to_owned(), json!(now));
        }
    }
    object
}

fn read<K: DeserializeOwned>(object: Value) -> Result<K, String> {
    serde_json::from_value(object).map_err(|error| error.to_string())
}

fn client(directory: &Directory, object: &OAuthClient) -> Result<Findings, String> {
    let client = ClientObject::try_from(object).map_err(|error| chain(&error))?;
    let name = client.object.clone();
    let after = directory.apply([Change::Client(name.clone(), Some(Arc::new(client)))]);
    let Some(view) = after.client_of(&name) else { return Ok(Findings::default()) };
    let problems = view.problems.iter().chain(&view.secret_conflict).cloned().collect();
    let refused = after.grants(view).refused.into_iter().map(|refused| {
        let meaning = Reason::find(refused.reason, Place::Scope).map_or("is not granted", |found| found.meaning);
        format!("{} of {} is not granted yet ({}): {meaning}", refused.scope, refused.audience, refused.reason)
    });
    let mut warnings: Vec<_> = refused.collect();
    if let Some(spec) = view.accepted().filter(|spec| !after.rings().any(|ring| *ring == spec.tokens.signing_key)) {
        let ring = &spec.tokens.signing_key;
        warnings.push(format!("there is no SigningKey {ring} yet: no token is issued before it is there"));
    }
    warnings.extend(paused(object.metadata.annotations.as_ref()));
    Ok(Findings { problems, warnings })
}

fn policy(directory: &Directory, object: &ScopePolicy) -> Result<Findings, String> {
    let policy = PolicyObject::try_from(object).map_err(|error| chain(&error))?;
    let name = policy.object.clone();
    let after = directory.apply([Change::Policy(name.clone(), Some(Arc::new(policy)))]);
    let Some(view) = after.policy(&name) else { return Ok(Findings::default()) };
    let mut warnings: Vec<_> =
        after.notes(view).iter().map(|note| format!("{}: {}", note.element, note.message)).collect();
    warnings.extend(paused(object.metadata.annotations.as_ref()));
    Ok(Findings { problems: view.problems.clone(), warnings })
}

fn allowance(object: &NamespaceAllowance) -> Result<Findings, String> {
    let allowance = AllowanceObject::try_from(object).map_err(|error| chain(&error))?;
    Ok(Findings { problems: allowance.problems, warnings: Vec::new() })
}

fn signing_key(premises: &Premises<'_>, object: &SigningKey) -> Result<Findings, String> {
    let mut problems = Vec::new();
    if object.metadata.namespace.as_deref() != Some(premises.system_namespace.as_str()) {
        let message = format!("a SigningKey counts in namespace {} only: make it there", premises.system_namespace);
        problems.push(Problem::new("metadata.namespace", reason::INVALID, message));
    }
    let ring = Ring::try_from(object).map_err(|error| chain(&error))?;
    problems.extend(ring.problems);
    if let Some(refused) = RefusedTimings::check(&ring.spec, &premises.snapshot.directory.settings().timings) {
        problems.push(Problem::new("spec.rotation", reason::INVALID, refused.to_string()));
    }
    Ok(Findings { problems, warnings: Vec::new() })
}

fn paused(annotations: Option<&std::collections::BTreeMap<String, String>>) -> Option<String> {
    let paused = annotations.and_then(|annotations| annotations.get(PAUSED)).is_some_and(|value| value == "true");
    paused.then(|| format!("nothing is written for it while the annotation {PAUSED} is there"))
}

impl Verdict {
    pub(super) fn refuse(refusal: String) -> Self {
        Self { refusal: Some(refusal), warnings: Vec::new() }
    }
}
