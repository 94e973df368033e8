//! What a client may ask for, and how it proves who it is.
//!
//! Flows in: a [`ClientSpec`], every field already a well-formed value, and the problems found on the way to it. Flows
//! out: a [`Client`], which exists only when nothing is wrong with the spec by itself. What other objects have to say
//! (bounds, conflicts, grants) is the Directory's.

mod certificate;
mod check;
mod keys_uri;
mod own_keys;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use self::certificate::{CertificateName, CertificateNames, DistinguishedName, NotDistinguished};
pub use self::keys_uri::{Hosts, KeysUri, KeysUriError, is_public};
pub use crate::client_secret::{AtDeadline, Retirement, Rotation};
use crate::names::{Audience, ClientId, ObjectName, ObjectRef, Uid};
use crate::policy::Problem;
use crate::scope::ScopeSet;
use crate::token::ClientKey;

/// An OAuthClient as the Directory holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientObject {
    /// Its namespace and name.
    pub object: ObjectRef,
    /// The UID the API server (or the data folder) gave it.
    pub uid: Uid,
    /// When it was created; settles conflicts in a cluster.
    pub created_at: Timestamp,
    /// `metadata.generation`.
    pub generation: i64,
    /// `countersign.dev/paused: "true"`: writes stop, revocations do not.
    pub paused: bool,
    /// The client id it claims, known also where the rest of the spec is wrong, so that a broken edit does not free it.
    pub client_id: Option<ClientId>,
    /// What it asks for, or all that is wrong with that.
    pub spec: Result<Client, Vec<Problem>>,
    /// `status.epoch`.
    pub epoch: u64,
    /// `status.secret.acceptedSince`.
    pub accepted_since: Option<Timestamp>,
    /// `status.secret.issuedAt`: when its newest secret value was issued.
    pub secret_issued_at: Option<Timestamp>,
}

/// A client nothing is wrong with by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Client(Arc<ClientSpec>);

impl Client {
    /// Accepts a spec, unless something was already found to be wrong with the object or is found now.
    pub fn accept(object: &ObjectRef, spec: ClientSpec, mut problems: Vec<Problem>) -> Result<Self, Vec<Problem>> {
        problems.extend(check::problems(object, &spec));
        if problems.is_empty() { Ok(Self(Arc::new(spec))) } else { Err(problems) }
    }
}

impl Deref for Client {
    type Target = ClientSpec;
    fn deref(&self) -> &ClientSpec {
        &self.0
    }
}

/// The spec of an OAuthClient, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSpec {
    /// `spec.clientId`, by default `<namespace>.<name>`.
    pub client_id: ClientId,
    /// For consent pages.
    pub display_name: Option<String>,
    /// Whether it may be used.
    pub state: ClientState,
    /// How it may obtain tokens.
    pub grant_types: Vec<GrantType>,
    /// What it may ask for, at most one entry an audience.
    pub access: Vec<Access>,
    /// Decides where neither resource nor scope does.
    pub default_audience: Option<Audience>,
    /// Where a browser may be sent back to.
    pub redirect_uris: Vec<String>,
    /// How it may authenticate; any one suffices.
    pub authentication: Vec<Method>,
    /// What its tokens are like.
    pub tokens: TokenSettings,
    /// Tokens of earlier epochs are refused; raising it starts an epoch.
    pub tokens_not_before: Option<Timestamp>,
    /// What becomes of the Secret when the client is deleted.
    pub deletion_policy: DeletionPolicy,
}

/// Scopes of one audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The resource server.
    pub audience: Audience,
    /// What may be asked of it.
    pub scopes: ScopeSet,
}

/// Whether a client may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientState {
    /// It may.
    #[default]
    Active,
    /// It is treated as if it did not exist, and its tokens are revoked.
    Suspended,
}

/// A way to obtain tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantType {
    /// RFC 6749 section 4.4.
    ClientCredentials,
    /// RFC 6749 section 4.1.
    AuthorizationCode,
    /// RFC 6749 section 6.
    RefreshToken,
    /// RFC 8693.
    TokenExchange,
    /// RFC 8628.
    DeviceCode,
    /// RFC 6749 section 4.3.
    Password,
    /// RFC 6749 section 4.2.
    Implicit,
    /// One this version does not know.
    Unknown,
}

impl GrantType {
    /// Its name in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "ClientCredentials",
            Self::AuthorizationCode => "AuthorizationCode",
            Self::RefreshToken => "RefreshToken",
            Self::TokenExchange => "TokenExchange",
            Self::DeviceCode => "DeviceCode",
            Self::Password => "Password",
            Self::Implicit => "Implicit",
            Self::Unknown => "this grant type",
        }
    }
}

/// A way to prove who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a client has a handful, and nearly always this one")]
pub enum Method {
    /// A value in a Secret.
    ClientSecret(SecretSettings),
    /// A token of a pod that runs as one of these ServiceAccounts of the object's namespace.
    ServiceAccount(Vec<ObjectName>),
    /// An assertion signed with one of its own keys.
    PrivateKeyJwt(RegisteredKeys),
    /// A client certificate with this name.
    MutualTls(CertificateName),
    /// No proof: a public client.
    None,
    /// One that is built but was written wrong: whoever read it says how.
    Misread,
    /// One this version does not know.
    Unknown,
}

