//! What is wrong with a client's spec by itself.
//!
//! Flows in: a typed spec. Flows out: problems, each naming its element and what to write instead. What is not built yet
//! is a problem here, so that no choice is ever accepted in silence.

use std::collections::BTreeSet;

use crate::client::{ClientSpec, GrantType, Method, SecretMode, SecretSettings, TokenFormat, TokenSettings, own_keys};
use crate::directory::reason;
use crate::names::{ObjectName, ObjectRef};
use crate::policy::Problem;
use crate::token::REGISTERED_CLAIMS;

/// Label and annotation domains a Secret template may not write into.
const RESERVED_DOMAINS: &[&str] = &["kubernetes.io", "countersign.dev"];

/// The most bytes the private claims of a client may have as JSON: they travel in each of its tokens.
const CLAIMS_MAX: usize = 2048;

/// The most characters `metadata.name` may have, so that names derived from it stay valid.
const NAME_MAX: usize = 200;
/// The most ServiceAccounts of a client.
const SERVICE_ACCOUNTS_MAX: usize = 16;
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

pub(super) fn invalid(element: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { element: element.into(), reason: reason::INVALID, message: message.into() }
}

fn not_built(element: impl Into<String>, what: &str, instead: &str) -> Problem {
    let message = format!("this version does not implement {what}; {instead}");
    Problem { element: element.into(), reason: reason::NOT_IMPLEMENTED, message }
}

