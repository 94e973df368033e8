//! What the token endpoint answers, decided without a socket.
//!
//! Flows in: an authenticated client, the Directory, and the parameters of a request. Flows out: the one audience, the
//! scopes and the life of the token to sign, or the error of RFC 6749 section 5.2 or RFC 8707 section 2. Whether another
//! namespace has an audience or a scope cannot be told from the answers: what does not exist is refused like what is not
//! granted.

mod error;
mod exchange;
#[cfg(test)]
mod exchange_tests;

use std::time::Duration;

pub use error::{Denied, OAuthError};
pub use exchange::{
    ACCESS_TOKEN_TYPE, Exchange, ExchangeDecision, ExchangeRequest, TOKEN_EXCHANGE, UNACCEPTABLE_SUBJECT,
    clients_are_usable,
};

use crate::client::{Client, GrantType};
use crate::directory::{ClientView, Directory};
use crate::names::Audience;
use crate::scope::ScopeSet;

/// The most scopes a request may name: a client can have no more of one audience.
const SCOPES_MAX: usize = 64;

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

/// Reads `grant_type`. What exists but is not built is as unsupported as what does not exist.
pub fn grant_type(text: &str) -> Result<GrantType, Denied> {
    match text {
        "client_credentials" => Ok(GrantType::ClientCredentials),
        TOKEN_EXCHANGE => Ok(GrantType::TokenExchange),
        _ => Err(OAuthError::UnsupportedGrantType
            .because("grant_type must be client_credentials or urn:ietf:params:oauth:grant-type:token-exchange")),
    }
}

/// Decides a `client_credentials` request of a client that has authenticated.
pub fn token_grant(
    client: &ClientView,
    directory: &Directory,
    request: &TokenRequest<'_>,
) -> Result<GrantDecision, Denied> {
    let spec = permitted(client, GrantType::ClientCredentials)?;
    Target::read(spec, request)?.granted(client, spec, directory)
}

/// The spec of a client that may use this grant type.
fn permitted(client: &ClientView, grant: GrantType) -> Result<&Client, Denied> {
    // It authenticated as the Directory was then: a suspended client is as unknown as any other by now.
    let spec = client.usable().ok_or(OAuthError::InvalidClient.because("client authentication failed"))?;
    if spec.grant_types.contains(&grant) {
        return Ok(spec);
    }
    Err(OAuthError::UnauthorizedClient.because("the client may not use this grant type"))
}

/// What a request is about, whether or not it is granted.
struct Target {
    audience: Audience,
    /// None: all that is granted.
    asked: Option<ScopeSet>,
}

// === impl Target ===

impl Target {
    fn read(spec: &Client, request: &TokenRequest<'_>) -> Result<Self, Denied> {
        let asked = asked_scopes(request.scope)?;
        Ok(Self { audience: audience(spec, &request.resource, asked.as_ref())?, asked })
    }

    /// What the client itself is granted of it.
    fn granted(self, client: &ClientView, spec: &Client, directory: &Directory) -> Result<GrantDecision, Denied> {
        let Self { audience, asked } = self;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientSpec, ClientState};
    use crate::directory::tests::fixtures::{
        ORDERS, access, allowance, audience, client, directory, namespace, object, policy,
    };

    const CARTS: &str = "https://carts.shop.svc";

    /// `read` of both audiences is granted, `write` of none.
    fn world(change: impl FnOnce(&mut ClientSpec)) -> Directory {
        let asks = client("web/frontend", 1, |spec| {
            spec.access = vec![access(ORDERS, "read write x"), access(CARTS, "read y")];
            spec.default_audience = Some(audience(ORDERS));
            change(spec);
        });
        directory([policy("shop/orders", 1, |_| {}), policy("shop/carts", 1, |_| {}), asks])
    }

    /// The audience and the scopes granted, or the error.
    fn ask(directory: &Directory, resource: &[&str], scope: Option<&str>) -> String {
        let client = directory.client_of(&object("web/frontend")).expect("the client");
        match token_grant(client, directory, &TokenRequest { resource: resource.to_vec(), scope }) {
            Ok(GrantDecision { audience, scopes, .. }) => granted(audience.as_str(), &scopes.to_string()),
            Err(denied) => denied.error.code().to_owned(),
        }
    }

    fn granted(audience: &str, scopes: &str) -> String {
        format!("{audience} {scopes}")
    }

    #[test]
    fn a_resource_picks_the_audience_and_its_synonym_may_repeat_it() {
        let world = world(|_| {});
        assert_eq!(ask(&world, &[CARTS], None), granted(CARTS, "read"));
        assert_eq!(ask(&world, &[CARTS, CARTS], Some("read")), granted(CARTS, "read"));
        assert_eq!(ask(&world, &["", CARTS], None), granted(CARTS, "read"));
    }

