//! The admin port of every role: `/livez`, `/readyz`, `/metrics`; read-only.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Readiness;
use crate::runtime::telemetry::chain;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin port answers from.
#[derive(Clone, Debug, Default)]
pub struct Admin {
    pub readiness: Readiness,
    pub metrics: Metrics,
}

/// The admin routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        // A dead task ends the process, so answering at all is being alive.
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let missing = admin.readiness.missing();
    if missing.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", missing.join(", "))).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(error = chain(&error), "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Method, Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(admin: &Admin, method: Method, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = router(admin.clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_lists_what_is_missing() {
        let admin = Admin::default();
        let keys = admin.readiness.condition("signing-keys");
        assert_eq!(
            ask(&admin, Method::GET, "/readyz").await,
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for signing-keys\n".to_owned())
        );
        keys.ready();
        assert_eq!(ask(&admin, Method::GET, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn the_port_is_read_only() {
        let admin = Admin::default();
        admin.metrics.counter("calls", "Calls").inc();
        assert_eq!(ask(&admin, Method::GET, "/livez").await.0, StatusCode::OK);
        assert!(ask(&admin, Method::GET, "/metrics").await.1.contains("countersign_calls_total 1"));
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(ask(&admin, Method::POST, path).await.0, StatusCode::METHOD_NOT_ALLOWED);
        }
    }
}
