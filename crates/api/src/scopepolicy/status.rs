//! What the controller reports about a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, ElementForm, Item, MessageForm, NameForm, ReasonForm, TextForm};

/// What the controller reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopePolicyStatus {
    /// The metadata.generation this status is about. Smaller than that: the last change is not yet seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::counter")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the policy is in force. `PartiallyInvalid`: some elements are left out or deny; `problems` names them.
    /// `ResolvedRefs`: what it names exists. `NotEnforcing`: it is in Shadow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How many of the rules are in force, such as `12 of 13`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<TextForm>")]
    pub rules: Option<String>,
    /// Elements that are left out (routes, scopes, grants) or deny (rules), and what to do. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<PolicyProblem>")]
    pub problems: Vec<PolicyProblem>,
    /// Where the policy is attached, as in the Gateway API. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Ancestor>")]
    pub ancestors: Vec<Ancestor>,
}

/// An element that is not in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyProblem {
    /// Which element, such as `spec.rules[3].matches[0].path`.
    #[schemars(schema_with = "schema::text::<ElementForm>")]
    pub element: String,
    /// Why, in one word.
    #[schemars(schema_with = "schema::text::<ReasonForm>")]
    pub reason: String,
    /// Why, and what to do about it.
    #[schemars(schema_with = "schema::text::<MessageForm>")]
    pub message: String,
}

impl Item for PolicyProblem {
    const MAX: u32 = 64;
}

/// An object the policy is attached to (Gateway API `PolicyAncestorStatus`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ancestor {
    /// The object.
    pub ancestor_ref: AncestorRef,
    /// Who says so: `countersign.dev/<issuer-name>`.
    #[schemars(schema_with = "schema::text::<TextForm>")]
    pub controller_name: String,
    /// What is said about the attachment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

impl Item for Ancestor {
    const MAX: u32 = 16;
}

/// An object a policy is attached to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AncestorRef {
    /// Its API group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<TextForm>")]
    pub group: Option<String>,
    /// Its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<ReasonForm>")]
    pub kind: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<NameForm>")]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(schema_with = "schema::text::<NameForm>")]
    pub name: String,
}