    #[test]
    fn tok_12_any_other_resource_is_an_invalid_target() {
        let world = world(|_| {});
        for resource in [
            &["https://unknown.shop.svc"][..],
            &["orders"],
            &["/orders"],
            &["https://carts.shop.svc#x"],
            &["https://carts.shop.svc/"],
            &["HTTPS://carts.shop.svc"],
            &[CARTS, ORDERS],
            &[CARTS, "x"],
        ] {
            assert_eq!(ask(&world, resource, None), "invalid_target", "{resource:?}");
        }
    }

    #[test]
    fn else_scopes_pick_it_if_they_name_one_and_else_the_default_does() {
        let world = world(|spec| spec.default_audience = Some(audience(CARTS)));
        assert_eq!(ask(&world, &[], Some("read")), granted(CARTS, "read"), "both have it");
        assert_eq!(ask(&world, &[], Some("write")), "invalid_scope", "orders alone has it");
        assert_eq!(ask(&world, &[], None), granted(CARTS, "read"));
        assert_eq!(ask(&world, &[], Some("")), granted(CARTS, "read"), "tok_03: empty is as if omitted");
        assert_eq!(ask(&world, &[], Some("z")), "invalid_scope");
    }

    #[test]
    fn a_single_audience_needs_no_default_and_none_at_all_is_an_invalid_target() {
        let single = world(|spec| {
            spec.access.truncate(1);
            spec.default_audience = None;
        });
        assert_eq!(ask(&single, &[], None), granted(ORDERS, "read"));
        let none = world(|spec| {
            spec.access.clear();
            spec.default_audience = None;
        });
        assert_eq!(ask(&none, &[], None), "invalid_target");
        assert_eq!(ask(&none, &[ORDERS], None), "invalid_target");
    }

    #[test]
    fn tok_11_scopes_beyond_the_grant_malformed_many_or_twice_are_refused() {
        let world = world(|_| {});
        let many = (0..10_000).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        for scope in [
            "write",
            "read write",
            "x",
            "unknown",
            "read\"",
            "read  read",
            " read",
            "read ",
            "re\u{e4}d",
            "read read",
            &many,
        ] {
            assert_eq!(ask(&world, &[ORDERS], Some(scope)), "invalid_scope", "{scope:.20}");
        }
        assert_eq!(ask(&world, &[ORDERS], Some("read")), granted(ORDERS, "read"));
    }

    #[test]
    fn a_token_has_at_least_one_scope() {
        let ungranted = world(|spec| {
            spec.access = vec![access(ORDERS, "write"), access("https://no.shop.svc", "read")];
            spec.default_audience = Some(audience(ORDERS));
        });
        for resource in [ORDERS, "https://no.shop.svc"] {
            assert_eq!(ask(&ungranted, &[resource], None), "invalid_scope", "{resource}");
        }
    }

    #[test]
    fn tok_10_a_client_without_the_grant_type_is_unauthorized() {
        let exchanging = world(|spec| spec.grant_types = vec![GrantType::TokenExchange]);
        assert_eq!(ask(&exchanging, &[ORDERS], None), "unauthorized_client");
    }

    #[test]
    fn a_suspended_client_is_answered_as_an_unknown_one() {
        let suspended = world(|spec| spec.state = ClientState::Suspended);
        assert_eq!(ask(&suspended, &[ORDERS], None), "invalid_client");
    }

    #[test]
    fn the_life_of_a_token_is_the_least_of_what_client_allowance_and_installation_say() {
        let lifetime = |own: Option<u64>, allowed: Option<u64>| {
            let asks = client("web/frontend", 1, |spec| {
                spec.tokens.access_token_lifetime = own.map(Duration::from_secs);
            });
            let limit =
                allowance("web", Some("web"), |a| a.max_access_token_lifetime = allowed.map(Duration::from_secs));
            let world = directory([namespace("web", "x"), policy("shop/orders", 1, |_| {}), limit, asks]);
            let client = world.client("web.frontend").expect("the client");
            token_grant(client, &world, &TokenRequest::default()).expect("a token").lifetime.as_secs()
        };
        assert_eq!(lifetime(None, None), 900);
        assert_eq!(lifetime(Some(60), None), 60);
        assert_eq!(lifetime(Some(7200), None), 3600);
        assert_eq!(lifetime(Some(7200), Some(1800)), 1800);
        assert_eq!(lifetime(Some(7200), Some(7200)), 3600);
        assert_eq!(lifetime(Some(60), Some(1800)), 60);
    }

    #[test]
    fn tok_10_other_grant_types_are_unsupported() {
        assert_eq!(grant_type("client_credentials"), Ok(GrantType::ClientCredentials));
        assert_eq!(grant_type(TOKEN_EXCHANGE), Ok(GrantType::TokenExchange));
        for text in ["password", "implicit", "authorization_code", "", "Client_Credentials"] {
            assert_eq!(
                grant_type(text).map_err(|denied| denied.error),
                Err(OAuthError::UnsupportedGrantType),
                "{text}"
            );
        }
    }
}
