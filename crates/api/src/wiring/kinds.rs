//! The kinds of the Gateway API, Envoy Gateway and Istio, as far as they matter here.
//!
//! Of what is only read, the rest is left out. Of what is written, the rest is kept under `rest`, so that an addition by
//! somebody else is seen as one.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a Gateway says.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "Gateway",
    plural = "gateways",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "Where traffic comes in."
)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySpec {
    /// Whose it is.
    pub gateway_class_name: String,
    /// Its listeners.
    pub listeners: Vec<Listener>,
}

/// A listener of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its host; absent: every one.
    pub hostname: Option<String>,
}

/// What a GatewayClass says.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GatewayClass",
    plural = "gatewayclasses",
    schema = "disabled",
    derive = "PartialEq",
    doc = "Who makes gateways."
)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClassSpec {
    /// Who.
    pub controller_name: String,
}

/// Whom a namespace lets refer to what it has.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1beta1",
    kind = "ReferenceGrant",
    plural = "referencegrants",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "Whom a namespace lets refer to what it has."
)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    pub from: Vec<GrantFrom>,
    /// To what.
    pub to: Vec<GrantTo>,
}

/// Who may refer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrantFrom {
    /// The group of the object that refers.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
}

/// What may be referred to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrantTo {
    /// Its group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What Envoy Gateway asks before it lets a request pass.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.envoyproxy.io",
    version = "v1alpha1",
    kind = "SecurityPolicy",
    plural = "securitypolicies",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    status = "AttachedStatus",
    doc = "What Envoy Gateway asks before it lets a request pass."
)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityPolicySpec {
    /// A target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<LocalTarget>,
    /// Targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<LocalTarget>,
    /// Targets by label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_selectors: Vec<TargetSelector>,
    /// Whether it is merged with that of the parent; absent: it takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_type: Option<String>,
    /// Whom it asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_auth: Option<ExtAuth>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// An object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalTarget {
    /// Its group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// A part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// Objects by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetSelector {
    /// Their kind.
    pub kind: String,
    /// Labels they have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// Whom Envoy asks whether a request may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuth {
    /// What is told besides the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub context_extensions: Vec<ContextExtension>,
    /// Whether requests pass where there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,
    /// Whom, over gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcService>,
    /// The status where there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_on_error: Option<i32>,
    /// How long an answer may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// What is told besides the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextExtension {
    /// Its name.
    pub name: String,
    /// `Value`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// Whom Envoy asks over gRPC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcService {
    /// The Services.
    pub backend_refs: Vec<BackendRef>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendRef {
    /// `""`.
    pub group: String,
    /// `Service`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// What its controller says of an attached policy: of each place (Gateway API `PolicyStatus`), or of the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachedStatus {
    /// By place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<AttachedTo>,
    /// As a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Told>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// What is said of one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachedTo {
    /// What is said.
    pub conditions: Vec<Told>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// A condition, whatever else it holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// What it is about; a number, or a number as a text.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub observed_generation: Value,
}

/// What Istio asks before it lets a request pass.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "security.istio.io",
    version = "v1",
    kind = "AuthorizationPolicy",
    plural = "authorizationpolicies",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    status = "AttachedStatus",
    doc = "What Istio asks before it lets a request pass."
)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicySpec {
    /// `CUSTOM`: somebody else is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// About which requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Value>,
    /// At which workloads of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// At what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<LocalTarget>,
    /// At what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<LocalTarget>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// An extension provider of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// Its name in the mesh's configuration.
    pub name: String,
}

/// Workloads by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels they have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}
