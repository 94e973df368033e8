//! The OAuthClient on its way: everything that has a place in it, and then what of that this version implements.
//!
//! Flows in: a draft. Flows out: its manifest, less what the core says is not implemented, each such part told. So this
//! file needs no list of what is implemented.

use std::time::Duration;

use countersign_api::OAuthClient;
use countersign_core::client::ClientObject;
use countersign_core::directory::reason;
use countersign_core::names::{ClientId, ObjectRef};
use countersign_core::policy::Problem;
use serde_json::{Map, Value, json};

use super::super::report::Reason;
use super::client::{Tell, Wants};

/// A text as it was written, and its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) field: String,
}

/// What an OAuthClient is to be.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) object: ObjectRef,
    pub(super) issuer: String,
    pub(super) client_id: ClientId,
    pub(super) display_name: Option<String>,
    /// In our words, each with its field.
    pub(super) grants: Vec<(&'static str, String)>,
    pub(super) access: Vec<Wants>,
    pub(super) redirects: Vec<Given>,
    pub(super) method: Value,
    pub(super) lifetime: Option<Duration>,
    /// Where opaque tokens are asked for.
    pub(super) opaque: Option<String>,
}

const METHOD: &str = "spec.authentication.methods[0].type";

impl Draft {
    /// The draft as this version can have it, and its manifest; none where no client is left.
    pub(super) fn settle(mut self, tell: &mut Tell<'_>) -> Option<(Self, Value)> {
        loop {
            let value = self.value();
            let problems = problems(&value);
            if problems.is_empty() {
                return Some((self, value));
            }
            let before = self.parts();
            self.shed(&problems, tell)?;
            if self.parts() == before {
                return None;
            }
        }
    }

    /// How much there is left to shed.
    fn parts(&self) -> usize {
        self.grants.len() + self.redirects.len() + usize::from(self.opaque.is_some())
    }

    /// Takes away what is not implemented; none where that is too much, or something else is wrong.
    fn shed(&mut self, problems: &[Problem], tell: &mut Tell<'_>) -> Option<()> {
        let not_built = |problem: &&Problem| problem.reason == reason::NOT_IMPLEMENTED;
        for problem in problems.iter().filter(|problem| !not_built(problem)) {
            let message = format!(
                "as an OAuthClient it would be wrong at {}: {}; it is not printed",
                problem.element, problem.message
            );
            tell.problem("", Reason::Invalid, message, "correct what is written there and run this again");
        }
        if !problems.iter().all(|problem| not_built(&problem)) {
            return None;
        }
        let names = |element: &str| problems.iter().find(|problem| problem.element == element);
        if let Some(problem) = names(METHOD) {
            let next =
                "use a client secret (tokenEndpointAuthMethod: client_secret_basic), or leave this client where it is";
            let message = format!("{}; the client is not printed", problem.message);
            tell.problem("spec.tokenEndpointAuthMethod", Reason::NotImplemented, message, next);
            return None;
        }
        let mut index = 0;
        self.grants.retain(|(word, field)| {
            let problem = names(&format!("spec.grantTypes[{index}]"));
            index += 1;
            if problem.is_some() {
                let message = format!("this version does not implement {word}; it is left out");
                tell.problem(field, Reason::NotImplemented, message, "leave what logs people in where it is for now");
            }
            problem.is_none()
        });
        if names("spec.redirectUris").is_some() && !self.redirects.is_empty() {
            let message = "this version does not send people's browsers back anywhere; they are left out";
            tell.problem(
                "spec.redirectUris",
                Reason::NotImplemented,
                message,
                "leave what logs people in where it is for now",
            );
            self.redirects.clear();
        }
        if let Some(field) = self.opaque.clone().filter(|_| names("spec.tokens.format").is_some()) {
            let message = "this version does not implement opaque tokens; its tokens are signed (JWT)";
            let next =
                "nothing, if its resource servers ask for introspection, which knows both; else have them check JWTs";
            tell.problem(&field, Reason::NotImplemented, message, next);
            self.opaque = None;
        }
        if self.grants.is_empty() {
            let message = "no way to get tokens is left, so it is not printed";
            tell.problem("spec.grantTypes", Reason::NotImplemented, message, "leave this client where it is for now");
            return None;
        }
        Some(())
    }

    fn value(&self) -> Value {
        let ObjectRef { namespace, name } = &self.object;
        let mut spec = Map::new();
        let mut set = |field: &str, value: Value| drop(spec.insert(field.to_owned(), value));
        if self.issuer != countersign_api::DEFAULT_ISSUER {
            set("issuer", json!(self.issuer));
        }
        if self.client_id.as_str() != format!("{namespace}.{name}") {
            set("clientId", json!(self.client_id));
        }
        if let Some(name) = &self.display_name {
            set("displayName", json!(name));
        }
        let grants: Vec<_> = self.grants.iter().map(|(word, _)| *word).collect();
        if grants != ["ClientCredentials"] {
            set("grantTypes", json!(grants));
        }
        if let Some(first) = self.access.first() {
            let entry = |wants: &Wants| json!({"audience": wants.audience, "scopes": wants.scopes});
            set("access", self.access.iter().map(entry).collect());
            if self.access.len() > 1 {
                set("defaultAudience", json!(first.audience));
            }
        }
        if !self.redirects.is_empty() {
            set("redirectUris", self.redirects.iter().map(|given| json!(given.text)).collect());
        }
        set("authentication", json!({"methods": [self.method]}));
        let mut tokens = Map::new();
        if let Some(lifetime) = self.lifetime {
            let lifetime = countersign_api::Duration::from(lifetime);
            tokens.insert("accessTokenLifetime".to_owned(), json!(lifetime.to_string()));
        }
        if self.opaque.is_some() {
            tokens.insert("format".to_owned(), json!("Opaque"));
        }
        if !tokens.is_empty() {
            set("tokens", Value::Object(tokens));
        }
        json!({
            "apiVersion": "countersign.dev/v1alpha1",
            "kind": "OAuthClient",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        })
    }
}

/// What the core has against it, and before that the schema.
fn problems(value: &Value) -> Vec<Problem> {
    let violations = countersign_api::violations("OAuthClient", value);
    if !violations.is_empty() {
        let problem = |found: countersign_api::Violation| Problem::new(found.field, reason::INVALID, found.message);
        return violations.into_iter().map(problem).collect();
    }
    let mut value = value.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        // What an API server would have given it.
        metadata.insert("uid".to_owned(), json!("00000000-0000-4000-8000-000000000000"));
        metadata.insert("creationTimestamp".to_owned(), json!("1970-01-01T00:00:00Z"));
    }
    let unreadable = |message: String| vec![Problem::new("", reason::INVALID, message)];
    let client = match serde_json::from_value::<OAuthClient>(value) {
        Ok(client) => client,
        Err(error) => return unreadable(error.to_string()),
    };
    match ClientObject::try_from(&client) {
        Ok(client) => client.spec.err().unwrap_or_default(),
        Err(error) => unreadable(error.to_string()),
    }
}
