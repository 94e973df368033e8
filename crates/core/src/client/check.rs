//! What is wrong with a client's spec by itself.
//!
//! Flows in: a typed spec. Flows out: problems, each naming its element and what to write instead. What is not built yet
//! is a problem here, so that no choice is ever accepted in silence.

use std::collections::BTreeSet;

use crate::client::{ClientSpec, GrantType, Method, SecretMode, SecretSettings, TokenFormat, TokenSettings};
use crate::directory::reason;
use crate::names::ObjectRef;
use crate::policy::Problem;

/// Claims that mean something in an access token, or would to someone who reads it: never private claims.
/// RFC 7519 section 4.1, RFC 9068 section 2.2, RFC 8693 section 4, OpenID Connect Core sections 2 and 5.1, and our own.
const REGISTERED_CLAIMS: &[&str] = &[
    "acr",
    "act",
    "address",
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "authorization_details",
    "azp",
    "birthdate",
    "c_hash",
    "cep",
    "client_id",
    "cnf",
    "cuid",
    "email",
    "email_verified",
    "entitlements",
    "events",
    "exp",
    "family_name",
    "gender",
    "given_name",
    "groups",
    "iat",
    "iss",
    "jti",
    "locale",
    "may_act",
    "middle_name",
    "name",
    "nbf",
    "nickname",
    "nonce",
    "phone_number",
    "phone_number_verified",
    "picture",
    "preferred_username",
    "profile",
    "roles",
    "scope",
    "sid",
    "sub",
    "sub_jwk",
    "token_introspection",
    "txn",
    "updated_at",
    "website",
    "zoneinfo",
];

/// Label and annotation domains a Secret template may not write into.
const RESERVED_DOMAINS: &[&str] = &["kubernetes.io", "countersign.dev"];

/// The most bytes the private claims of a client may have as JSON: they travel in each of its tokens.
const CLAIMS_MAX: usize = 2048;

/// The most characters `metadata.name` may have, so that names derived from it stay valid.
const NAME_MAX: usize = 200;
/// The most access entries, and scopes in each.
const ACCESS_MAX: usize = 64;

pub(super) fn problems(object: &ObjectRef, spec: &ClientSpec) -> Vec<Problem> {
    let mut found = Vec::new();
    if object.name.as_str().len() > NAME_MAX {
        found.push(invalid("metadata.name", format!("use at most {NAME_MAX} characters")));
    }
    grant_types(spec, &mut found);
    access(spec, &mut found);
    authentication(&spec.authentication, &mut found);
    tokens(&spec.tokens, &mut found);
    found
}

fn invalid(element: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { element: element.into(), reason: reason::INVALID, message: message.into() }
}

fn not_built(element: impl Into<String>, what: &str, instead: &str) -> Problem {
    let message = format!("this version does not implement {what}; {instead}");
    Problem { element: element.into(), reason: reason::NOT_IMPLEMENTED, message }
}

fn grant_types(spec: &ClientSpec, found: &mut Vec<Problem>) {
    for (index, grant) in spec.grant_types.iter().enumerate() {
        if *grant != GrantType::ClientCredentials {
            found.push(not_built(format!("spec.grantTypes[{index}]"), grant.as_str(), "use ClientCredentials"));
        }
    }
    if spec.grant_types.is_empty() {
        found.push(invalid("spec.grantTypes", "name at least one, such as ClientCredentials"));
    }
    if !spec.redirect_uris.is_empty() {
        found.push(not_built("spec.redirectUris", "AuthorizationCode", "leave redirectUris out"));
    }
}

fn access(spec: &ClientSpec, found: &mut Vec<Problem>) {
    let mut audiences = BTreeSet::new();
    if spec.access.len() > ACCESS_MAX {
        found.push(invalid("spec.access", format!("use at most {ACCESS_MAX} entries")));
    }
    for (index, access) in spec.access.iter().enumerate() {
        if !audiences.insert(&access.audience) {
            found.push(invalid(
                format!("spec.access[{index}].audience"),
                "name each audience once and list its scopes together",
            ));
        }
        if access.scopes.is_empty() || access.scopes.len() > ACCESS_MAX {
            found.push(invalid(format!("spec.access[{index}].scopes"), format!("name 1 to {ACCESS_MAX} scopes")));
        }
    }
    match &spec.default_audience {
        Some(audience) if !audiences.contains(audience) => {
            found.push(invalid("spec.defaultAudience", "must be one of the audiences in access"));
        }
        None if spec.access.len() > 1 => {
            found.push(invalid(
                "spec.defaultAudience",
                "required when access has several entries: name one of their audiences",
            ));
        }
        _ => {}
    }
}