fn grant_types(spec: &ClientSpec, found: &mut Vec<Problem>) {
    for (index, grant) in spec.grant_types.iter().enumerate() {
        if !matches!(grant, GrantType::ClientCredentials | GrantType::TokenExchange) {
            let instead = "use ClientCredentials or TokenExchange";
            found.push(not_built(format!("spec.grantTypes[{index}]"), grant.as_str(), instead));
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
        if *method == Method::Misread {
            continue;
        }
        if !types.insert(method.as_str()) {
            found.push(invalid(format!("{element}.type"), "name each type once"));
        }
        match method {
            Method::ClientSecret(settings) => secret(&element, settings, found),
            Method::ServiceAccount(accounts) => service_accounts(&element, accounts, found),
            Method::PrivateKeyJwt(keys) => own_keys::check(&element, keys, found),
            Method::MutualTls(_) => {}
            other => found.push(not_built(format!("{element}.type"), other.as_str(), "use ClientSecret")),
        }
    }
    if types.len() > 1 && types.contains(Method::None.as_str()) {
        found.push(invalid("spec.authentication.methods", "None stands alone: remove it or the others"));
    }
}

fn service_accounts(element: &str, accounts: &[ObjectName], found: &mut Vec<Problem>) {
    let element = format!("{element}.serviceAccounts");
    if accounts.is_empty() || accounts.len() > SERVICE_ACCOUNTS_MAX {
        found.push(invalid(&element, format!("name 1 to {SERVICE_ACCOUNTS_MAX} ServiceAccounts of this namespace")));
    }
    let mut names = BTreeSet::new();
    for (index, _) in accounts.iter().enumerate().filter(|(_, name)| !names.insert(*name)) {
        found.push(invalid(format!("{element}[{index}].name"), "name each ServiceAccount once"));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::Client;
    use crate::directory::tests::fixtures::{ORDERS, access, audience, object, secret, spec};

    /// The elements and reasons of what is wrong after a change of a good spec.
    fn wrong(change: impl FnOnce(&mut ClientSpec)) -> Vec<(String, &'static str)> {
        let object = object("shop/checkout");
        let mut spec = spec(&object);
        change(&mut spec);
        let problems = Client::accept(&object, spec, Vec::new()).err().unwrap_or_default();
        problems.into_iter().map(|problem| (problem.element, problem.reason)).collect()
    }

    fn one(element: &str, reason: &'static str) -> Vec<(String, &'static str)> {
        vec![(element.to_owned(), reason)]
    }

    fn with_secret(change: impl FnOnce(&mut SecretSettings)) -> Vec<(String, &'static str)> {
        wrong(|spec| {
            let mut settings = secret("checkout-oauth");
            change(&mut settings);
            spec.authentication = vec![Method::ClientSecret(settings)];
        })
    }

    #[test]
    fn a_plain_client_is_accepted_and_a_problem_found_before_is_kept() {
        assert_eq!(wrong(|_| {}), []);
        assert_eq!(wrong(|spec| spec.grant_types.push(GrantType::TokenExchange)), []);
        let object = object("shop/checkout");
        let found = Problem::new("spec.displayName", reason::INVALID, "too long");
        assert_eq!(Client::accept(&object, spec(&object), vec![found.clone()]), Err(vec![found]));
    }

    #[test]
    fn what_is_not_built_yet_is_never_accepted_in_silence() {
        for grant in [
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::DeviceCode,
            GrantType::Password,
            GrantType::Implicit,
            GrantType::Unknown,
        ] {
            let found = wrong(|spec| spec.grant_types.push(grant));
            assert_eq!(found, one("spec.grantTypes[1]", reason::NOT_IMPLEMENTED), "{grant:?}");
        }
        let found = wrong(|spec| spec.authentication.push(Method::Unknown));
        assert_eq!(found, one("spec.authentication.methods[1].type", reason::NOT_IMPLEMENTED));
        for format in [TokenFormat::Opaque, TokenFormat::Unknown] {
            assert_eq!(wrong(|spec| spec.tokens.format = format), one("spec.tokens.format", reason::NOT_IMPLEMENTED));
        }
        let redirects = wrong(|spec| spec.redirect_uris = vec!["https://a.example.com/back".to_owned()]);
        assert_eq!(redirects, one("spec.redirectUris", reason::NOT_IMPLEMENTED));
    }

    #[test]
    fn a_problem_says_what_to_write_instead() {
        let object = object("shop/checkout");
        let mut spec = spec(&object);
        spec.authentication = vec![Method::None];
        let problems = Client::accept(&object, spec, Vec::new()).expect_err("it is not built");
        assert_eq!(problems[0].message, "this version does not implement None; use ClientSecret");
    }

    #[test]
    fn methods_are_one_of_a_type_and_none_stands_alone() {
        let twice = wrong(|spec| spec.authentication.push(spec.authentication[0].clone()));
        assert_eq!(twice, one("spec.authentication.methods[1].type", reason::INVALID));
        let none = wrong(|spec| spec.authentication.push(Method::None));
        assert!(none.contains(&("spec.authentication.methods".to_owned(), reason::INVALID)));
        assert_eq!(wrong(|spec| spec.authentication.clear()), one("spec.authentication.methods", reason::INVALID));
    }

    #[test]
    fn service_accounts_are_named_once_each() {
        let named = |names: &[&str]| {
            let accounts = names.iter().map(|name| ObjectName::new(name).expect("a name")).collect();
            wrong(|spec| spec.authentication = vec![Method::ServiceAccount(accounts)])
        };
        let element = "spec.authentication.methods[0].serviceAccounts";
        assert_eq!(named(&["checkout", "cart"]), []);
        assert_eq!(named(&[]), one(element, reason::INVALID));
        assert_eq!(named(&["checkout", "checkout"]), one(&format!("{element}[1].name"), reason::INVALID));
        let many: Vec<_> = (0..17).map(|n| format!("sa-{n}")).collect();
        assert_eq!(named(&many.iter().map(String::as_str).collect::<Vec<_>>()), one(element, reason::INVALID));
    }

    #[test]
    fn several_audiences_need_a_default_among_them() {
        let two = |spec: &mut ClientSpec| spec.access.push(access("https://carts.shop.svc", "read"));
        assert_eq!(wrong(two), one("spec.defaultAudience", reason::INVALID));
        let good = wrong(|spec| {
            two(spec);
            spec.default_audience = Some(audience(ORDERS));
        });
        assert_eq!(good, []);
        let foreign = wrong(|spec| spec.default_audience = Some(audience("https://else.shop.svc")));
        assert_eq!(foreign, one("spec.defaultAudience", reason::INVALID));
        let twice = wrong(|spec| {
            spec.access.push(access(ORDERS, "write"));
            spec.default_audience = Some(audience(ORDERS));
        });
        assert_eq!(twice, one("spec.access[1].audience", reason::INVALID));
    }

    #[test]
    fn access_and_scopes_are_bounded() {
        let many = |count| (0..count).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
        assert_eq!(wrong(|spec| spec.access = vec![access(ORDERS, &many(64))]), []);
        assert_eq!(
            wrong(|spec| spec.access = vec![access(ORDERS, &many(65))]),
            one("spec.access[0].scopes", reason::INVALID)
        );
        assert_eq!(wrong(|spec| spec.access = vec![access(ORDERS, "")]), one("spec.access[0].scopes", reason::INVALID));
        let audiences = wrong(|spec| {
            spec.access = (0..65).map(|number| access(&format!("https://a{number}.shop.svc"), "read")).collect();
            spec.default_audience = Some(spec.access[0].audience.clone());
        });
        assert_eq!(audiences, one("spec.access", reason::INVALID));
        assert_eq!(wrong(|spec| spec.access.clear()), [], "a client may ask for nothing yet");
    }

    #[test]
    fn registered_claims_are_refused_and_private_ones_bounded() {
        for name in
            ["sub", "aud", "exp", "scope", "client_id", "cuid", "cep", "cnf", "act", "groups", "username", "sep"]
        {
            let found = wrong(|spec| drop(spec.tokens.claims.insert(name.to_owned(), 1.into())));
            assert_eq!(found, one(&format!("spec.tokens.claims.{name}"), reason::REGISTERED_CLAIM));
        }
        assert_eq!(wrong(|spec| drop(spec.tokens.claims.insert("tier".to_owned(), "gold".into()))), []);
        let long = wrong(|spec| drop(spec.tokens.claims.insert("tier".to_owned(), "x".repeat(3000).into())));
        assert_eq!(long, one("spec.tokens.claims", reason::INVALID));
        let none = wrong(|spec| spec.tokens.access_token_lifetime = Some(Duration::from_millis(10)));
        assert_eq!(none, one("spec.tokens.accessTokenLifetime", reason::INVALID));
    }

    #[test]
    fn a_template_never_writes_into_domains_of_others() {
        let label = |key: &str| with_secret(|secret| drop(secret.labels.insert(key.to_owned(), String::new())));
        for key in [
            "kubernetes.io/x",
            "app.kubernetes.io/managed-by",
            "countersign.dev/owner",
            "x.countersign.dev/y",
            "Kubernetes.io/x",
        ] {
            let element = "spec.authentication.methods[0].secret.template.labels";
            assert_eq!(label(key), one(element, reason::INVALID), "{key}");
        }
        for key in ["team", "example.com/x", "mykubernetes.io/x"] {
            assert_eq!(label(key), [], "{key}");
        }
    }

    #[test]
    fn secret_settings_that_contradict_each_other_are_refused() {
        let element = |rest: &str| format!("spec.authentication.methods[0].secret.{rest}");
        let same_key = with_secret(|secret| secret.keys.issuer = "client_id".to_owned());
        assert_eq!(same_key, one(&element("keys.issuer"), reason::INVALID));
        let bad_key = with_secret(|secret| secret.keys.ca = "a/b".to_owned());
        assert_eq!(bad_key, one(&element("keys.ca"), reason::INVALID));
        let short = with_secret(|secret| secret.rotation.max_overlap = Duration::from_secs(1));
        assert_eq!(short, one(&element("rotation.maxOverlap"), reason::INVALID));
        let zero = with_secret(|secret| secret.rotation.period = Some(Duration::ZERO));
        assert_eq!(zero, one(&element("rotation.period"), reason::INVALID));
        let foreign = with_secret(|secret| {
            secret.mode = SecretMode::Reference;
            secret.rotation.period = Some(Duration::from_hours(1));
        });
        assert_eq!(foreign, one(&element("mode"), reason::INVALID));
    }
}
