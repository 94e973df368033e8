//! How a client proves who it is, as the core has it.

use countersign_core::client as core;
use countersign_core::client::{CertificateName, Method as CoreMethod, SecretSettings};
use countersign_core::directory::reason;
use countersign_core::names::{ObjectName, ObjectRef};
use countersign_core::policy::Problem;
use countersign_core::token::{Algorithm, ClientKey};
use serde_json::Value;

use super::{
    AtDeadline, Authentication, Certificate, ClientKeys, ClientSecret, Jwk, Method, MethodType, Retirement, SecretKeys,
    SecretMode, SecretRotation, ServiceAccount,
};
use crate::metadata::oauth_name;
use crate::problems::{Problems, invalid, read, unknown_word};

pub(super) fn methods(
    object: &ObjectRef,
    authentication: Option<&Authentication>,
    problems: &mut Problems,
) -> Vec<CoreMethod> {
    let mut listed: &[Method] = &[];
    if let Some(authentication) = authentication {
        problems.unknown("spec.authentication", &authentication.unknown);
        listed = &authentication.methods;
    }
    let default = [Method::default()];
    if listed.is_empty() {
        listed = &default;
    }
    let read = listed.iter().enumerate().map(|(index, method)| {
        let element = format!("spec.authentication.methods[{index}]");
        problems.unknown(&element, &method.unknown);
        if let Some(problem) = misplaced(&element, method) {
            problems.push(problem);
            return CoreMethod::Misread;
        }
        match method.kind {
            MethodType::ClientSecret => {
                let settings = secret(object, &element, method.secret.as_ref());
                problems.keep(settings).map_or(CoreMethod::Misread, CoreMethod::ClientSecret)
            }
            MethodType::ServiceAccount => {
                let accounts = service_accounts(&element, &method.service_accounts);
                problems.keep(accounts).map_or(CoreMethod::Misread, CoreMethod::ServiceAccount)
            }
            MethodType::PrivateKeyJwt => {
                let keys = client_keys(&element, method.keys.as_ref());
                problems.keep(keys).map_or(CoreMethod::Misread, CoreMethod::PrivateKeyJwt)
            }
            MethodType::MutualTls => {
                let name = certificate(&element, method.certificate.as_ref());
                problems.keep(name).map_or(CoreMethod::Misread, CoreMethod::MutualTls)
            }
            MethodType::None => CoreMethod::None,
            MethodType::Unknown(_) => CoreMethod::Unknown,
        }
    });
    read.collect()
}

/// What belongs to a method of another type, as the rules of the schema have it. A type of a later version may have anything.
fn misplaced(element: &str, method: &Method) -> Option<Problem> {
    if matches!(method.kind, MethodType::Unknown(_)) {
        return None;
    }
    let belongs = [
        ("secret", method.secret.is_some(), MethodType::ClientSecret),
        ("serviceAccounts", !method.service_accounts.is_empty(), MethodType::ServiceAccount),
        ("keys", method.keys.is_some(), MethodType::PrivateKeyJwt),
        ("certificate", method.certificate.is_some(), MethodType::MutualTls),
    ];
    let (field, _, owner) = belongs.into_iter().find(|(_, written, owner)| *written && *owner != method.kind)?;
    Some(invalid(&format!("{element}.{field}"), format!("{field} belongs to type {owner:?} only")))
}

fn service_accounts(method: &str, listed: &[ServiceAccount]) -> Result<Vec<ObjectName>, Problem> {
    let named = listed.iter().enumerate();
    named.map(|(index, account)| read(&format!("{method}.serviceAccounts[{index}].name"), &account.name)).collect()
}

/// The one name a certificate must have.
fn certificate(method: &str, certificate: Option<&Certificate>) -> Result<CertificateName, Problem> {
    let element = format!("{method}.certificate");
    let Certificate { san_uri, san_dns, subject_dn } = certificate.cloned().unwrap_or_default();
    match (san_uri, san_dns, subject_dn) {
        (Some(uri), None, None) => Ok(CertificateName::SanUri(uri)),
        (None, Some(dns), None) => Ok(CertificateName::SanDns(dns)),
        (None, None, Some(subject)) => {
            let read = subject.parse().map(CertificateName::SubjectDn);
            read.map_err(|error| Problem::new(format!("{element}.subjectDn"), reason::INVALID, error.to_string()))
        }
        _ => Err(Problem::new(element, reason::INVALID, "name exactly one of sanUri, sanDns and subjectDn")),
    }
}

