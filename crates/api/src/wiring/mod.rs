//! What connects traffic to the verifier: objects of gateways and meshes, for policies that name an HTTPRoute, a Gateway, or
//! a Service of an Istio mesh in `targetRefs`.
//!
//! ```text
//! targets and hosts of a policy ─┐
//! routes, gateways, classes ─────┼─► attach (pure) ─► per target: what is so of it, and the object that shall be there
//! policies other people wrote ───┘
//! ```
//! Flows in: a policy, and the world as it was observed. Flows out: typed objects and words for the status. Nothing is read
//! or written here. What is written fails closed, and never stands over anybody else's policy.

mod attach;
mod envoy;
mod hosts;
mod istio;
mod kinds;
mod routes;
#[cfg(test)]
mod tests;
mod world;

use countersign_core::names::ObjectRef;
use countersign_core::policy::Target;
use serde_json::Value;

pub use attach::{Attachment, Subject, attach};
pub use envoy::{reference_grant, security_policy};
pub use istio::{Expected, MeshConfig, authorization_policy, provider, provider_name};
pub use kinds::*;
pub use routes::{GrpcRoute, GrpcRouteSpec, HttpRoute, HttpRouteSpec, ParentRef};
pub use world::{Known, Place, Service, Shelf, World, place};

/// The context extension that names the policy to a verifier.
pub const POLICY_EXTENSION: &str = "countersign.dev/policy";
/// The condition that says whether traffic comes to the verifier.
pub const WIRED: &str = "Wired";
/// The group of routes and gateways.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// Kubernetes allows no longer name (a DNS subdomain).
const LONGEST_NAME: usize = 253;

/// Where proxies find the verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    /// The namespace of its Service.
    pub namespace: String,
    /// Its Service.
    pub service: String,
    /// The domain under which the cluster's Services are found.
    pub cluster_domain: String,
}

/// What an installation writes for, and where its verifier is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// Where proxies find the verifier.
    pub verifier: Verifier,
    /// Whether objects of Envoy Gateway are written.
    pub envoy_gateway: bool,
    /// Whether objects of Istio are written.
    pub istio: bool,
}

/// What is so of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Whether the target's traffic comes to the verifier; `None`: not known yet.
    pub holds: Option<bool>,
    /// A CamelCase constant.
    pub reason: &'static str,
    /// What is, and what to do about it.
    pub message: String,
}

// === impl Verifier ===

impl Verifier {
    /// Envoy's `ext_authz` over gRPC.
    pub const GRPC: u16 = 9001;
    /// The HTTP wires.
    pub const HTTP: u16 = 9002;

    /// Its name in the cluster's DNS.
    pub fn host(&self) -> String {
        format!("{}.{}.svc.{}", self.service, self.namespace, self.cluster_domain)
    }
}

// === impl Word ===

impl Word {
    /// Traffic comes to the verifier.
    pub(crate) fn wired(message: impl Into<String>) -> Self {
        Self { holds: Some(true), reason: "Wired", message: message.into() }
    }

    /// It does not, or not all of it.
    pub(crate) fn not(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: Some(false), reason, message: message.into() }
    }

    /// Nobody knows yet.
    pub(crate) fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: None, reason, message: message.into() }
    }

    /// What is said of a policy whose targets nobody is to wire.
    pub fn not_enabled() -> Self {
        let message = "this installation writes no object of a gateway: set gateway.envoyGateway.enabled or gateway.istio.enabled in \
                       the chart's values, or apply what `countersign check --wiring envoy-gateway` prints";
        Self::not("NotEnabled", message)
    }

    /// What is said of a policy nobody has looked at yet.
    pub fn not_read() -> Self {
        let message = "gateways and routes are not read yet; where this stays, the controller may not list them: apply \
                       deploy/rbac.yaml, or set rbac.create in the chart's values";
        Self::unknown("NotRead", message)
    }

    /// What is said where the API server refuses an object.
    pub fn write_refused(why: impl std::fmt::Display) -> Self {
        Self::not("WriteRefused", format!("the API server refuses the object that connects the traffic: {why}"))
    }

    /// What is said while writes are stopped.
    pub fn paused() -> Self {
        Self::not(
            "Paused",
            "nothing is written while the policy is paused: remove the annotation countersign.dev/paused",
        )
    }

    /// What is said of all targets together: the first that is not wired.
    pub fn of_all<'a>(words: impl Iterator<Item = (&'a Target, &'a Self)>) -> Option<Self> {
        let mut all: Vec<_> = words.collect();
        let count = all.len();
        // No before not known, and that before yes; in the order of the spec.
        all.sort_by_key(|(_, word)| match word.holds {
            Some(false) => 0,
            None => 1,
            Some(true) => 2,
        });
        let (target, word) = *all.first()?;
        if word.holds == Some(true) {
            return Some(Self::wired(format!("what comes through {count} of {count} targets is asked about")));
        }
        Some(Self { message: format!("{}: {}", said(target), word.message), ..word.clone() })
    }
}

/// The kind and name of a target, for people.
pub(crate) fn said(target: &Target) -> String {
    let (_, kind, name) = parts(target);
    format!("{kind} {name}")
}

/// Group, kind and name of a target.
pub fn parts(target: &Target) -> (&'static str, &'static str, &str) {
    match target {
        Target::Service { name } => ("", "Service", name.as_str()),
        Target::HttpRoute { name } => (GATEWAY_GROUP, "HTTPRoute", name.as_str()),
        Target::Gateway { name } => (GATEWAY_GROUP, "Gateway", name.as_str()),
    }
}

/// What the object is called that wires a target of a policy.
pub fn object_name(policy: &ObjectRef, target: &Target) -> String {
    let (_, kind, name) = parts(target);
    name_on(policy, kind, name)
}

/// The same by the target's kind and name.
fn name_on(policy: &ObjectRef, kind: &str, name: &str) -> String {
    fitting(format!("{}.{}.{name}", policy.name, kind.to_lowercase()))
}

/// A name that would be too long ends with a digest of itself. Two that meet nevertheless are told apart by their owner record.
fn fitting(name: String) -> String {
    if name.len() <= LONGEST_NAME {
        return name;
    }
    // FNV-1a
    let digest = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let head = name.get(..LONGEST_NAME - 17).unwrap_or_default().trim_end_matches(['.', '-']);
    format!("{head}-{digest:016x}")
}

/// Whether every member of `wanted` is in `found` with that value; lists must be equal in length.
pub fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| covers(found, wanted)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| covers(found, wanted))
        }
        _ => found == wanted,
    }
}
