//! OAuthClient: an application that asks for access tokens.
//!
//! Flows in: what a team wrote. Flows out: `core::client::Client` (convert.rs); `status` is a report, apart from
//! `epoch` and `secret.acceptedSince`, which issuers read.

mod authentication;
mod convert;
mod convert_authentication;
mod memory;
mod status;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use authentication::*;
pub(crate) use convert::scopes;
pub use status::*;

use crate::choice::choice;
use crate::duration::Duration;
use crate::schema::{
    self, AudienceForm, ClientIdForm, IssuerForm, Item, LineForm, NameForm, RedirectUriForm, ScopeForm,
};

/// What an application may ask for and how it proves who it is.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "countersign.dev",
    version = "v1alpha1",
    kind = "OAuthClient",
    namespaced,
    shortname = "oac",
    category = "countersign",
    doc = "An application that gets OAuth 2.0 access tokens. Countersign writes its client id and client secret into a Secret of the same namespace; the scopes it may have are those that a ScopePolicy grants it.",
    derive = "PartialEq",
    status = "OAuthClientStatus",
    selectable = ".spec.issuer",
    selectable = ".spec.state",
    selectable = ".status.clientId",
    validation = Rule::new("size(self.metadata.name) <= 200").message("metadata.name must have at most 200 characters: choose a shorter name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the client can get tokens."),
    printcolumn(name = "Client-Id", type_ = "string", json_path = ".status.clientId", description = "The client's identifier."),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secret.name", description = "The Secret that holds the credentials."),
    printcolumn(name = "Grants", type_ = "string", json_path = ".status.grants", description = "How many of the scopes it asks for are granted.", priority = "1"),
    printcolumn(name = "Rotates", type_ = "string", json_path = ".status.secret.nextRotation", description = "When the client secret is rotated next.", priority = "1"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "What is, and what to do about it.", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("has(self.clientId) == has(oldSelf.clientId) && (!has(self.clientId) || self.clientId == oldSelf.clientId)")
        .message("clientId cannot change, be added or be removed: create another OAuthClient, move its users, then delete this one").field_path(".clientId"),
    validation = Rule::new("!has(self.access) || size(self.access) < 2 || has(self.defaultAudience)")
        .message("access names several audiences: write defaultAudience to say which one a token request without resource and scope means"),
    validation = Rule::new("!has(self.defaultAudience) || (has(self.access) && self.access.exists(a, a.audience == self.defaultAudience))")
        .message("defaultAudience must be the audience of an entry of access"),
    validation = Rule::new("!has(self.grantTypes) || !self.grantTypes.exists(g, g in ['AuthorizationCode', 'Implicit']) || (has(self.redirectUris) && size(self.redirectUris) > 0)")
        .message("AuthorizationCode and Implicit need redirectUris: name where the user is sent back to"),
    validation = Rule::new("!has(self.grantTypes) || !('RefreshToken' in self.grantTypes) || self.grantTypes.exists(g, g in ['AuthorizationCode', 'DeviceCode', 'Password'])")
        .message("RefreshToken needs a grant that gives a refresh token: add AuthorizationCode, DeviceCode or Password"),
    validation = Rule::new("!has(self.authentication) || !has(self.authentication.methods) || !self.authentication.methods.exists(m, m.type == 'None') || (has(self.grantTypes) && !('ClientCredentials' in self.grantTypes))")
        .message("a client without authentication (None) cannot use ClientCredentials: name other grantTypes, or a method that proves who it is")
)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientSpec {
    /// The installation this client belongs to: the `--issuer-name` of the Countersign that shall serve it. Other
    /// installations leave the object alone. Default `default`. Cannot change.
    #[serde(default = "crate::default_issuer")]
    #[schemars(schema_with = "schema::text::<IssuerForm>")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("issuer cannot change: create the object anew under the other issuer"))]
    pub issuer: String,
    /// The client identifier the application sends. Default `<namespace>.<name>`, such as `shop.checkout`. Any other
    /// value needs a NamespaceAllowance that lists it. Letters, digits and `. _ ~ -`. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<ClientIdForm>")]
    pub client_id: Option<String>,
    /// What people are shown on consent pages, such as `Checkout`. One line, without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<LineForm>")]
    pub display_name: Option<String>,
    /// `Active`: the client may get tokens. `Suspended`: it gets none, and those it has are refused at once. Default `Active`.
    #[serde(default)]
    pub state: ClientState,
    /// How the client gets tokens. `ClientCredentials` (the default when the list is absent): for itself.
    /// `TokenExchange`: for the bearer of a token of an audience whose ScopePolicy names the client in `resourceServers`.
    /// `AuthorizationCode`, `RefreshToken`, `DeviceCode`: for a person. `Password`, `Implicit`: only where the issuer allows
    /// legacy grants. All but the first two need a NamespaceAllowance. A choice that is not built yet is reported as `Accepted=False`, `NotImplemented`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::choices::<GrantType, 8>")]
    pub grant_types: Vec<GrantType>,
    /// What the client may ask for, audience by audience, so that equal scope names of two services never mix. A scope
    /// takes effect once a ScopePolicy for that audience grants it; see `status.granted` and `status.refused`. At most 64 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Access>")]
    pub access: Vec<Access>,
    /// The audience of a token whose request names neither `resource` nor a scope that decides. Required when `access` has several entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<AudienceForm>")]
    pub default_audience: Option<String>,
    /// Where a person's browser may be sent back to, compared character by character: an https URL, http on a loopback
    /// address (`http://127.0.0.1:8400/callback`), or a private-use scheme (`com.example.app:/callback`). At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::set::<RedirectUriForm, 32>")]
    pub redirect_uris: Vec<String>,
    /// How the client proves who it is. Default: one client secret in the Secret `<name>-oauth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// What the client's tokens look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Tokens issued before this was raised are refused: each raise starts a new epoch. RFC 3339, such as
    /// `2026-11-22T04:00:00Z`. Use it when tokens, but not the client secret, may have leaked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time_or_null")]
    pub tokens_not_before: Option<Timestamp>,
    /// What becomes of the Secret when this object is deleted. `Delete` removes it, `Retain` leaves it. Default `Delete`.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Fields of a later version. An object that has any is not accepted.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// Scopes of one audience that a client may ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The resource server, as its ScopePolicy names itself, such as `https://orders.shop.svc`.
    #[schemars(schema_with = "schema::text::<AudienceForm>")]
    pub audience: String,
    /// The scopes the client may ask for there, such as `orders:read`. One to 64.
    #[schemars(schema_with = "schema::some::<ScopeForm, 64>")]
    pub scopes: Vec<String>,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for Access {
    const MAX: u32 = 64;
    const KEYS: &'static [&'static str] = &["audience"];
}