/// The keys themselves, or where they are.
fn client_keys(method: &str, keys: Option<&ClientKeys>) -> Result<core::RegisteredKeys, Problem> {
    let element = format!("{method}.keys");
    match keys {
        Some(ClientKeys { jwks: Some(jwks), jwks_uri: None }) => {
            let listed = jwks.keys.iter().enumerate();
            let read = listed.map(|(index, jwk)| client_key(&format!("{element}.jwks.keys[{index}]"), jwk));
            read.collect::<Result<_, _>>().map(core::RegisteredKeys::Listed)
        }
        Some(ClientKeys { jwks: None, jwks_uri: Some(uri) }) => {
            read(&format!("{element}.jwksUri"), uri).map(core::RegisteredKeys::Published)
        }
        _ => Err(invalid(&element, "register public keys in jwks, or say in jwksUri where they are: one of both")),
    }
}

fn client_key(element: &str, jwk: &Jwk) -> Result<ClientKey, Problem> {
    let Ok(Value::Object(members)) = serde_json::to_value(jwk) else {
        return Err(invalid(element, "is no JWK"));
    };
    let algorithms = Algorithm::ALL.map(Algorithm::name).join(", ");
    ClientKey::read(members).map_err(|error| {
        let message =
            format!("{error}: write a public key with kty, its members and alg, which is one of {algorithms}");
        invalid(element, message)
    })
}

fn secret(object: &ObjectRef, method: &str, secret: Option<&ClientSecret>) -> Result<SecretSettings, Problem> {
    let secret = secret.cloned().unwrap_or_default();
    let element = format!("{method}.secret");
    let name = secret.name.unwrap_or_else(|| oauth_name(&object.name));
    let template = secret.template.unwrap_or_default();
    Ok(SecretSettings {
        name: read(&format!("{element}.name"), &name)?,
        mode: mode(&format!("{element}.mode"), secret.mode)?,
        keys: keys(secret.keys.unwrap_or_default()),
        labels: template.labels,
        annotations: template.annotations,
        rotation: rotation(&format!("{element}.rotation"), secret.rotation.unwrap_or_default())?,
        reject_issued_before: secret.reject_issued_before,
    })
}

fn mode(element: &str, mode: Option<SecretMode>) -> Result<core::SecretMode, Problem> {
    match mode.unwrap_or_default() {
        SecretMode::Create => Ok(core::SecretMode::Create),
        SecretMode::Reference => Ok(core::SecretMode::Reference),
        SecretMode::Adopt => Ok(core::SecretMode::Adopt),
        SecretMode::Unknown(word) => Err(unknown_word(element, &word)),
    }
}

fn keys(keys: SecretKeys) -> core::SecretKeys {
    let default = core::SecretKeys::default();
    core::SecretKeys {
        client_id: keys.client_id.unwrap_or(default.client_id),
        client_secret: keys.client_secret.unwrap_or(default.client_secret),
        issuer: keys.issuer.unwrap_or(default.issuer),
        token_endpoint: keys.token_endpoint.unwrap_or(default.token_endpoint),
        jwks_uri: keys.jwks_uri.unwrap_or(default.jwks_uri),
        ca: keys.ca.unwrap_or(default.ca),
    }
}

fn rotation(element: &str, rotation: SecretRotation) -> Result<core::Rotation, Problem> {
    let default = core::Rotation::default();
    Ok(core::Rotation {
        period: rotation.period.map(crate::Duration::get),
        overlap: rotation.overlap.map_or(default.overlap, crate::Duration::get),
        retirement: match rotation.retirement.unwrap_or_default() {
            Retirement::WhenUnused => core::Retirement::WhenUnused,
            Retirement::AfterOverlap => core::Retirement::AfterOverlap,
            Retirement::Unknown(word) => return Err(unknown_word(&format!("{element}.retirement"), &word)),
        },
        max_overlap: rotation.max_overlap.map_or(default.max_overlap, crate::Duration::get),
        at_deadline: match rotation.at_deadline.unwrap_or_default() {
            AtDeadline::KeepAndWarn => core::AtDeadline::KeepAndWarn,
            AtDeadline::Reject => core::AtDeadline::Reject,
            AtDeadline::Unknown(word) => return Err(unknown_word(&format!("{element}.atDeadline"), &word)),
        },
    })
}
