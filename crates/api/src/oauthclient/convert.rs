//! An OAuthClient as the core has it, every default filled in.
//!
//! Flows in: the object. Flows out: a `ClientObject`, whose spec is a `Client` or all that is wrong with it.

use countersign_core::client as core;
use countersign_core::client::{Client, ClientObject, ClientSpec};
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
            accepted_since: status.and_then(|status| status.secret.as_ref()).and_then(|secret| secret.accepted_since),
        })
    }
}

fn client_id(object: &ObjectRef, spec: &OAuthClientSpec) -> Result<ClientId, Problem> {
    match &spec.client_id {
        Some(id) => read("spec.clientId", id),
        None => ClientId::new(&format!("{}.{}", object.namespace, object.name)).map_err(|_| {
            let message = format!("namespace and name together must have at most {} characters", ClientId::MAX - 1);
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
    let signing_key = tokens.signing_key.as_deref().unwrap_or("default");
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
