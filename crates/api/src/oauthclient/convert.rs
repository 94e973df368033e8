//! An OAuthClient as the core has it, every default filled in.
//!
//! Flows in: the object. Flows out: a `ClientObject`, whose spec is a `Client` or all that is wrong with it.

use countersign_core::client as core;
use countersign_core::client::{Client, ClientObject, ClientSpec};
use countersign_core::keyring::DEFAULT_RING;
use countersign_core::names::{ClientId, ObjectName, ObjectRef};
use countersign_core::policy::Problem;
use countersign_core::scope::ScopeSet;

use super::{Access, ClientState, DeletionPolicy, GrantType, OAuthClient, OAuthClientSpec, TokenFormat, Tokens};
use crate::metadata::{self, MetadataError};
use crate::problems::{Problems, invalid, read, unknown_field, unknown_word};

impl TryFrom<&OAuthClient> for ClientObject {
    type Error = MetadataError;

    fn try_from(client: &OAuthClient) -> Result<Self, MetadataError> {
        let identity = metadata::identity(&client.metadata)?;
        let status = client.status.as_ref();
        let secret = status.and_then(|status| status.secret.as_ref());
        let client_id = client_id(&identity.object, &client.spec);
        let spec = spec(&identity.object, &client.spec, client_id.clone());
        Ok(Self {
            object: identity.object,
            uid: identity.uid,
            created_at: identity.created_at,
            generation: identity.generation,
            paused: metadata::is_paused(&client.metadata),
            client_id: client_id.ok(),
            spec,
            epoch: status
                .and_then(|status| status.epoch)
                .and_then(|epoch| u64::try_from(epoch).ok())
                .unwrap_or_default(),
            accepted_since: secret.and_then(|secret| secret.accepted_since),
            secret_issued_at: secret.and_then(|secret| secret.issued_at),
        })
    }
}

fn client_id(object: &ObjectRef, spec: &OAuthClientSpec) -> Result<ClientId, Problem> {
    match &spec.client_id {
        Some(id) => read("spec.clientId", id),
        None => ClientId::new(&format!("{}.{}", object.namespace, object.name)).map_err(|_| {
            let message = format!("together with the namespace it must have at most {} characters", ClientId::MAX - 1);
            invalid("metadata.name", message)
        }),
    }
}

fn spec(object: &ObjectRef, spec: &OAuthClientSpec, id: Result<ClientId, Problem>) -> Result<Client, Vec<Problem>> {
    let mut problems = Problems::default();
    problems.unknown("spec", &spec.unknown);
    let id = problems.keep(id);
    let state = problems.keep(state(&spec.state));
    let deletion_policy = problems.keep(deletion_policy(&spec.deletion_policy));
    let access = access(&spec.access, &mut problems);
    let default_audience = problems.optional("spec.defaultAudience", spec.default_audience.as_ref());
    let authentication = super::convert_authentication::methods(object, spec.authentication.as_ref(), &mut problems);
    let tokens = tokens(spec.tokens.clone().unwrap_or_default(), &mut problems);
    let (Some(client_id), Some(state), Some(deletion_policy), Some(tokens)) = (id, state, deletion_policy, tokens)
    else {
        return Err(problems.into_vec());
    };
    let spec = ClientSpec {
        client_id,
        display_name: spec.display_name.clone(),
        state,
        grant_types: grant_types(&spec.grant_types),
        access,
        default_audience,
        redirect_uris: spec.redirect_uris.clone(),
        authentication,
        tokens,
        tokens_not_before: spec.tokens_not_before,
        deletion_policy,
    };
    Client::accept(object, spec, problems.into_vec())
}

fn state(state: &ClientState) -> Result<core::ClientState, Problem> {
    match state {
        ClientState::Active => Ok(core::ClientState::Active),
        ClientState::Suspended => Ok(core::ClientState::Suspended),
        ClientState::Unknown(word) => Err(unknown_word("spec.state", word)),
    }
}

fn deletion_policy(policy: &DeletionPolicy) -> Result<core::DeletionPolicy, Problem> {
    match policy {
        DeletionPolicy::Delete => Ok(core::DeletionPolicy::Delete),
        DeletionPolicy::Retain => Ok(core::DeletionPolicy::Retain),
        DeletionPolicy::Unknown(word) => Err(unknown_word("spec.deletionPolicy", word)),
    }
}

fn grant_types(grants: &[GrantType]) -> Vec<core::GrantType> {
    if grants.is_empty() {
        return vec![core::GrantType::ClientCredentials];
    }
    grants.iter().map(core::GrantType::from).collect()
}

