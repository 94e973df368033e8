//! One OAuth2Client as an OAuthClient.
//!
//! Flows in: an OAuth2Client, the Secrets, the command line. Flows out: what goes into the OAuthClient and around it, or
//! nothing where no client would be left, and everything that is not as it was.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_core::names::{Audience, ClientId, ObjectRef, ScopeName};
use serde_json::{Value, json};

use super::super::report::{Finding, Manifest, Reason, Severity};
use super::credentials::{self, Proof};
use super::draft::{Draft, Given};
use super::source::{HydraClient, KIND, Secrets};
use super::{Choices, ResourceServer, fields};
use crate::objects::Key;
use crate::objects::folder::documents::Place;
use crate::objects::layout::CLIENT;

/// The most scopes of an audience, and the most audiences.
const ACCESS_MAX: usize = 64;
/// Scopes of OpenID Connect and of refresh tokens, which open nothing at a resource server.
const PROTOCOL_SCOPES: [&str; 3] = ["openid", "offline", "offline_access"];

/// A client that is printed.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) object: ObjectRef,
    pub(super) place: Place,
    pub(super) client_id: ClientId,
    /// The Secret it takes over.
    pub(super) secret: Option<String>,
    pub(super) access: Vec<Wants>,
    pub(super) lifetime: Option<Duration>,
    pub(super) grants: Vec<&'static str>,
    pub(super) redirects: Vec<String>,
    value: Value,
}

/// What it asks of an audience.
#[derive(Clone, Debug)]
pub(super) struct Wants {
    pub(super) audience: Audience,
    pub(super) scopes: Vec<ScopeName>,
    /// Who serves it, where that was said.
    pub(super) server: Option<ResourceServer>,
    /// Where it is written.
    pub(super) place: Place,
}

/// What is told of one OAuth2Client.
pub(super) struct Tell<'a> {
    pub(super) client: &'a HydraClient,
    pub(super) findings: Vec<Finding>,
}

// === impl Tell ===

impl Tell<'_> {
    pub(super) fn problem(&mut self, field: &str, reason: Reason, message: impl Into<String>, next: impl Into<String>) {
        self.say(Severity::Problem, field, reason, (message.into(), next.into()));
    }

    pub(super) fn note(&mut self, field: &str, reason: Reason, message: impl Into<String>, next: impl Into<String>) {
        self.say(Severity::Note, field, reason, (message.into(), next.into()));
    }

    pub(super) fn say(&mut self, severity: Severity, field: &str, reason: Reason, (message, next): (String, String)) {
        let object = Some((KIND, Key::from(&self.client.object)));
        let place = self.client.place(field);
        self.findings.push(Finding { severity, place, object, field: field.to_owned(), reason, message, next });
    }

    /// The texts of a list in the spec, each with its field.
    pub(super) fn texts(&mut self, name: &str) -> Vec<Given> {
        let (field, client) = (format!("spec.{name}"), self.client);
        let items = match client.spec.get(name) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.problem(&field, Reason::Invalid, "must be a list", "correct it and run this again");
                return Vec::new();
            }
        };
        let mut texts: Vec<Given> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let field = format!("{field}[{index}]");
            match item.as_str() {
                Some(text) if texts.iter().any(|given| given.text == text) => {}
                Some(text) => texts.push(Given { text: text.to_owned(), field }),
                None => self.problem(&field, Reason::Invalid, "must be text", "correct it and run this again"),
            }
        }
        texts
    }

    /// A text of the spec, where there is one.
    pub(super) fn text(&mut self, name: &str) -> Option<Given> {
        let (field, client) = (format!("spec.{name}"), self.client);
        match client.spec.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) => Some(Given { text: text.clone(), field }),
            Some(_) => {
                self.problem(&field, Reason::Invalid, "must be text", "correct it and run this again");
                None
            }
        }
    }
}

/// What becomes of an OAuth2Client.
pub(super) fn map(client: &HydraClient, secrets: &Secrets, choices: &Choices) -> (Option<Mapped>, Vec<Finding>) {
    let mut tell = Tell { client, findings: Vec::new() };
    let mapped = one(client, secrets, choices, &mut tell);
    (mapped, tell.findings)
}

