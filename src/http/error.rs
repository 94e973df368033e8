//! OAuth errors as HTTP answers (RFC 6749 section 5.2).
//!
//! Flows in: a code and a sentence for the client, both constants: nothing of the request or of the cause is repeated.
//! Flows out: JSON that no cache keeps, with a challenge where the client used the Authorization header.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_core::oauth::Denied;

use crate::http::body::BodyError;
use crate::http::credentials::CredentialsError;
use crate::http::form::FormError;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"countersign\", charset=\"UTF-8\"");

/// An answer that refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// The RFC's error code.
    pub code: &'static str,
    /// What the client's developer should know.
    pub description: &'static str,
    /// Whether to answer an Authorization header with a challenge.
    pub challenge: bool,
    /// For 429 and 503.
    pub retry_after: Option<Duration>,
    /// Whether the rest of the request may still be on its way, so that the connection cannot go on.
    pub close: bool,
}

// === impl Refusal ===

impl Refusal {
    pub const fn new(status: StatusCode, code: &'static str, description: &'static str) -> Self {
        Self { status, code, description, challenge: false, retry_after: None, close: false }
    }

    /// 400 `invalid_request`.
    pub const fn invalid_request(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// 401 `invalid_client`: the same bytes whatever is wrong with the client.
    pub const fn invalid_client() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", "client authentication failed")
    }

    /// 429: too many failures.
    pub const fn too_many(wait: Duration) -> Self {
        let mut refusal =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "invalid_client", "too many failed attempts; try again later");
        refusal.retry_after = Some(wait);
        refusal
    }

    /// 503: this replica cannot do it now.
    pub const fn unavailable(description: &'static str) -> Self {
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
        refusal.retry_after = Some(Duration::from_secs(1));
        refusal
    }

    /// With a challenge, if the request had an Authorization header.
    #[must_use]
    pub fn challenged(self, authorization_used: bool) -> Self {
        let challenge = authorization_used && self.status == StatusCode::UNAUTHORIZED;
        Self { challenge, ..self }
    }
}

impl From<Denied> for Refusal {
    fn from(Denied { error, description }: Denied) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, error.code(), description)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let (status, description) = match error {
            BodyError::ContentType => {
                (StatusCode::BAD_REQUEST, "the content type must be application/x-www-form-urlencoded")
            }
            BodyError::Query => (StatusCode::BAD_REQUEST, "parameters belong in the body, not in the URL"),
            BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"),
            BodyError::TooSlow => (StatusCode::BAD_REQUEST, "the request took too long to arrive"),
            BodyError::Broken => (StatusCode::BAD_REQUEST, "the request broke off"),
        };
        let close = matches!(error, BodyError::TooLarge | BodyError::TooSlow | BodyError::Broken);
        Self { close, ..Self::new(status, "invalid_request", description) }
    }
}

impl From<FormError> for Refusal {
    fn from(error: FormError) -> Self {
        Self::invalid_request(match error {
            FormError::TooMany => "the request has too many parameters",
            FormError::Repeated => "a parameter appears more than once",
            FormError::Encoding => "a parameter is not form-encoded UTF-8",
        })
    }
}

impl From<CredentialsError> for Refusal {
    fn from(error: CredentialsError) -> Self {
        match error {
            CredentialsError::Several => {
                Self::invalid_request("the request authenticates the client in more than one way")
            }
            CredentialsError::SeveralClients => Self::invalid_request("the request names more than one client"),
            CredentialsError::Header => Self::invalid_client(),
            CredentialsError::Assertion => Self::invalid_request(
                "client_assertion needs client_assertion_type urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = format!(r#"{{"error":"{}","error_description":"{}"}}"#, self.code, self.description);
        let mut response = json(self.status, body);
        let headers = response.headers_mut();
        if self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(wait) = self.retry_after {
            // Rounded up: coming back a moment early would only be refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// JSON that no cache keeps (RFC 6749 section 5.1).
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn tok_13_a_refusal_is_json_that_is_not_stored() {
        let response = Refusal::invalid_client().challenged(true).into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], CHALLENGE);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "invalid_client");
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let response = Refusal::too_many(Duration::from_millis(1001)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        let response = Refusal::too_many(Duration::ZERO).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn only_a_401_is_challenged() {
        assert!(!Refusal::invalid_request("x").challenged(true).challenge);
        assert!(!Refusal::invalid_client().challenged(false).challenge);
    }
}
