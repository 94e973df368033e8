//! What the token endpoint answers, decided without a socket.
//!
//! Flows in: an authenticated client, the Directory, and the parameters of a request. Flows out: the one audience, the
//! scopes and the life of the token to sign, or the error of RFC 6749 section 5.2 or RFC 8707 section 2. Whether another
//! namespace has an audience or a scope cannot be told from the answers: what does not exist is refused like what is not
//! granted.

use std::time::Duration;

use crate::client::{Client, GrantType};
use crate::directory::{ClientView, Directory};
use crate::names::Audience;
use crate::scope::ScopeSet;

/// The most scopes a request may name: a client can have no more of one audience.
const SCOPES_MAX: usize = 64;

/// The errors of the token, introspection and revocation endpoints, and of resource servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OAuthError {
    /// RFC 6749 section 5.2.
    #[error("invalid_request")]
    InvalidRequest,
    /// RFC 6749 section 5.2.
    #[error("invalid_client")]
    InvalidClient,
    /// RFC 6749 section 5.2.
    #[error("invalid_grant")]
    InvalidGrant,
    /// RFC 6749 section 5.2.
    #[error("unauthorized_client")]
    UnauthorizedClient,
    /// RFC 6749 section 5.2.
    #[error("unsupported_grant_type")]
    UnsupportedGrantType,
    /// RFC 6749 section 5.2.
    #[error("invalid_scope")]
    InvalidScope,
    /// RFC 8707 section 2.
    #[error("invalid_target")]
    InvalidTarget,
    /// RFC 7009 section 2.2.1.
    #[error("unsupported_token_type")]
    UnsupportedTokenType,
    /// RFC 6750 section 3.1.
    #[error("invalid_token")]
    InvalidToken,
    /// RFC 6750 section 3.1.
    #[error("insufficient_scope")]
    InsufficientScope,
    /// RFC 6749 section 4.1.2.1.
    #[error("server_error")]
    ServerError,
    /// RFC 6749 section 4.1.2.1.
    #[error("temporarily_unavailable")]
    TemporarilyUnavailable,
}

/// What a client asks for, each parameter as it was sent.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest<'a> {
    /// `resource` and its synonym `audience`, all values.
    pub resource: Vec<&'a str>,
    /// `scope`.
    pub scope: Option<&'a str>,
}

/// What may be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantDecision {
    /// The `aud` of the token.
    pub audience: Audience,
    /// Its scopes, at least one.
    pub scopes: ScopeSet,
    /// Its life, in whole seconds.
    pub lifetime: Duration,
}

/// A refusal, with what the client is told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}: {description}")]
pub struct Denied {
    /// The error code.
    pub error: OAuthError,
    /// `error_description`.
    pub description: &'static str,
}

// === impl OAuthError ===

impl OAuthError {
    /// The `error` of the answer.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status it comes with.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }

    const fn because(self, description: &'static str) -> Denied {
        Denied { error: self, description }
    }
}

/// Reads `grant_type`. What exists but is not built is as unsupported as what does not exist.
pub fn grant_type(text: &str) -> Result<GrantType, Denied> {
    match text {
        "client_credentials" => Ok(GrantType::ClientCredentials),
        _ => Err(OAuthError::UnsupportedGrantType.because("grant_type must be client_credentials")),
    }
}

/// Decides a `client_credentials` request of a client that has authenticated.
pub fn token_grant(
    client: &ClientView,
    directory: &Directory,
    request: &TokenRequest<'_>,
) -> Result<GrantDecision, Denied> {
    // It authenticated as the Directory was then: a suspended client is as unknown as any other by now.
    let spec = client.usable().ok_or(OAuthError::InvalidClient.because("client authentication failed"))?;
    if !spec.grant_types.contains(&GrantType::ClientCredentials) {
        return Err(OAuthError::UnauthorizedClient.because("the client may not use this grant type"));
    }
    let asked = asked_scopes(request.scope)?;
    let audience = audience(spec, &request.resource, asked.as_ref())?;
    let granted = directory.granted(client, audience.as_str());
    let scopes = match asked {
        Some(asked) if !asked.is_subset(&granted) => {
            return Err(OAuthError::InvalidScope.because("a requested scope is not granted for this audience"));
        }
        Some(asked) => asked,
        None => granted,
    };
    if scopes.is_empty() {
        return Err(OAuthError::InvalidScope.because("no scope is granted for this audience"));
    }
    Ok(GrantDecision { audience, scopes, lifetime: lifetime(client, spec, directory) })
}

/// The scopes named; none when the parameter is absent or empty.
fn asked_scopes(scope: Option<&str>) -> Result<Option<ScopeSet>, Denied> {
    let Some(text) = scope.filter(|text| !text.is_empty()) else { return Ok(None) };
    let named = text.split(' ').take(SCOPES_MAX + 1).count();
    if named > SCOPES_MAX {
        return Err(OAuthError::InvalidScope.because("too many scopes are requested"));
    }
    let scopes = ScopeSet::parse(text)
        .map_err(|_| OAuthError::InvalidScope.because("scope must be scope names separated by single spaces"))?;
    if scopes.len() < named {
        return Err(OAuthError::InvalidScope.because("a scope is requested twice"));
    }
    Ok(Some(scopes))
}

/// The one audience: the resource named, else the only one in the client's access with all the scopes, else the default.
fn audience(spec: &Client, resource: &[&str], asked: Option<&ScopeSet>) -> Result<Audience, Denied> {
    let mut named = resource.iter().filter(|value| !value.is_empty());
    if let Some(first) = named.next() {
        if named.any(|other| other != first) {
            return Err(OAuthError::InvalidTarget.because("a token has one audience: name one resource"));
        }
        let access = spec.access_to(first);
        let unknown = OAuthError::InvalidTarget.because("the resource is not one of the client's audiences");
        return access.map(|access| access.audience.clone()).ok_or(unknown);
    }
    if let Some(asked) = asked {
        let mut fitting = spec.access.iter().filter(|access| asked.is_subset(&access.scopes));
        if let (Some(only), None) = (fitting.next(), fitting.next()) {
            return Ok(only.audience.clone());
        }
    }
    let only = || if let [only] = spec.access.as_slice() { Some(only.audience.clone()) } else { None };
    let undecided = OAuthError::InvalidTarget.because("name the audience with resource");
    spec.default_audience.clone().or_else(only).ok_or(undecided)
}

fn lifetime(client: &ClientView, spec: &Client, directory: &Directory) -> Duration {
    let timings = &directory.settings().timings;
    let wanted = spec.tokens.access_token_lifetime.unwrap_or(timings.default_access_token_lifetime);
    let allowed = client.max_access_token_lifetime.unwrap_or(timings.max_access_token_lifetime);
    Duration::from_secs(wanted.min(allowed).min(timings.max_access_token_lifetime).as_secs())
}
