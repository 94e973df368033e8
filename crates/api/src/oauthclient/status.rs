//! What the controller reports about a client.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::ClientState;
use crate::schema::{self, AudienceForm, ClientIdForm, Item, MessageForm, NameForm, ReasonForm, ScopeForm, TextForm};

/// What the controller reports. Nothing here grants a scope or an audience.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientStatus {
    /// The client identifier in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<ClientIdForm>")]
    pub client_id: Option<String>,
    /// The metadata.generation this status is about. Smaller than that: the last change is not yet seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::counter")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the spec is well-formed and allowed. `CredentialsReady`: the Secret holds a value that works.
    /// `ResolvedRefs`: what it names exists. `FullyGranted`: every scope of `access` is granted. `Ready`: it can get tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How many of the scopes it asks for are granted, such as `1 of 2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<TextForm>")]
    pub grants: Option<String>,
    /// What is granted: a report. Issuers compute it from the specs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Granted>")]
    pub granted: Vec<Granted>,
    /// What is asked for and not granted, and why. At most 64 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Refused>")]
    pub refused: Vec<Refused>,
    /// The client's epoch: tokens of an earlier one are refused. It only grows: on suspension, a raised `tokensNotBefore`,
    /// a compromise, a withdrawn grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::counter")]
    pub epoch: Option<i64>,
    /// What the epoch was computed from: the controller's memory for noticing a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_basis: Option<EpochBasis>,
    /// The client secret, without its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretStatus>,
}

/// Scopes granted for one audience.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// The resource server.
    #[schemars(schema_with = "schema::text::<AudienceForm>")]
    pub audience: String,
    /// The scopes, in order.
    #[serde(default)]
    #[schemars(!default, schema_with = "schema::set::<ScopeForm, 64>")]
    pub scopes: Vec<String>,
}

impl Item for Granted {
    const MAX: u32 = 64;
    const KEYS: &'static [&'static str] = &["audience"];
}

/// A scope that is asked for and not granted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// The resource server.
    #[schemars(schema_with = "schema::text::<AudienceForm>")]
    pub audience: String,
    /// The scope.
    #[schemars(schema_with = "schema::text::<ScopeForm>")]
    pub scope: String,
    /// Why, in one word.
    #[schemars(schema_with = "schema::text::<ReasonForm>")]
    pub reason: String,
    /// Why, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<MessageForm>")]
    pub message: Option<String>,
}

impl Item for Refused {
    const MAX: u32 = 64;
}

/// What the epoch was computed from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EpochBasis {
    /// `spec.state`, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ClientState>,
    /// `spec.tokensNotBefore`, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub tokens_not_before: Option<Timestamp>,
    /// `rejectIssuedBefore`, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub reject_issued_before: Option<Timestamp>,
}

/// The client secret, without its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// The Secret's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<NameForm>")]
    pub name: Option<String>,
    /// When the current value was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub issued_at: Option<Timestamp>,
    /// Values issued earlier are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub accepted_since: Option<Timestamp>,
    /// When a value older than the current one was last used, as far as the issuers reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub previous_last_used_at: Option<Timestamp>,
    /// When the value is replaced next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub next_rotation: Option<Timestamp>,
}
