//! The fields of an OAuth2Client that are single values here, and those that have no place here.
//!
//! Flows in: the spec. Flows out: values in our words; of every other field that says something, what its loss means.

use std::time::Duration;

use serde_json::Value;

use super::super::report::{Reason, Severity};
use super::client::Tell;
use super::draft::Given;

/// The longest life of an access token.
const LONGEST: Duration = Duration::from_hours(24);
/// The lifespan of tokens that a client gets for itself.
const OWN_LIFESPAN: &str = "client_credentials_grant_access_token_lifespan";
/// The most characters of a display name.
const NAME_MAX: usize = 256;

/// Fields that other files map.
const MAPPED: [&str; 11] = [
    "accessTokenStrategy",
    "audience",
    "clientName",
    "grantTypes",
    "jwksUri",
    "redirectUris",
    "scope",
    "scopeArray",
    "secretName",
    "tokenEndpointAuthMethod",
    "tokenLifespans",
];

/// Whom the loss of a field concerns.
#[derive(Clone, Copy)]
enum Loss {
    /// Everybody.
    Felt,
    /// Clients that log people in.
    FeltByPeople,
    /// Nobody: it describes, or something else here says it.
    Unfelt,
}

/// Fields without a counterpart: what that means, and what to do.
const LOST: [(&str, Loss, &str, &str); 24] = [
    ("allowedCorsOrigins", Loss::FeltByPeople, "the issuer answers no browser of another origin", SERVER),
    ("backChannelLogoutSessionRequired", Loss::FeltByPeople, LOGOUT, SERVER),
    ("backChannelLogoutURI", Loss::FeltByPeople, LOGOUT, SERVER),
    ("clientSecretExpiresAt", Loss::Felt, "a secret ends by rotation, not at a date", ROTATE),
    ("clientUri", Loss::Unfelt, DESCRIBES, ANNOTATE),
    ("contacts", Loss::Unfelt, DESCRIBES, ANNOTATE),
    (
        "deletionPolicy",
        Loss::Unfelt,
        "it is about Hydra's database; here nothing outlives the object but, with deletionPolicy: Retain, the Secret",
        "nothing",
    ),
    ("frontChannelLogoutSessionRequired", Loss::FeltByPeople, LOGOUT, SERVER),
    ("frontChannelLogoutURI", Loss::FeltByPeople, LOGOUT, SERVER),
    (
        "hydraAdmin",
        Loss::Unfelt,
        "it says at which Hydra to register; here spec.issuer names the installation",
        "give --issuer-name where there are several",
    ),
    ("logoUri", Loss::Unfelt, DESCRIBES, ANNOTATE),
    (
        "metadata",
        Loss::Felt,
        "a client has no data of its own that others could ask the issuer for",
        "put what tools read into annotations, and what resource servers read into tokens.claims",
    ),
    ("policyUri", Loss::Unfelt, DESCRIBES, ANNOTATE),
    ("postLogoutRedirectUris", Loss::FeltByPeople, LOGOUT, SERVER),
    ("requestObjectSigningAlg", Loss::FeltByPeople, "request objects (RFC 9101) are not taken", SERVER),
    ("requestUris", Loss::FeltByPeople, "request objects (RFC 9101) are not taken", SERVER),
    ("responseTypes", Loss::Unfelt, "they follow from the grant types", "nothing"),
    ("sectorIdentifierUri", Loss::FeltByPeople, PAIRWISE, SERVER),
    ("skipConsent", Loss::FeltByPeople, "there is no consent page", SERVER),
    ("skipLogoutConsent", Loss::FeltByPeople, LOGOUT, SERVER),
    ("subjectType", Loss::FeltByPeople, PAIRWISE, SERVER),
    ("tokenEndpointAuthSigningAlg", Loss::Unfelt, "the client's key says its algorithm", "nothing"),
    ("tosUri", Loss::Unfelt, DESCRIBES, ANNOTATE),
    ("userinfoSignedResponseAlg", Loss::FeltByPeople, "there is no userinfo endpoint", SERVER),
];

const LOGOUT: &str = "nobody is logged out: there are no sessions of people";
const PAIRWISE: &str = "a subject is the same for every client";
const DESCRIBES: &str = "it describes the client and changes nothing";
const SERVER: &str = "leave what logs people in where it is for now";
const ANNOTATE: &str = "keep it in an annotation of your own";
const ROTATE: &str = "set rotation.period, or rejectIssuedBefore when the time has come";

/// How it gets tokens, in our words.
pub(super) fn grant_types(tell: &mut Tell<'_>) -> Vec<(&'static str, String)> {
    let mut grants = Vec::new();
    for Given { text, field } in tell.texts("grantTypes") {
        let word = match text.as_str() {
            "client_credentials" => "ClientCredentials",
            "authorization_code" => "AuthorizationCode",
            "refresh_token" => "RefreshToken",
            "implicit" => "Implicit",
            other => {
                let message = format!("{other:?} is no grant type hydra-maester knows; it is left out");
                tell.problem(&field, Reason::Invalid, message, "correct it and run this again");
                continue;
            }
        };
        grants.push((word, field));
    }
    if grants.is_empty() {
        let message = "it names no grant type; ClientCredentials is taken";
        tell.problem("spec.grantTypes", Reason::Missing, message, "correct it if the client is for people");
        grants.push(("ClientCredentials", "spec.grantTypes".to_owned()));
    }
    grants
}

