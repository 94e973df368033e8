//! A resource server that knows nothing of OAuth, and the Envoy beside it that asks the verifier about every request.
//!
//! ```text
//! Service orders:80 ──► Envoy :8080 ──gRPC over TLS──► verifier
//!                         └── 127.0.0.1:8081 ──► nginx, which answers with the identity it was told
//! ```
//! Flows in: a release and a namespace with a client whose Secret or ConfigMap says whom to trust. Flows out: a Service.

use crate::cluster::{Namespace, image};
use crate::release::Release;
use std::net::SocketAddr;

pub struct Sidecar {
    /// The Service's own address: this network is the cluster's.
    pub address: SocketAddr,
}

impl Sidecar {
    /// Starts `orders`, ready, beside the client `checkout`, which has a Secret.
    pub fn start(release: &Release<'_>, namespace: &Namespace<'_>) -> Self {
        Self::trusting(release, namespace, "secret: {secretName: checkout-oauth")
    }

    /// The same beside another client: the volume of what says whom to trust begins so.
    pub fn trusting(release: &Release<'_>, namespace: &Namespace<'_>, volume: &str) -> Self {
        let manifest = include_str!("orders.yaml")
            .replace("$VERIFIER", &release.host("verifier"))
            .replace("$ENVOY", &image("envoy"))
            .replace("$NGINX", &image("nginx"))
            .replace("$TRUST", volume);
        namespace.apply(&manifest);
        namespace.must(&["rollout", "status", "--timeout=90s", "deployment/orders"]);
        let address =
            namespace.must(&["get", "service", "orders", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}"]);
        Self { address: address.parse().expect("a Service has an address") }
    }
}