fn one(client: &HydraClient, secrets: &Secrets, choices: &Choices, tell: &mut Tell<'_>) -> Option<Mapped> {
    let grants = fields::grant_types(tell);
    fields::without_counterpart(tell, &grants);
    metadata(tell, choices);
    let display_name = fields::display_name(tell);
    let lifetime = fields::lifetime(tell, &grants);
    let redirects = fields::redirect_uris(tell);
    let opaque = fields::is_opaque(tell);
    let access = access(tell, choices);
    let proof = credentials::proof(tell, &client.object);
    let client_id = credentials::client_id(tell, (secrets, choices), proof.as_ref())?;
    let draft = Draft {
        object: client.object.clone(),
        issuer: choices.issuer.clone(),
        client_id: client_id.clone(),
        display_name,
        grants,
        access: access.clone(),
        redirects,
        method: proof.as_ref()?.method(choices),
        lifetime,
        opaque,
    };
    let (draft, value) = draft.settle(tell)?;
    Some(Mapped {
        object: client.object.clone(),
        place: client.place(""),
        client_id,
        secret: proof.and_then(Proof::into_secret),
        access,
        lifetime,
        grants: draft.grants.iter().map(|(word, _)| *word).collect(),
        redirects: draft.redirects.into_iter().map(|given| given.text).collect(),
        value,
    })
}

fn metadata(tell: &mut Tell<'_>, choices: &Choices) {
    if !tell.client.says_namespace {
        let message = format!("it names no namespace, so {} is taken", choices.namespace);
        tell.note("metadata", Reason::Missing, message, "give --namespace if it lies in another");
    }
    let names = |field: &str| {
        let map = tell.client.metadata.get(field).and_then(Value::as_object);
        let names = map.into_iter().flatten().map(|(name, _)| name.clone());
        names.filter(|name| !is_a_tools_own(name)).collect::<Vec<_>>()
    };
    for field in ["labels", "annotations"] {
        let names = names(field);
        if !names.is_empty() {
            let message = format!("{} are not taken over: {}", field, names.join(", "));
            let next = "add those that people or tools look for to the printed OAuthClient";
            tell.note(&format!("metadata.{field}"), Reason::NoCounterpart, message, next);
        }
    }
}

/// Labels and annotations by which a tool knows its own objects.
fn is_a_tools_own(name: &str) -> bool {
    let domain = name.split_once('/').map_or("", |(domain, _)| domain);
    ["kubernetes.io", "helm.sh", "fluxcd.io", "argoproj.io"].iter().any(|tool| domain.ends_with(tool))
        || name == "heritage"
        || name == "release"
        || name == "chart"
}

/// What it may ask for. Hydra grants every scope at every audience; here each audience has its own.
fn access(tell: &mut Tell<'_>, choices: &Choices) -> Vec<Wants> {
    let scopes = scopes(tell);
    let mut given = tell.texts("audience");
    if given.is_empty() && !scopes.is_empty() {
        if let Some(audience) = &choices.default_audience {
            given.push(Given { text: audience.to_string(), field: "spec".to_owned() });
        } else {
            let message = "its scopes are for no audience, and here each belongs to one: it is printed without access";
            let next = "name the resource server they are for with --default-audience, or in spec.audience";
            tell.problem("spec.audience", Reason::Missing, message, next);
        }
    }
    if scopes.is_empty() && !given.is_empty() {
        let message =
            "it names audiences and no scope, and a token here has at least one: it is printed without access";
        tell.problem("spec.audience", Reason::Missing, message, "name scopes in spec.scopeArray and run this again");
        return Vec::new();
    }
    let mut wants: Vec<Wants> = Vec::new();
    for given in bounded(tell, given, "audiences") {
        let Some((audience, server)) = audience(tell, &given, choices) else { continue };
        if !wants.iter().any(|other| other.audience == audience) {
            wants.push(Wants { audience, server, scopes: scopes.clone(), place: tell.client.place(&given.field) });
        }
    }
    if let [first, _, ..] = wants.as_slice() {
        let message = format!(
            "Hydra lets every scope go with every audience, so each is printed with all scopes; a token request that names \
             no audience gets one for {}",
            first.audience
        );
        let next = "remove the scopes an audience does not have, and write the usual audience into defaultAudience";
        tell.note("spec.audience", Reason::Changed, message, next);
    }
    wants
}