fn authentication(methods: &[Method], found: &mut Vec<Problem>) {
    let mut types = BTreeSet::new();
    if methods.is_empty() {
        found.push(invalid("spec.authentication.methods", "name at least one, such as ClientSecret"));
    }
    for (index, method) in methods.iter().enumerate() {
        let element = format!("spec.authentication.methods[{index}]");
        if !types.insert(method.as_str()) {
            found.push(invalid(format!("{element}.type"), "name each type once"));
        }
        match method {
            Method::ClientSecret(settings) => secret(&element, settings, found),
            other => found.push(not_built(format!("{element}.type"), other.as_str(), "use ClientSecret")),
        }
    }
    if types.len() > 1 && types.contains(Method::None.as_str()) {
        found.push(invalid("spec.authentication.methods", "None stands alone: remove it or the others"));
    }
}

fn secret(element: &str, settings: &SecretSettings, found: &mut Vec<Problem>) {
    let SecretSettings { name: _, mode, keys, labels, annotations, rotation, reject_issued_before } = settings;
    let mut names = BTreeSet::new();
    for (field, key) in keys.entries() {
        if key.is_empty() || key.len() > 253 || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            found.push(invalid(format!("{element}.secret.keys.{field}"), "must be 1 to 253 of A-Z a-z 0-9 . _ -"));
        }
        if !names.insert(key) {
            found.push(invalid(format!("{element}.secret.keys.{field}"), "two entries cannot share a key"));
        }
    }
    for (field, map) in [("labels", labels), ("annotations", annotations)] {
        for key in map.keys().filter(|key| is_reserved(key)) {
            let message = format!("{key:?} is reserved: use a domain of your own");
            found.push(invalid(format!("{element}.secret.template.{field}"), message));
        }
    }
    if rotation.max_overlap < rotation.overlap {
        found.push(invalid(format!("{element}.secret.rotation.maxOverlap"), "must be at least overlap"));
    }
    if rotation.period.is_some_and(|period| period.is_zero()) {
        found.push(invalid(format!("{element}.secret.rotation.period"), "must be longer than nothing"));
    }
    if *mode == SecretMode::Reference && (rotation.period.is_some() || reject_issued_before.is_some()) {
        let message = "someone else writes this Secret: replace the value there, and leave rotation.period and rejectIssuedBefore out";
        found.push(invalid(format!("{element}.secret.mode"), message));
    }
}

fn is_reserved(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    let domain = domain.to_ascii_lowercase();
    RESERVED_DOMAINS
        .iter()
        .any(|reserved| domain.strip_suffix(reserved).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn tokens(tokens: &TokenSettings, found: &mut Vec<Problem>) {
    let TokenSettings { access_token_lifetime, format, signing_key: _, claims } = tokens;
    if access_token_lifetime.is_some_and(|lifetime| lifetime.as_secs() == 0) {
        found.push(invalid("spec.tokens.accessTokenLifetime", "must be at least 1s"));
    }
    match format {
        TokenFormat::Jwt => {}
        TokenFormat::Opaque => found.push(not_built("spec.tokens.format", "Opaque", "use Jwt")),
        TokenFormat::Unknown => found.push(not_built("spec.tokens.format", "this format", "use Jwt")),
    }
    for name in claims.keys().filter(|name| REGISTERED_CLAIMS.contains(&name.as_str())) {
        let message = "this claim has a registered meaning: choose a name of your own";
        found.push(Problem {
            element: format!("spec.tokens.claims.{name}"),
            reason: reason::REGISTERED_CLAIM,
            message: message.to_owned(),
        });
    }
    if serde_json::to_string(claims).is_ok_and(|text| text.len() > CLAIMS_MAX) {
        found.push(invalid("spec.tokens.claims", format!("use at most {CLAIMS_MAX} bytes as JSON")));
    }
}