/// Where a client's own keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisteredKeys {
    /// In the spec.
    Listed(Vec<ClientKey>),
    /// At a URL of the client's.
    Published(KeysUri),
}

impl Method {
    /// Its name in a manifest.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ClientSecret(_) => "ClientSecret",
            Self::ServiceAccount(_) => "ServiceAccount",
            Self::PrivateKeyJwt(_) => "PrivateKeyJwt",
            Self::MutualTls(_) => "MutualTls",
            Self::None => "None",
            Self::Misread | Self::Unknown => "this method",
        }
    }
}

/// The Secret of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSettings {
    /// By default `<client name>-oauth`.
    pub name: ObjectName,
    /// Who writes it.
    pub mode: SecretMode,
    /// The names of its entries.
    pub keys: SecretKeys,
    /// Labels the Secret gets besides ours.
    pub labels: BTreeMap<String, String>,
    /// Annotations the Secret gets besides ours.
    pub annotations: BTreeMap<String, String>,
    /// How values follow one another.
    pub rotation: Rotation,
    /// Values issued earlier are refused at once.
    pub reject_issued_before: Option<Timestamp>,
}

/// Who writes a client's Secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretMode {
    /// The controller, from nothing.
    #[default]
    Create,
    /// Someone else: it is waited for, never invented.
    Reference,
    /// The controller, taking over what someone else wrote.
    Adopt,
}

/// Under which keys of the Secret its entries are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKeys {
    /// The client id.
    pub client_id: String,
    /// The secret value.
    pub client_secret: String,
    /// The issuer URL.
    pub issuer: String,
    /// The token endpoint's URL.
    pub token_endpoint: String,
    /// The JWKS URL.
    pub jwks_uri: String,
    /// The CA bundle that the issuer's certificate chains to.
    pub ca: String,
}

impl ClientSpec {
    /// The Secret through which the client authenticates, if it does so with one.
    pub fn secret(&self) -> Option<&SecretSettings> {
        self.authentication
            .iter()
            .find_map(|method| if let Method::ClientSecret(secret) = method { Some(secret) } else { None })
    }

    /// The ServiceAccounts whose tokens prove that the client is who it says.
    pub fn service_accounts(&self) -> &[ObjectName] {
        let mut methods = self.authentication.iter();
        methods
            .find_map(
                |method| if let Method::ServiceAccount(accounts) = method { Some(accounts.as_slice()) } else { None },
            )
            .unwrap_or_default()
    }

    /// What the certificate must say by which the client proves who it is, if it does so by one.
    pub fn certificate(&self) -> Option<&CertificateName> {
        self.authentication
            .iter()
            .find_map(|method| if let Method::MutualTls(name) = method { Some(name) } else { None })
    }

    /// The keys whose assertions prove that the client is who it says, if it proves that by some.
    pub fn registered_keys(&self) -> Option<&RegisteredKeys> {
        self.authentication.iter().find_map(|method| match method {
            Method::PrivateKeyJwt(keys) => Some(keys),
            _ => None,
        })
    }

    /// Where its keys are fetched from, if they are.
    pub fn keys_uri(&self) -> Option<&KeysUri> {
        match self.registered_keys()? {
            RegisteredKeys::Published(uri) => Some(uri),
            RegisteredKeys::Listed(_) => None,
        }
    }

    /// What may be asked of the audience.
    pub fn access_to(&self, audience: &str) -> Option<&Access> {
        self.access.iter().find(|access| access.audience.as_str() == audience)
    }
}

impl SecretKeys {
    /// Each key with the name of its field.
    pub fn entries(&self) -> [(&'static str, &str); 6] {
        let Self { client_id, client_secret, issuer, token_endpoint, jwks_uri, ca } = self;
        [
            ("clientId", client_id),
            ("clientSecret", client_secret),
            ("issuer", issuer),
            ("tokenEndpoint", token_endpoint),
            ("jwksUri", jwks_uri),
            ("ca", ca),
        ]
    }
}

impl Default for SecretKeys {
    fn default() -> Self {
        Self {
            client_id: "client_id".to_owned(),
            client_secret: "client_secret".to_owned(),
            issuer: "issuer".to_owned(),
            token_endpoint: "token_endpoint".to_owned(),
            jwks_uri: "jwks_uri".to_owned(),
            ca: "ca.crt".to_owned(),
        }
    }
}

/// What the tokens of a client are like.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSettings {
    /// Their life; none: the installation's default.
    pub access_token_lifetime: Option<Duration>,
    /// Their form.
    pub format: TokenFormat,
    /// The SigningKey that signs them.
    pub signing_key: ObjectName,
    /// Private claims, added as they are.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

/// The form of an access token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenFormat {
    /// RFC 9068.
    #[default]
    Jwt,
    /// A reference.
    Opaque,
    /// One this version does not know.
    Unknown,
}

/// What becomes of a client's Secret when the client is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It is deleted too.
    #[default]
    Delete,
    /// It stays.
    Retain,
}
