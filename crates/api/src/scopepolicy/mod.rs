//! ScopePolicy: what a resource server's owner protects, and who may have which scope.
//!
//! Flows in: what a team wrote. Flows out: `core::policy::Source` (convert.rs), element by element, so that one wrong
//! rule never takes the rest down.

mod convert;
mod convert_rules;
mod rules;
mod stand_in;
mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use rules::*;
pub use stand_in::stand_in;
pub use status::*;

use crate::choice::choice;
use crate::schema::{
    self, AudienceForm, ClientIdForm, HostForm, IssuerForm, Item, PrefixForm, ScopeForm, TargetForm, TextForm,
};
use crate::selector::NamespaceSelector;

/// Where a resource server is reached, which scopes exist, who may be granted them, and what they open.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "countersign.dev",
    version = "v1alpha1",
    kind = "ScopePolicy",
    plural = "scopepolicies",
    namespaced,
    shortname = "scp",
    category = "countersign",
    doc = "What the owner of a resource server protects: where it is reached, which scopes exist, who may be granted them, and what they open. Policies of one namespace that share an audience or a host add up; between namespaces any overlap is a conflict, which the older object wins.",
    derive = "PartialEq",
    status = "ScopePolicyStatus",
    selectable = ".spec.issuer",
    selectable = ".spec.audience",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the policy is in force."
    ),
    printcolumn(
        name = "Audience",
        type_ = "string",
        json_path = ".spec.audience",
        description = "The resource server its tokens are for."
    ),
    printcolumn(
        name = "Rules",
        type_ = "string",
        json_path = ".status.rules",
        description = "How many of its rules are in force."
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.mode",
        description = "Enforce, or Shadow: decide, count, let pass.",
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
pub struct ScopePolicySpec {
    /// The installation this policy belongs to: the `--issuer-name` of the Countersign that shall enforce it. Other
    /// installations leave the object alone. Default `default`. Cannot change.
    #[serde(default = "crate::default_issuer")]
    #[schemars(schema_with = "schema::text::<IssuerForm>")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("issuer cannot change: create the object anew under the other issuer"))]
    pub issuer: String,
    /// The resource server, as tokens name it in `aud`: an absolute URI without a fragment, such as `https://orders.shop.svc`.
    /// `https://` before a name of one of this namespace's Services needs no permission; any other audience needs a NamespaceAllowance.
    #[schemars(schema_with = "schema::text::<AudienceForm>")]
    pub audience: String,
    /// What this policy protects, in its own namespace. A Service claims all its DNS names (`orders.shop`, `orders.shop.svc`, …),
    /// with and without port. An HTTPRoute or Gateway says where to attach. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<TargetRef>")]
    pub target_refs: Vec<TargetRef>,
    /// Further names the resource server is reached under; each needs a NamespaceAllowance. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Route>")]
    pub routes: Vec<Route>,
    /// `Enforce`: verdicts hold. `Shadow`: the whole policy, `unmatched` included, is decided and counted, and every request
    /// passes; the condition `NotEnforcing` says so. Default `Enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// The scopes that exist for this audience, such as `orders:read`. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<ScopeDefinition>")]
    pub scopes: Vec<ScopeDefinition>,
    /// Who may be granted which of the scopes. Without a grant nobody has a scope. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Grant>")]
    pub grants: Vec<Grant>,
    /// Clients of this namespace that may exchange tokens of this audience for tokens of the next one, in the name of whom they
    /// are called by (RFC 8693), by client identifier, such as `shop.orders`. They need `TokenExchange` in their `grantTypes`,
    /// and get no scope that they are not granted themselves. At most 64. (Any client of the namespace may introspect them.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::set::<ClientIdForm, 64>")]
    pub resource_servers: Vec<String>,
    /// What each request needs. The most specific matching path decides; if none of its rules has the method, the request
    /// is refused. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<PolicyRule>")]
    pub rules: Vec<PolicyRule>,
    /// What a request needs that no rule's path matches. `Deny`: it is refused. `Authenticated`: a token for this audience. Default `Deny`.
    #[serde(default)]
    pub unmatched: Unmatched,
    /// `Deny`: a CORS preflight (OPTIONS with Origin and Access-Control-Request-Method) needs what any request needs.
    /// `Allow`: it passes without a token. Default `Deny`.
    #[serde(default)]
    pub cors_preflight: CorsPreflight,
    /// Where a token may stand in a request. `Header`: `Authorization: Bearer` (the default when the list is absent).
    /// `Form`, `Query`: the parameter `access_token` (RFC 6750). `Cookie`: a cookie. `Basic`: the password of HTTP Basic.
    /// A choice that is not built yet is reported as `NotImplemented`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::choices::<TokenSource, 5>")]
    pub token_sources: Vec<TokenSource>,
    /// Fields of a later version. A policy that has any denies what it protects.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// What a policy protects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(self.group == '') == (self.kind == 'Service')")
    .message("write group: \"\" with kind: Service, and group: gateway.networking.k8s.io with kind: HTTPRoute or Gateway"))]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// The kind's API group: `""` for Service, `gateway.networking.k8s.io` for HTTPRoute and Gateway.
    pub group: TargetGroup,
    /// `Service`, `HTTPRoute` or `Gateway`.
    pub kind: TargetKind,
    /// The object's name, in this policy's namespace.
    #[schemars(schema_with = "schema::text::<TargetForm>")]
    pub name: String,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for TargetRef {
    const MAX: u32 = 16;
    const KEYS: &'static [&'static str] = &["group", "kind", "name"];
}

