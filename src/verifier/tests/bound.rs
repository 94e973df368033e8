//! Tokens that are bound to their client's certificate, on the one wire that says which the caller showed.

use countersign_core::token::Thumbprint;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message;

use super::*;

/// A certificate as Envoy reports it.
fn reported(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der).replace('=', "%3D");
    format!("-----BEGIN%20CERTIFICATE-----%0A{text}%0A-----END%20CERTIFICATE-----%0A")
}

impl World {
    fn bound(&self, der: &[u8]) -> String {
        let mut claims = Self::claims("orders:read");
        claims["cnf"] = json!({"x5t#S256": Thumbprint::of(der).to_string()});
        self.key.sign(&self.key.header(), &claims)
    }

    /// What Envoy is answered about `GET /orders/7` with this token, over a connection that showed this certificate.
    async fn shown(&self, token: &str, certificate: &str) -> i32 {
        let headers = [
            ("authorization".to_owned(), format!("Bearer {token}")),
            // The caller's word, which says nothing.
            ("x-forwarded-client-cert".to_owned(), format!("Cert=\"{}\"", reported(b"own"))),
        ];
        let http = HttpRequest {
            method: "GET".to_owned(),
            path: "/orders/7".to_owned(),
            host: "orders.shop".to_owned(),
            scheme: "https".to_owned(),
            headers: headers.into(),
            ..HttpRequest::default()
        };
        let request = Some(Request { http: Some(http), ..Request::default() });
        let source = Some(Peer { certificate: certificate.to_owned(), ..Peer::default() });
        let context_extensions = [("countersign.dev/policy".to_owned(), "shop/orders".to_owned())].into();
        let attributes = AttributeContext { source, request, context_extensions, ..AttributeContext::default() };
        self.grpc_bytes(&CheckRequest { attributes: Some(attributes) }.encode_to_vec()).await.status
    }
}

#[tokio::test]
async fn cla_09_a_bound_token_passes_with_the_certificate_envoy_reports_and_no_other() {
    let world = World::new();
    let token = world.bound(b"own");
    let (own, other) = (reported(b"own"), reported(b"other"));
    for (certificate, status) in [(&*own, 200), (&other, 401), ("", 401), ("x", 401), (&own, 200)] {
        assert_eq!(world.shown(&token, certificate).await, status, "{certificate}");
    }
    assert_eq!(world.get(&token).await, 401, "over HTTP nobody says who calls");
    let text = world.metrics.encode().expect("metrics");
    assert!(text.contains("reason=\"WrongCertificate\"") && text.contains("reason=\"NoCertificate\""), "{text}");
    let plain = world.token("orders:read");
    assert_eq!((world.shown(&plain, &other).await, world.shown(&plain, "").await), (200, 200), "it is bound to none");
}
