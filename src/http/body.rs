//! A request's body: of the right type, small enough, in time, before anything of it is parsed.

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub bytes: usize,
    pub deadline: Duration,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the content type is not the one that is read here")]
    ContentType,
    #[error("parameters belong in the body, not in the URL")]
    Query,
    #[error("the request is too large")]
    TooLarge,
    #[error("the request took too long to arrive")]
    TooSlow,
    #[error("the request broke off")]
    Broken,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, deadline: Duration::from_secs(10) }
    }
}

/// Reads the body of a form request.
pub async fn read_form(parts: &Parts, body: Body, limits: BodyLimits) -> Result<Bytes, BodyError> {
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(BodyError::Query);
    }
    if !is(&parts.headers, b"application/x-www-form-urlencoded") {
        return Err(BodyError::ContentType);
    }
    read(&parts.headers, body, limits).await
}

/// Reads the body of a request in JSON.
pub async fn read_json(parts: &Parts, body: Body, limits: BodyLimits) -> Result<Bytes, BodyError> {
    if !is(&parts.headers, b"application/json") {
        return Err(BodyError::ContentType);
    }
    read(&parts.headers, body, limits).await
}

async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, BodyError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.bytes as u64) {
        return Err(BodyError::TooLarge);
    }
    let whole = Limited::new(body, limits.bytes).collect();
    match tokio::time::timeout(limits.deadline, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::TooSlow),
    }
}

/// This one content type, whatever its parameters.
fn is(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::Request;
    use bytes::Bytes;
    use futures::stream;

    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    const LIMITS: BodyLimits = BodyLimits { bytes: 8, deadline: Duration::from_millis(20) };

    async fn read_as(uri: &str, types: &[&str], body: Body) -> Result<Bytes, BodyError> {
        let mut request = Request::builder().uri(uri);
        for kind in types {
            request = request.header(header::CONTENT_TYPE, *kind);
        }
        let (parts, body) = request.body(body).unwrap().into_parts();
        read_form(&parts, body, LIMITS).await
    }

    #[tokio::test]
    async fn only_one_form_content_type_is_read() {
        for good in [FORM, "application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-Urlencoded ;a=b"]
        {
            assert_eq!(read_as("/t", &[good], Body::from("a=b")).await.unwrap(), "a=b");
        }
        for bad in [&[][..], &["application/json"], &[FORM, FORM], &["application/x-www-form-urlencoded2"]] {
            assert_eq!(read_as("/t", bad, Body::from("a=b")).await.unwrap_err(), BodyError::ContentType);
        }
        assert_eq!(read_as("/t?a=b", &[FORM], Body::empty()).await.unwrap_err(), BodyError::Query);
    }

    #[tokio::test]
    async fn a_large_or_slow_body_is_refused() {
        assert_eq!(read_as("/t", &[FORM], Body::from("a=3456789")).await.unwrap_err(), BodyError::TooLarge);
        let slow = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(read_as("/t", &[FORM], slow).await.unwrap_err(), BodyError::TooSlow);
    }
}