/// Further names a resource server is reached under.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Hosts, such as `api.example.com`, `*.orders.example.com` (everything below, not the name itself) or
    /// `api.example.com:8443`. One to 16.
    #[schemars(schema_with = "schema::some::<HostForm, 16>")]
    pub hosts: Vec<String>,
    /// Only what lies under these segments, such as `/orders`. Absent: every path. The paths of `rules` are whole request
    /// paths, this prefix included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<PrefixForm>")]
    pub path_prefix: Option<String>,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for Route {
    const MAX: u32 = 64;
}

/// A scope of this audience.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopeDefinition {
    /// The scope, such as `orders:read`.
    #[schemars(schema_with = "schema::text::<ScopeForm>")]
    pub name: String,
    /// What it allows, for people, such as `Read orders`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<TextForm>")]
    pub description: Option<String>,
}

impl Item for ScopeDefinition {
    const MAX: u32 = 256;
    const KEYS: &'static [&'static str] = &["name"];
}

/// Who may be granted some scopes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The scopes; each must be in `scopes` of a policy of this audience. One to 64.
    #[schemars(schema_with = "schema::some::<ScopeForm, 64>")]
    pub scopes: Vec<String>,
    /// Whose clients may have them: any entry suffices. One to 64.
    #[serde(default)]
    #[schemars(!default, schema_with = "schema::list::<Grantee>")]
    pub to: Vec<Grantee>,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for Grant {
    const MAX: u32 = 256;
}

/// Whose clients may have a scope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.namespaces), has(self.namespaceSelector), has(self.client)].filter(x, x).size() == 1")
    .message("write exactly one of namespaces, namespaceSelector and client in each entry of to"))]
#[serde(rename_all = "camelCase")]
pub struct Grantee {
    /// `Same`: every client of this namespace. `All`: every client of every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
    /// Every client of the namespaces with these labels, such as `{matchLabels: {team: web}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,
    /// One client, by its client identifier, such as `web.frontend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<ClientIdForm>")]
    pub client: Option<String>,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for Grantee {
    const MAX: u32 = 64;
    const MIN: u32 = 1;
}

choice! {
    /// Whether verdicts hold.
    Mode default Enforce {
        /// They hold.
        Enforce = "Enforce",
        /// They are counted only.
        Shadow = "Shadow",
    }

    /// The API group of what a policy protects.
    TargetGroup default Core {
        /// Services.
        Core = "",
        /// Routes and gateways.
        Gateway = "gateway.networking.k8s.io",
    }

    /// The kind of what a policy protects.
    TargetKind default Service {
        /// A Service.
        Service = "Service",
        /// An HTTPRoute of the Gateway API.
        HttpRoute = "HTTPRoute",
        /// A Gateway of the Gateway API.
        Gateway = "Gateway",
    }

    /// Which namespaces' clients may have a scope.
    Namespaces {
        /// The policy's own.
        Same = "Same",
        /// All.
        All = "All",
    }

    /// What a request needs that no rule matches.
    Unmatched default Deny {
        /// It is refused.
        Deny = "Deny",
        /// A token for this audience.
        Authenticated = "Authenticated",
    }

    /// Whether a CORS preflight passes without a token.
    CorsPreflight default Deny {
        /// It does not.
        Deny = "Deny",
        /// It does.
        Allow = "Allow",
    }

    /// Where a token may stand.
    TokenSource default Header {
        /// `Authorization: Bearer`.
        Header = "Header",
        /// The form parameter `access_token`.
        Form = "Form",
        /// The query parameter `access_token`.
        Query = "Query",
        /// A cookie.
        Cookie = "Cookie",
        /// The password of HTTP Basic.
        Basic = "Basic",
    }
}
