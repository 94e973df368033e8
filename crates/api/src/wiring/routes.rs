//! Routes of the Gateway API, as far as they matter here: HTTPRoutes, which policies name, and GRPCRoutes, which stand beside them
//! below a Gateway.
//!
//! Flows in: objects. Flows out: what the two kinds have in common.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::world::Place;

/// What an HTTPRoute says.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    plural = "httproutes",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "Which requests go where."
)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    /// Hosts; none: those of the listeners.
    pub hostnames: Vec<String>,
    /// The gateways it is attached to.
    pub parent_refs: Vec<ParentRef>,
}

/// What a GRPCRoute says.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GRPCRoute",
    root = "GrpcRoute",
    plural = "grpcroutes",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "Which calls go where."
)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRouteSpec {
    /// Hosts; none: those of the listeners.
    pub hostnames: Vec<String>,
    /// The gateways it is attached to.
    pub parent_refs: Vec<ParentRef>,
}

/// A gateway a route is attached to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    /// Absent: `gateway.networking.k8s.io`.
    pub group: Option<String>,
    /// Absent: `Gateway`.
    pub kind: Option<String>,
    /// Absent: the route's.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// A listener; absent: all.
    pub section_name: Option<String>,
}

/// A route of either kind.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) kind: &'static str,
    pub(super) place: &'a Place,
    pub(super) labels: Option<&'a BTreeMap<String, String>>,
    pub(super) hostnames: &'a [String],
    parents: &'a [ParentRef],
}

// === impl Route ===

impl<'a> Route<'a> {
    pub(super) fn http(place: &'a Place, HttpRoute { metadata, spec }: &'a HttpRoute) -> Self {
        let (labels, parents) = (metadata.labels.as_ref(), &spec.parent_refs);
        Self { kind: "HTTPRoute", place, labels, hostnames: &spec.hostnames, parents }
    }

    pub(super) fn grpc(place: &'a Place, GrpcRoute { metadata, spec }: &'a GrpcRoute) -> Self {
        let (labels, parents) = (metadata.labels.as_ref(), &spec.parent_refs);
        Self { kind: "GRPCRoute", place, labels, hostnames: &spec.hostnames, parents }
    }

    /// The Gateways it is attached to, each with the listener it names, if any.
    pub(super) fn gateways(self) -> impl Iterator<Item = (Place, Option<&'a str>)> {
        let (namespace, _) = self.place;
        self.parents.iter().filter_map(|parent| Some((parent.gateway(namespace)?, parent.section_name.as_deref())))
    }
}

// === impl ParentRef ===

impl ParentRef {
    /// The Gateway it names, if it names one; from a route of this namespace.
    fn gateway(&self, of: &str) -> Option<Place> {
        let group = self.group.as_deref().is_none_or(|group| group == super::GATEWAY_GROUP);
        let kind = self.kind.as_deref().is_none_or(|kind| kind == "Gateway");
        let namespace = self.namespace.clone().unwrap_or_else(|| of.to_owned());
        (group && kind).then(|| (namespace, self.name.clone()))
    }
}
