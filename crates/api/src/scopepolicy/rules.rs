//! What each request needs.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Mode;
use crate::choice::choice;
use crate::schema::{self, ConditionForm, Item, MethodForm, NameForm, PathForm, ScopeForm};

/// What the requests it matches need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(self.protection == 'Scoped') == (has(self.allow) && size(self.allow) > 0)")
    .message("protection: Scoped needs allow; Public and Authenticated must not have it"))]
#[serde(rename_all = "camelCase")]
pub struct PolicyRule {
    /// What it is called in verdicts, logs and metrics, such as `read-one-order`. Unique within the policy.
    #[schemars(schema_with = "schema::text::<NameForm>")]
    pub name: String,
    /// Which requests it is about: any entry suffices. One to 16.
    #[serde(default)]
    #[schemars(!default, schema_with = "schema::list::<Match>")]
    pub matches: Vec<Match>,
    /// `Public`: no token is needed or read. `Authenticated`: a token for this audience with any scope. `Scoped`: a token
    /// that satisfies an entry of `allow`. Required, so that nothing is open by omission.
    pub protection: Protection,
    /// For `Scoped`: what suffices. Any entry does; within one entry everything must hold. One to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Allow>")]
    pub allow: Vec<Allow>,
    /// `Enforce` (default), or `Shadow`: decide as if the rule were absent, then count what it would have said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Fields of a later version. A rule that has any denies what it matches.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for PolicyRule {
    const MAX: u32 = 256;
    const KEYS: &'static [&'static str] = &["name"];
}

/// Which requests a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// HTTP methods, such as `[GET, HEAD]`: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT. Absent: every method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::some::<MethodForm, 9>")]
    pub methods: Vec<String>,
    /// The path.
    pub path: PathMatch,
    /// Fields of a later version. A rule with a match that has any denies what it matches.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for Match {
    const MAX: u32 = 16;
    const MIN: u32 = 1;
}

/// A path, as a rule writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!self.value.contains('//') && !self.value.contains('/./') && !self.value.contains('/../') && !self.value.endsWith('/.') && !self.value.endsWith('/..')")
        .message("a path must not contain empty segments, /./ or /../: write the path as the server sees it, /a/b"),
    validation = Rule::new("self.type == 'Template' || !(self.value.contains('{') || self.value.contains('}'))")
        .message("{ and } belong to type Template: write type: Template, or percent-encode them as %7B and %7D"),
    validation = Rule::new(r"self.type != 'Template' || self.value.matches('^(/([^{}/]+|\\{[A-Za-z_][A-Za-z0-9_]*\\}))*/?$')")
        .message("in a Template each parameter is a whole segment {name} of letters, digits and _, as in /orders/{id}")
)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// `Exact`: this path alone. `Template`: `{name}` stands for one whole segment, which `when` sees as `path.name`.
    /// `Prefix`: these segments and all below; `/orders` matches `/orders/7`, never `/orders-old`.
    #[serde(rename = "type")]
    pub kind: PathType,
    /// The path, such as `/orders/{id}`: the whole path of the request, case-sensitive, without the query.
    #[schemars(schema_with = "schema::text::<PathForm>")]
    pub value: String,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// One thing that suffices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Scopes the token must have, all of them. One to 16.
    #[schemars(schema_with = "schema::some::<ScopeForm, 16>")]
    pub scopes: Vec<String>,
    /// A CEL expression that must be true as well, such as `path.id == token.sub`. It sees `token` (claims; `token.scope`
    /// is a list), `request` (`method`, `host`, `path`, `query`, `headers`), `path` (template parameters) and `client`
    /// (`id`). An error, a missing key or a result that is not a bool denies. At most 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<ConditionForm>")]
    pub when: Option<String>,
    /// Fields of a later version. A rule with an entry that has any denies what it matches.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for Allow {
    const MAX: u32 = 16;
}

choice! {
    /// What a request needs.
    Protection default Scoped {
        /// Nothing.
        Public = "Public",
        /// A token.
        Authenticated = "Authenticated",
        /// A token with scopes.
        Scoped = "Scoped",
    }

    /// How a path is compared.
    PathType default Exact {
        /// Whole.
        Exact = "Exact",
        /// Segment by segment, with parameters.
        Template = "Template",
        /// The first segments.
        Prefix = "Prefix",
    }
}
