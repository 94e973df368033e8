//! How an OAuth2Client proves who it is, and under which id.
//!
//! Flows in: `tokenEndpointAuthMethod`, `secretName`, the Secret. Flows out: the method of the OAuthClient and the id it keeps.

use countersign_core::names::{ClientId, ObjectName, ObjectRef};
use serde_json::{Value, json};

use super::super::report::Reason;
use super::Choices;
use super::client::Tell;
use super::draft::Given;
use super::source::Secrets;

/// The way it proves who it is.
#[derive(Debug)]
pub(super) enum Proof {
    /// The value in this Secret.
    Secret(String),
    /// An assertion, checked with the keys at this URL.
    Assertion(String),
    /// None.
    Nothing,
}

impl Proof {
    /// The entry of `authentication.methods`, but for the keys of the Secret.
    pub(super) fn method(&self, choices: &Choices) -> Value {
        match self {
            Self::Secret(name) => json!({"type": "ClientSecret", "secret": {
                "name": name,
                "mode": "Adopt",
                "keys": {"clientId": choices.client_id_key, "clientSecret": choices.client_secret_key},
            }}),
            Self::Assertion(url) => json!({"type": "PrivateKeyJwt", "keys": {"jwksUri": url}}),
            Self::Nothing => json!({"type": "None"}),
        }
    }

    pub(super) fn into_secret(self) -> Option<String> {
        match self {
            Self::Secret(name) => Some(name),
            Self::Assertion(_) | Self::Nothing => None,
        }
    }
}

/// How the client proves who it is; none where that cannot be said.
pub(super) fn proof(tell: &mut Tell<'_>, object: &ObjectRef) -> Option<Proof> {
    let keys = tell.text("jwksUri");
    let method = tell.text("tokenEndpointAuthMethod");
    let word = method.as_ref().map_or("client_secret_basic", |given| given.text.as_str());
    if word != "private_key_jwt" && keys.is_some() {
        let message = format!("only private_key_jwt uses the keys there, and the method is {word}");
        tell.note("spec.jwksUri", Reason::NoCounterpart, message, "nothing; or set tokenEndpointAuthMethod");
    }
    match word {
        "client_secret_basic" | "client_secret_post" => secret_name(tell, object).map(Proof::Secret),
        "private_key_jwt" => key_url(tell, keys).map(Proof::Assertion),
        "none" => Some(Proof::Nothing),
        other => {
            let message = format!("{other} is no method hydra-maester knows; the client is not printed");
            let next = "write client_secret_basic, private_key_jwt or none, and run this again";
            tell.problem("spec.tokenEndpointAuthMethod", Reason::Invalid, message, next);
            None
        }
    }
}

fn key_url(tell: &mut Tell<'_>, keys: Option<Given>) -> Option<String> {
    let url = keys.filter(|given| given.text.starts_with("https://"));
    if url.is_none() {
        let message = "private_key_jwt needs an https URL of the client's public keys; the client is not printed";
        tell.problem(
            "spec.jwksUri",
            Reason::Missing,
            message,
            "serve the keys over https, or write them into keys.jwks",
        );
    }
    url.map(|given| given.text)
}

fn secret_name(tell: &mut Tell<'_>, object: &ObjectRef) -> Option<String> {
    let Some(given) = tell.text("secretName") else {
        let message = format!("it names no Secret, so nothing can be kept; {object} is not printed");
        tell.problem("spec.secretName", Reason::Missing, message, "name the Secret, or write a new OAuthClient");
        return None;
    };
    match ObjectName::new(&given.text) {
        Ok(name) => Some(name.to_string()),
        Err(error) => {
            tell.problem(&given.field, Reason::Invalid, error.to_string(), "correct it and run this again");
            None
        }
    }
}

/// The id it keeps: what was said on the command line, else what its Secret holds.
pub(super) fn client_id(
    tell: &mut Tell<'_>,
    (secrets, choices): (&Secrets, &Choices),
    proof: Option<&Proof>,
) -> Option<ClientId> {
    let object = tell.client.object.clone();
    let name = tell.text("secretName").and_then(|given| ObjectName::new(&given.text).ok());
    let place = name.map(|name| ObjectRef { namespace: object.namespace.clone(), name });
    let found = place.as_ref().and_then(|place| secrets.get(place));
    if matches!(proof, Some(Proof::Secret(_))) && found.is_some_and(|found| found.strong == Some(false)) {
        let message = "the value in its Secret could be guessed, so it ends when the Secret is taken over; from then on only \
                       the new value there is good";
        let next =
            "have its users read the Secret anew as you move; or give Hydra a random value of 26 characters before";
        tell.problem("spec.secretName", Reason::Changed, message, next);
    }
    if let Some(id) = choices.client_ids.get(&object) {
        return Some(id.clone());
    }
    let place = place?;
    let Some(found) = found else {
        let message = format!("its client id lies in Secret {place}, which is not among the files; it is not printed");
        let ObjectRef { namespace, name } = &place;
        let next = format!(
            "add what `kubectl get secret {name} -n {namespace} -o yaml` prints, or give --client-id {object}=ID"
        );
        tell.problem("spec.secretName", Reason::Missing, message, next);
        return None;
    };
    let Some(id) = &found.client_id else {
        let key = &choices.client_id_key;
        let message =
            format!("Secret {place} has no text under {key}, so its client id is not known; it is not printed");
        let next = "give the key hydra-maester was told (CLIENT_ID_KEY) with --client-id-key";
        tell.problem("spec.secretName", Reason::Missing, message, next);
        return None;
    };
    ClientId::new(id).map_err(|error| refuse(tell, &error.to_string())).ok()
}

fn refuse(tell: &mut Tell<'_>, error: &str) {
    let message = format!("its client id cannot be kept: {error}; it is not printed");
    let next = "write a new OAuthClient for it, whose id its application has to learn";
    tell.problem("spec.secretName", Reason::Changed, message, next);
}