fn logs_people_in(grants: &[(&'static str, String)]) -> bool {
    grants.iter().any(|(word, _)| *word != "ClientCredentials")
}

/// Tells each field that says something and has no place here.
pub(super) fn without_counterpart(tell: &mut Tell<'_>, grants: &[(&'static str, String)]) {
    let (people, client) = (logs_people_in(grants), tell.client);
    for (name, value) in &client.spec {
        if says_nothing(value) || MAPPED.contains(&name.as_str()) {
            continue;
        }
        let field = format!("spec.{name}");
        let Some((_, loss, means, next)) = LOST.iter().find(|(lost, ..)| lost == name) else {
            let message = "this is no field of an OAuth2Client that is known here; it is left out";
            tell.problem(&field, Reason::Invalid, message, "remove it, or see whether a newer version knows it");
            continue;
        };
        if *name == "subjectType" && value == "public" || *name == "deletionPolicy" && value == "delete" {
            continue;
        }
        let severity = match loss {
            Loss::Felt => Severity::Problem,
            Loss::FeltByPeople if people => Severity::Problem,
            Loss::FeltByPeople | Loss::Unfelt => Severity::Note,
        };
        tell.say(severity, &field, Reason::NoCounterpart, (format!("left out: {means}"), (*next).to_owned()));
    }
}

/// Whether a value is what it would be if it were not written.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
    }
}

pub(super) fn display_name(tell: &mut Tell<'_>) -> Option<String> {
    let Given { text, field } = tell.text("clientName")?;
    if text.chars().count() <= NAME_MAX && !text.chars().any(char::is_control) {
        return Some(text);
    }
    let message = format!("a displayName is one line of at most {NAME_MAX} characters; it is left out");
    tell.problem(&field, Reason::Invalid, message, "write a shorter name into the printed OAuthClient");
    None
}

pub(super) fn redirect_uris(tell: &mut Tell<'_>) -> Vec<Given> {
    tell.texts("redirectUris")
}

/// Where opaque tokens are asked for.
pub(super) fn is_opaque(tell: &mut Tell<'_>) -> Option<String> {
    let Given { text, field } = tell.text("accessTokenStrategy")?;
    match text.as_str() {
        "opaque" => Some(field),
        "jwt" => None,
        other => {
            let message = format!("{other:?} is neither jwt nor opaque; its tokens are signed (JWT)");
            tell.problem(&field, Reason::Invalid, message, "correct it and run this again");
            None
        }
    }
}

/// How long the tokens live that it gets for itself.
pub(super) fn lifetime(tell: &mut Tell<'_>, grants: &[(&'static str, String)]) -> Option<Duration> {
    let client = tell.client;
    let lifespans = match client.spec.get("tokenLifespans") {
        None | Some(Value::Null) => return None,
        Some(Value::Object(lifespans)) => lifespans,
        Some(_) => {
            tell.problem("spec.tokenLifespans", Reason::Invalid, "must be an object", "correct it and run this again");
            return None;
        }
    };
    let mut lifetime = None;
    for (name, value) in lifespans.iter().filter(|(_, value)| !says_nothing(value)) {
        let field = format!("spec.tokenLifespans.{name}");
        if name == OWN_LIFESPAN {
            lifetime = own_lifetime(tell, &field, value);
            continue;
        }
        let severity = if logs_people_in(grants) { Severity::Problem } else { Severity::Note };
        let message = "left out: accessTokenLifetime is the one lifetime a client has".to_owned();
        tell.say(
            severity,
            &field,
            Reason::NoCounterpart,
            (message, "nothing, unless the client logs people in".to_owned()),
        );
    }
    lifetime
}

fn own_lifetime(tell: &mut Tell<'_>, field: &str, value: &Value) -> Option<Duration> {
    let Some(duration) = value.as_str().and_then(duration) else {
        let message = "is no duration such as 30m; the default of 15m is taken";
        tell.problem(field, Reason::Invalid, message, "correct it and run this again");
        return None;
    };
    let whole = Duration::from_secs(duration.as_secs());
    if whole.is_zero() {
        let message = "a token lives a second at least; the default of 15m is taken";
        tell.problem(field, Reason::Changed, message, "write the lifetime you want into the printed OAuthClient");
        return None;
    }
    if whole > LONGEST {
        let message = "a token lives 24h at most; 24h is taken";
        tell.problem(field, Reason::Changed, message, "have its users ask for a new token each day");
    }
    Some(whole.min(LONGEST))
}

/// Go's durations: numbers, each with its unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len()));
        let number: u64 = number.parse().ok()?;
        let part = match unit {
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            "us" => Duration::from_micros(number),
            "ns" => Duration::from_nanos(number),
            _ => return None,
        };
        (sum, rest) = (sum.checked_add(part)?, tail);
    }
    (!text.is_empty()).then_some(sum)
}