impl From<&GrantType> for core::GrantType {
    fn from(grant: &GrantType) -> Self {
        match grant {
            GrantType::ClientCredentials => Self::ClientCredentials,
            GrantType::AuthorizationCode => Self::AuthorizationCode,
            GrantType::RefreshToken => Self::RefreshToken,
            GrantType::TokenExchange => Self::TokenExchange,
            GrantType::DeviceCode => Self::DeviceCode,
            GrantType::Password => Self::Password,
            GrantType::Implicit => Self::Implicit,
            GrantType::Unknown(_) => Self::Unknown,
        }
    }
}

fn access(entries: &[Access], problems: &mut Problems) -> Vec<core::Access> {
    let read = entries.iter().enumerate().map(|(index, access)| one_access(&format!("spec.access[{index}]"), access));
    read.filter_map(|access| problems.keep(access)).collect()
}

fn one_access(element: &str, access: &Access) -> Result<core::Access, Problem> {
    if let Some(problem) = unknown_field(element, &access.unknown) {
        return Err(problem);
    }
    Ok(core::Access {
        audience: read(&format!("{element}.audience"), &access.audience)?,
        scopes: scopes(&format!("{element}.scopes"), &access.scopes)?,
    })
}

/// Reads the scopes of a list.
pub(crate) fn scopes(element: &str, scopes: &[String]) -> Result<ScopeSet, Problem> {
    scopes.iter().enumerate().map(|(index, scope)| read(&format!("{element}[{index}]"), scope)).collect()
}