/// What a client's tokens look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// How long an access token is good for, such as `15m`. Default 15m. The issuer's `--max-access-token-lifetime`
    /// (1h), or a NamespaceAllowance where it says less or more, is the most it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("accessTokenLifetime must be from 1s to 24h"))]
    pub access_token_lifetime: Option<Duration>,
    /// `Jwt`: signed tokens any resource server can check by itself (RFC 9068). `Opaque`: random tokens that only introspection understands. Default `Jwt`.
    #[serde(default)]
    pub format: TokenFormat,
    /// The SigningKey of the system namespace that signs them. Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<NameForm>")]
    pub signing_key: Option<String>,
    /// Private claims added to each token as they are, such as `{tier: gold}`. Registered names (`sub`, `aud`, `scope`, …)
    /// are refused. At most 16. They are readable to whoever holds a token: nothing secret belongs here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::anything::<16>")]
    pub claims: BTreeMap<String, Value>,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

choice! {
    /// Whether a client may get tokens.
    ClientState default Active {
        /// It may.
        Active = "Active",
        /// It may not, and its tokens are refused.
        Suspended = "Suspended",
    }

    /// How a client gets tokens.
    GrantType default ClientCredentials {
        /// RFC 6749 section 4.4.
        ClientCredentials = "ClientCredentials",
        /// RFC 6749 section 4.1, with PKCE.
        AuthorizationCode = "AuthorizationCode",
        /// RFC 6749 section 6.
        RefreshToken = "RefreshToken",
        /// RFC 8693.
        TokenExchange = "TokenExchange",
        /// RFC 8628.
        DeviceCode = "DeviceCode",
        /// RFC 6749 section 4.3, legacy.
        Password = "Password",
        /// RFC 6749 section 4.2, legacy.
        Implicit = "Implicit",
    }

    /// What an access token is.
    TokenFormat default Jwt {
        /// A signed token (RFC 9068).
        Jwt = "Jwt",
        /// A random handle (RFC 7662).
        Opaque = "Opaque",
    }

    /// What becomes of the Secret when the object is deleted.
    DeletionPolicy default Delete {
        /// It is deleted.
        Delete = "Delete",
        /// It stays.
        Retain = "Retain",
    }
}
