//! Attacks at the edge of proxy and verifier, through a real Envoy on both wires. The ids are those of docs/security.md.

mod failures;
mod headers;
mod messages;
mod requests;

use crate::support::echo::Echo;
use crate::support::envoy::{Envoy, Wire};
use crate::support::http::{Request, Response};
use crate::support::standalone::{HOST, POLICY, Standalone};
use std::net::SocketAddr;

const WIRES: [&str; 2] = ["gRPC", "HTTP"];

/// A verifier, Envoy asking it over both wires for `shop/orders`, and the resource server behind.
struct Edge {
    it: Standalone,
    envoy: Envoy,
    echo: Echo,
}

impl Edge {
    async fn start() -> Self {
        let (it, echo) = (Standalone::start().await, Echo::start().await);
        let envoy = Envoy::start(&wires(it.grpc, it.http, POLICY), echo.address).await;
        Self { it, envoy, echo }
    }

    /// The answers over both wires.
    async fn both(&self, request: Request) -> [(&'static str, Response); 2] {
        let request = request.header("host", HOST);
        let send = async |wire| request.send(self.envoy.listener(wire)).await.expect("Envoy answers");
        [(WIRES[0], send(0).await), (WIRES[1], send(1).await)]
    }

    /// Requires this status over both wires.
    async fn expect(&self, what: &str, status: u16, request: Request) -> [(&'static str, Response); 2] {
        let answers = self.both(request).await;
        for (wire, answer) in &answers {
            assert_eq!(answer.status, status, "{what} over {wire}: {answer:?}");
        }
        answers
    }

    /// Requires that nothing of this request reaches the resource server over either wire.
    async fn stopped(&self, what: &str, request: Request) {
        let before = self.echo.requests();
        for (wire, answer) in self.both(request).await {
            assert!((400..500).contains(&answer.status), "{what} over {wire}: {answer:?}");
        }
        assert_eq!(self.echo.requests(), before, "{what} came through");
    }
}

fn wires(grpc: SocketAddr, http: SocketAddr, policy: &str) -> [Wire; 2] {
    [
        Wire::Grpc { verifier: grpc, policy: Some(policy.to_owned()) },
        Wire::Http { verifier: http, prefix: format!("/ext-authz/policy/{policy}") },
    ]
}