fn audience(tell: &mut Tell<'_>, given: &Given, choices: &Choices) -> Option<(Audience, Option<ResourceServer>)> {
    let server = choices.resource_servers.get(&given.text).cloned();
    match (Audience::new(&given.text), server) {
        (Ok(audience), server) => Some((audience, server)),
        (Err(_), Some(server)) => {
            let audience = Audience::new(&format!("https://{}.{}.svc", server.service, server.namespace)).ok()?;
            let message = format!("{:?} is no URI; its tokens are for {audience}", given.text);
            let next = "have its callers ask for that audience, and its resource server expect it in aud";
            tell.note(&given.field, Reason::Changed, message, next);
            Some((audience, Some(server)))
        }
        (Err(_), None) => {
            let message = format!("{:?} is no absolute URI, as audiences are here; it is left out", given.text);
            let next = format!("say which Service it is: --resource-server '{}=NAMESPACE/SERVICE'", given.text);
            tell.problem(&given.field, Reason::Changed, message, next);
            None
        }
    }
}

/// The scopes it asks for, of both fields, that mean something here.
fn scopes(tell: &mut Tell<'_>) -> Vec<ScopeName> {
    let mut given = tell.texts("scopeArray");
    if let Some(Given { text, field }) = tell.text("scope") {
        given.extend(text.split_whitespace().map(|text| Given { text: text.to_owned(), field: field.clone() }));
    }
    let mut scopes: Vec<ScopeName> = Vec::new();
    for Given { text, field } in bounded(tell, given, "scopes") {
        if PROTOCOL_SCOPES.contains(&text.as_str()) {
            let message =
                format!("{text} is about people's logins, and opens nothing at a resource server; it is left out");
            tell.note(&field, Reason::NoCounterpart, message, "nothing, unless the client logs people in");
        } else if text.contains('*') {
            let message = format!("{text} is a pattern, and scopes here are names; it is left out");
            let next = "name each scope the client needs in spec.scopeArray and run this again";
            tell.problem(&field, Reason::Changed, message, next);
        } else {
            match ScopeName::new(&text) {
                Ok(scope) if scopes.contains(&scope) => {}
                Ok(scope) => scopes.push(scope),
                Err(error) => {
                    let next = "choose another name for it and run this again";
                    tell.problem(&field, Reason::Invalid, format!("{error}; it is left out"), next);
                }
            }
        }
    }
    scopes
}

fn bounded(tell: &mut Tell<'_>, mut given: Vec<Given>, what: &str) -> Vec<Given> {
    if let Some(Given { field, .. }) = given.get(ACCESS_MAX).cloned() {
        let message = format!(
            "a client has at most {ACCESS_MAX} {what}; this and the {} after it are left out",
            given.len() - ACCESS_MAX - 1
        );
        tell.problem(&field, Reason::Changed, message, "divide them among several clients");
        given.truncate(ACCESS_MAX);
    }
    given
}

/// Of clients with one id, or one Secret, only the first can be had.
pub(super) fn drop_rivals(clients: &mut Vec<Mapped>) -> Vec<Finding> {
    let mut held: BTreeMap<String, ObjectRef> = BTreeMap::new();
    let mut findings = Vec::new();
    clients.retain(|client| {
        let id = format!("client id {}", client.client_id);
        let secret = client.secret.as_ref().map(|name| format!("Secret {}/{name}", client.object.namespace));
        let rival = [Some(&id), secret.as_ref()].into_iter().flatten().find_map(|what| held.get_key_value(what));
        if let Some((what, first)) = rival {
            findings.push(Finding {
                severity: Severity::Problem,
                place: client.place.clone(),
                object: Some((KIND, Key::from(&client.object))),
                field: String::new(),
                reason: Reason::Changed,
                message: format!("{first} has {what} already; this one is not printed"),
                next: "give what both may do to that one, and have both applications use it; or make this a client of its own"
                    .to_owned(),
            });
            return false;
        }
        held.extend([Some(id), secret].into_iter().flatten().map(|what| (what, client.object.clone())));
        true
    });
    findings
}

// === impl Mapped ===

impl Mapped {
    /// The OAuthClient, and the command that lets it take the Secret over.
    pub(super) fn manifest(&self) -> Manifest {
        let ObjectRef { namespace, name } = &self.object;
        let mut comment = vec![format!("{KIND} {} of {}.", self.object, self.place)];
        let command = self.secret.as_ref().map(|secret| {
            comment.push(format!(
                "First let it have Secret {secret}, and keep that when the {KIND} is deleted (an ownerReference would not):"
            ));
            // Null takes a member away (RFC 7386).
            let patch = json!({"metadata": {"annotations": {CLIENT: name.as_str()}, "ownerReferences": null}});
            format!("kubectl patch secret {secret} -n {namespace} --type merge -p '{patch}'")
        });
        Manifest { object: self.value.clone(), comment, command }
    }
}
