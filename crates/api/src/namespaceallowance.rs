//! NamespaceAllowance: what the platform team allows beyond the default.
//!
//! Flows in: what the platform team wrote. Flows out: `core::bounds` ; all that match a namespace add up.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use countersign_core::bounds::{AllowanceObject, AllowedHost};
use countersign_core::client as core;
use countersign_core::names::{Audience, ClientId};
use countersign_core::policy::HostPattern;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::duration::Duration;
use crate::metadata::{self, MetadataError};
use crate::oauthclient::GrantType;
use crate::problems::{Problems, read, unknown_word};
use crate::schema::{self, AudienceForm, ClientIdForm, HostAndPathForm, HostForm, IssuerForm};
use crate::selector::NamespaceSelector;

/// What the objects of some namespaces may claim beyond the default.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "countersign.dev",
    version = "v1alpha1",
    kind = "NamespaceAllowance",
    shortname = "nsa",
    category = "countersign",
    doc = "What the platform team lets the objects of some namespaces claim. Without one, a namespace may claim the names of its own Services (orders.shop, orders.shop.svc, …), the audiences https://<such a name>, client ids <namespace>.<name> and the ClientCredentials grant. All allowances that select a namespace add up. The issuer's own URLs can never be claimed.",
    derive = "PartialEq",
    status = "NamespaceAllowanceStatus",
    selectable = ".spec.issuer",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the allowance is in force."
    ),
    printcolumn(
        name = "Selector",
        type_ = "string",
        json_path = ".spec.namespaceSelector",
        description = "Which namespaces it is for."
    ),
    printcolumn(name = "Hosts", type_ = "string", json_path = ".spec.hosts", description = "Hosts they may claim."),
    printcolumn(
        name = "Audiences",
        type_ = "string",
        json_path = ".spec.audiences",
        description = "Audiences they may claim.",
        priority = "1"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].message",
        description = "What is, and what to do about it.",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceAllowanceSpec {
    /// The installation this allowance is for: the `--issuer-name` of the Countersign that shall heed it. Default
    /// `default`. Cannot change.
    #[serde(default = "crate::default_issuer")]
    #[schemars(schema_with = "schema::text::<IssuerForm>")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("issuer cannot change: create the object anew under the other issuer"))]
    pub issuer: String,
    /// Which namespaces it is for, such as `{matchLabels: {kubernetes.io/metadata.name: shop}}`. Required; `{}` is every namespace.
    pub namespace_selector: NamespaceSelector,
    /// Hosts a ScopePolicy of theirs may name in `routes`, each with the path below which it may:
    /// `api.example.com/orders`, `*.orders.example.com` (everything below that name). At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::set::<HostAndPathForm, 64>")]
    pub hosts: Vec<String>,
    /// Audiences a ScopePolicy of theirs may have, compared character by character, such as `https://api.example.com/orders`. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::set::<AudienceForm, 64>")]
    pub audiences: Vec<String>,
    /// Hosts the `redirectUris` of their clients may name, such as `shop.example.com`. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::set::<HostForm, 64>")]
    pub redirect_hosts: Vec<String>,
    /// Client identifiers their clients may have besides `<namespace>.<name>`: those moved from another server, say. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::set::<ClientIdForm, 256>")]
    pub client_ids: Vec<String>,
    /// Grants their clients may use besides `ClientCredentials` and `TokenExchange`: `AuthorizationCode`, `RefreshToken`,
    /// `DeviceCode`, `Password`, `Implicit`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::choices::<GrantType, 8>")]
    pub grant_types: Vec<GrantType>,
    /// The longest `accessTokenLifetime` their clients may have, such as `1h`. Absent: the issuer's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("maxAccessTokenLifetime must be from 1s to 24h"))]
    pub max_access_token_lifetime: Option<Duration>,
    /// Fields of a later version. An allowance that has any allows nothing.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// What the controller reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceAllowanceStatus {
    /// The metadata.generation this status is about. Smaller than that: the last change is not yet seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::counter")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the allowance is in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

// === what it means ===

impl TryFrom<&NamespaceAllowance> for AllowanceObject {
    type Error = MetadataError;

    /// What cannot be read is left out and allows nothing; a field of a later version might narrow the rest.
    fn try_from(allowance: &NamespaceAllowance) -> Result<Self, MetadataError> {
        let spec = &allowance.spec;
        let mut problems = Problems::default();
        problems.unknown("spec", &spec.unknown);
        let selector = problems.keep(spec.namespace_selector.read("spec.namespaceSelector"));
        Ok(Self {
            name: metadata::name(&allowance.metadata)?,
            generation: metadata::generation(&allowance.metadata),
            selector: selector.filter(|_| spec.unknown.is_empty()),
            hosts: texts::<AllowedHost>("spec.hosts", &spec.hosts, &mut problems),
            audiences: texts::<Audience>("spec.audiences", &spec.audiences, &mut problems),
            redirect_hosts: texts::<HostPattern>("spec.redirectHosts", &spec.redirect_hosts, &mut problems),
            client_ids: texts::<ClientId>("spec.clientIds", &spec.client_ids, &mut problems),
            grant_types: grant_types(&spec.grant_types, &mut problems),
            max_access_token_lifetime: spec.max_access_token_lifetime.map(Duration::get),
            problems: problems.into_vec(),
        })
    }
}

fn texts<T: FromStr<Err: Display>>(list: &str, texts: &[String], problems: &mut Problems) -> Vec<T> {
    let read = texts.iter().enumerate().map(|(index, text)| read(&format!("{list}[{index}]"), text));
    read.filter_map(|text| problems.keep(text)).collect()
}

fn grant_types(grants: &[GrantType], problems: &mut Problems) -> Vec<core::GrantType> {
    let read = grants.iter().enumerate().map(|(index, grant)| match grant {
        GrantType::Unknown(word) => Err(unknown_word(&format!("spec.grantTypes[{index}]"), word)),
        grant => Ok(core::GrantType::from(grant)),
    });
    read.filter_map(|grant| problems.keep(grant)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::object;

    fn read(spec: &Value) -> AllowanceObject {
        let allowance: NamespaceAllowance = object("NamespaceAllowance", "shop-public", spec);
        AllowanceObject::try_from(&allowance).expect("has a name")
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_named() {
        let allowance = read(&json!({
            "namespaceSelector": {"matchLabels": {"team": "web"}}, "hosts": ["api.example.com/orders", "Bad"],
            "audiences": ["orders", "https://api.example.com"], "grantTypes": ["RefreshToken", "Telepathy"]
        }));
        assert!(allowance.selector.is_some());
        assert_eq!((allowance.hosts.len(), allowance.audiences.len(), allowance.grant_types.len()), (1, 1, 1));
        let elements: Vec<_> = allowance.problems.iter().map(|problem| problem.element.as_str()).collect();
        assert_eq!(elements, ["spec.hosts[1]", "spec.audiences[0]", "spec.grantTypes[1]"]);
    }

    #[test]
    fn an_allowance_that_may_be_narrower_than_it_reads_allows_nothing() {
        assert!(read(&json!({"namespaceSelector": {}, "except": ["shop"]})).selector.is_none());
        let expression = json!({"key": "team", "operator": "Like", "values": ["w*"]});
        let allowance = read(&json!({"namespaceSelector": {"matchExpressions": [expression]}}));
        assert!(allowance.selector.is_none());
        assert_eq!(allowance.problems[0].element, "spec.namespaceSelector.matchExpressions[0].operator");
    }
}
