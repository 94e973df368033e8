//! The world as it was observed.
//!
//! Flows in: watched objects. Flows out: look-ups by place, and of everything in a namespace.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_core::names::{Namespace, ObjectRef};
use kube::api::ObjectMeta;

use super::istio::MeshConfig;
use super::kinds::{AuthorizationPolicy, Gateway, GatewayClass, SecurityPolicy};
use super::routes::{GrpcRoute, HttpRoute, Route};

/// Namespace and name; of what has no namespace, that is empty.
pub type Place = (String, String);

/// Objects of a kind.
pub type Shelf<K> = BTreeMap<Place, Arc<K>>;

/// What is known of a kind.
#[derive(Clone, Debug, Default)]
pub enum Known<K> {
    /// The cluster has no such kind, or this installation does not look.
    #[default]
    Absent,
    /// Its first listing has not come yet.
    Unread,
    /// All there are.
    There(Shelf<K>),
}

/// Everything that decides how a policy is wired.
#[derive(Default)]
pub struct World {
    /// HTTPRoutes.
    pub routes: Known<HttpRoute>,
    /// GRPCRoutes: no policy names one, but somebody's policy on one may stand in the place of a Gateway's.
    pub grpc_routes: Known<GrpcRoute>,
    /// Gateways.
    pub gateways: Known<Gateway>,
    /// GatewayClasses.
    pub classes: Known<GatewayClass>,
    /// Envoy Gateway's policies.
    pub security: Known<SecurityPolicy>,
    /// Istio's policies.
    pub authorization: Known<AuthorizationPolicy>,
    /// Services: their labels and selectors.
    pub services: Known<Service>,
    /// The mesh's configuration; `None`: it cannot be read.
    pub mesh: Option<MeshConfig>,
}

/// What matters of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The labels of the pods behind it.
    pub selector: BTreeMap<String, String>,
}

/// Where this metadata says the object lies.
pub fn place(meta: &ObjectMeta) -> Place {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

// === impl Known ===

impl<K> Known<K> {
    /// The object at a place.
    pub fn get(&self, place: &Place) -> Option<&Arc<K>> {
        self.all().and_then(|shelf| shelf.get(place))
    }

    /// All there are, where that is known.
    pub fn all(&self) -> Option<&Shelf<K>> {
        if let Self::There(shelf) = self { Some(shelf) } else { None }
    }

    /// All of a namespace.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = (&Place, &Arc<K>)> {
        let from = (namespace.to_owned(), String::new());
        let all = self.all().into_iter().flat_map(move |shelf| shelf.range(from.clone()..));
        all.take_while(move |((of, _), _)| of == namespace)
    }

    /// Whether nothing is known of it yet.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Unread)
    }
}

// === impl World ===

impl World {
    /// Who makes a Gateway what it is: its class's controller.
    pub(super) fn controller(&self, gateway: &Gateway) -> Option<&str> {
        let class = self.classes.get(&(String::new(), gateway.spec.gateway_class_name.clone()))?;
        Some(class.spec.controller_name.as_str())
    }

    /// The routes attached to a Gateway.
    pub(super) fn routes_of<'a>(&'a self, gateway: &'a Place) -> impl Iterator<Item = Route<'a>> {
        let http = self.routes.all().into_iter().flatten().map(|(place, route)| Route::http(place, route));
        let grpc = self.grpc_routes.all().into_iter().flatten().map(|(place, route)| Route::grpc(place, route));
        http.chain(grpc).filter(move |route| route.gateways().any(|(place, _)| place == *gateway))
    }
}

/// The same place, as core names it.
pub(super) fn at(namespace: &Namespace, name: &str) -> Place {
    (namespace.to_string(), name.to_owned())
}

/// The same place, for people.
pub(super) fn shown((namespace, name): &Place) -> String {
    format!("{namespace}/{name}")
}

/// Where a policy's object of this name lies.
pub(super) fn beside(policy: &ObjectRef, name: &str) -> Place {
    at(&policy.namespace, name)
}