fn tokens(tokens: Tokens, problems: &mut Problems) -> Option<core::TokenSettings> {
    problems.unknown("spec.tokens", &tokens.unknown);
    let signing_key = tokens.signing_key.as_deref().unwrap_or(DEFAULT_RING);
    let signing_key: ObjectName = problems.keep(read("spec.tokens.signingKey", signing_key))?;
    Some(core::TokenSettings {
        access_token_lifetime: tokens.access_token_lifetime.map(crate::Duration::get),
        format: match tokens.format {
            TokenFormat::Jwt => core::TokenFormat::Jwt,
            TokenFormat::Opaque => core::TokenFormat::Opaque,
            TokenFormat::Unknown(_) => core::TokenFormat::Unknown,
        },
        signing_key,
        claims: tokens.claims.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign_core::client::{Method, Rotation, SecretKeys, SecretMode};
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::object;

    fn read(spec: &Value) -> ClientObject {
        ClientObject::try_from(&object::<OAuthClient>("OAuthClient", "checkout", spec)).expect("has an identity")
    }

    /// Element and reason of each problem.
    fn problems(spec: &Value) -> Vec<(String, &'static str)> {
        let problems = read(spec).spec.err().unwrap_or_default();
        problems.into_iter().map(|problem| (problem.element, problem.reason)).collect()
    }

    #[test]
    fn an_empty_spec_gets_every_default() {
        let client = read(&json!({}));
        let spec = client.spec.expect("accepted");
        assert_eq!(client.client_id, Some(spec.client_id.clone()));
        assert_eq!((client.generation, client.epoch), (3, 0));
        assert_eq!((client.accepted_since, client.secret_issued_at), (None, None));
        assert_eq!(spec.client_id.as_str(), "shop.checkout");
        assert_eq!(spec.grant_types, [core::GrantType::ClientCredentials]);
        let secret = spec.secret().expect("one ClientSecret");
        assert_eq!(
            (secret.name.as_str(), secret.mode, secret.rotation),
            ("checkout-oauth", SecretMode::Create, Rotation::default())
        );
        assert_eq!(secret.keys, SecretKeys::default());
        assert_eq!(spec.tokens.signing_key.as_str(), "default");
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let spec = read(&json!({
            "clientId": "9f2b", "state": "Suspended", "deletionPolicy": "Retain", "tokensNotBefore": "2026-11-22T04:00:00Z",
            "access": [{"audience": "https://orders.shop.svc", "scopes": ["b", "a"]}],
            "authentication": {"methods": [{"type": "ClientSecret", "secret": {
                "name": "other", "mode": "Adopt", "keys": {"clientId": "id"}, "template": {"labels": {"team": "web"}},
                "rotation": {"period": "720h", "overlap": "2h", "retirement": "AfterOverlap", "maxOverlap": "3h", "atDeadline": "Reject"}
            }}]},
            "tokens": {"accessTokenLifetime": "5m", "signingKey": "other", "claims": {"tier": "gold"}}
        }));
        let spec = spec.spec.expect("accepted");
        assert_eq!((spec.client_id.as_str(), spec.state), ("9f2b", core::ClientState::Suspended));
        assert_eq!(spec.access[0].scopes.to_string(), "a b");
        let [Method::ClientSecret(secret)] = spec.authentication.as_slice() else { panic!("one ClientSecret") };
        assert_eq!(
            (secret.name.as_str(), secret.mode, secret.keys.client_id.as_str()),
            ("other", SecretMode::Adopt, "id")
        );
        let rotation = Rotation {
            period: Some(Duration::from_hours(720)),
            overlap: Duration::from_hours(2),
            retirement: core::Retirement::AfterOverlap,
            max_overlap: Duration::from_hours(3),
            at_deadline: core::AtDeadline::Reject,
        };
        assert_eq!(secret.rotation, rotation);
        assert_eq!(spec.tokens.access_token_lifetime, Some(Duration::from_mins(5)));
    }

    #[test]
    fn the_longest_names_a_cluster_allows_make_a_client_id() {
        let mut client = object::<OAuthClient>("OAuthClient", &"c".repeat(200), &json!({}));
        client.metadata.namespace = Some("n".repeat(63));
        let read = ClientObject::try_from(&client).expect("has an identity");
        assert!(read.spec.is_ok(), "{:?}", read.spec);
        assert_eq!(read.client_id.map(|id| id.as_str().len()), Some(ClientId::MAX));
    }

    #[test]
    fn what_status_remembers_of_epoch_and_secret_is_read() {
        let mut client = object::<OAuthClient>("OAuthClient", "checkout", &json!({}));
        let secret = json!({"issuedAt": "2026-11-22T04:00:00Z", "acceptedSince": "2026-11-21T04:00:00Z"});
        client.status = serde_json::from_value(json!({"epoch": 4, "secret": secret})).expect("a status");
        let client = ClientObject::try_from(&client).expect("has an identity");
        let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
        assert_eq!(
            (client.epoch, client.secret_issued_at, client.accepted_since),
            (4, time("2026-11-22T04:00:00Z"), time("2026-11-21T04:00:00Z"))
        );
    }

    #[test]
    fn each_thing_that_is_wrong_is_named() {
        for (spec, element, reason) in [
            (json!({"clientId": "a:b"}), "spec.clientId", "Invalid"),
            (json!({"state": "Paused"}), "spec.state", "NotImplemented"),
            (json!({"later": 1}), "spec.later", "NotImplemented"),
            (
                json!({"access": [{"audience": "x:y", "scopes": ["r"], "later": 1}]}),
                "spec.access[0].later",
                "NotImplemented",
            ),
            (json!({"access": [{"audience": "x", "scopes": ["r"]}]}), "spec.access[0].audience", "Invalid"),
            (json!({"access": [{"audience": "x:y", "scopes": ["r", "a b"]}]}), "spec.access[0].scopes[1]", "Invalid"),
            (json!({"grantTypes": ["AuthorizationCode"]}), "spec.grantTypes[0]", "NotImplemented"),
            (json!({"tokens": {"format": "Opaque"}}), "spec.tokens.format", "NotImplemented"),
            (
                json!({"authentication": {"methods": [{"type": "Passkey"}]}}),
                "spec.authentication.methods[0].type",
                "NotImplemented",
            ),
            (
                json!({"authentication": {"methods": [{"type": "MutualTls"}]}}),
                "spec.authentication.methods[0].certificate",
                "Invalid",
            ),
            (
                json!({"authentication": {"methods": [{"type": "MutualTls", "certificate": {"sanDns": "a", "sanUri": "b:c"}}]}}),
                "spec.authentication.methods[0].certificate",
                "Invalid",
            ),
            (
                json!({"authentication": {"methods": [{"type": "MutualTls", "certificate": {"subjectDn": "checkout"}}]}}),
                "spec.authentication.methods[0].certificate.subjectDn",
                "Invalid",
            ),
            (
                json!({"authentication": {"methods": [{"type": "ClientSecret", "secret": {"mode": "Borrow"}}]}}),
                "spec.authentication.methods[0].secret.mode",
                "NotImplemented",
            ),
        ] {
            let found = problems(&spec);
            assert!(found.contains(&(element.to_owned(), reason)), "{spec}: {found:?}");
        }
    }

    #[test]
    fn a_method_that_is_written_wrong_is_not_said_to_be_unknown() {
        for (method, element) in [
            (json!({"type": "PrivateKeyJwt"}), "keys"),
            (json!({"type": "PrivateKeyJwt", "secret": {}}), "secret"),
            (json!({"type": "MutualTls"}), "certificate"),
            (json!({"type": "MutualTls", "certificate": {"subjectDn": "checkout"}}), "certificate.subjectDn"),
        ] {
            let spec = json!({"authentication": {"methods": [method]}});
            let element = format!("spec.authentication.methods[0].{element}");
            assert_eq!(problems(&spec), [(element, "Invalid")], "{spec}");
        }
    }

    #[test]
    fn a_broken_edit_keeps_the_client_id() {
        let client = read(&json!({"clientId": "9f2b", "state": "Paused"}));
        assert!(client.spec.is_err());
        assert_eq!(client.client_id.map(|id| id.to_string()).as_deref(), Some("9f2b"));
    }
}
