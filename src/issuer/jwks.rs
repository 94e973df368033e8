//! `/oauth2/jwks`: the public keys in service, serialised once for each set of keys.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use countersign_core::token::KeySet;

use crate::http::error::Refusal;

/// The document for the keys last asked for.
#[derive(Debug)]
pub(crate) struct JwksDocument {
    current: ArcSwapOption<Document>,
    cache_control: HeaderValue,
}

#[derive(Debug)]
struct Document {
    /// Held so that a later set cannot come to lie at the same address.
    keys: Arc<KeySet>,
    body: Bytes,
    etag: HeaderValue,
}

// === impl JwksDocument ===

impl JwksDocument {
    pub(crate) fn new(max_age: Duration) -> Self {
        let cache_control = HeaderValue::try_from(format!("public, max-age={}", max_age.as_secs()));
        Self {
            current: ArcSwapOption::empty(),
            cache_control: cache_control.unwrap_or(HeaderValue::from_static("no-cache")),
        }
    }

    /// The answer for these keys.
    pub(crate) fn answer(&self, keys: &Arc<KeySet>, headers: &HeaderMap) -> Response {
        let Some(document) = self.document(keys) else {
            // An empty set would make clients drop the keys they hold.
            return Refusal::unavailable("there are no keys yet").into_response();
        };
        let shared = [
            (header::ETAG, document.etag.clone()),
            (header::CACHE_CONTROL, self.cache_control.clone()),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        ];
        if is_current(headers, &document.etag) {
            return (StatusCode::NOT_MODIFIED, shared).into_response();
        }
        (shared, [(header::CONTENT_TYPE, "application/json")], document.body.clone()).into_response()
    }

    fn document(&self, keys: &Arc<KeySet>) -> Option<Arc<Document>> {
        if let Some(document) = self.current.load_full().filter(|document| Arc::ptr_eq(&document.keys, keys)) {
            return Some(document);
        }
        let document = Arc::new(Document::new(keys)?);
        self.current.store(Some(Arc::clone(&document)));
        Some(document)
    }
}

impl Document {
    fn new(keys: &Arc<KeySet>) -> Option<Self> {
        let jwks = keys.jwks();
        if jwks.is_empty() {
            return None;
        }
        let body = serde_json::to_vec(&jwks).ok()?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        let etag = HeaderValue::try_from(format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest))).ok()?;
        Some(Self { keys: Arc::clone(keys), body: Bytes::from(body), etag })
    }
}

/// Whether the client holds this version (RFC 9110 section 13.1.2, weak comparison).
fn is_current(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let listed = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}
