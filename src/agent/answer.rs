//! What a token endpoint answered, read strictly: a token that can be used, or why there is none.
//!
//! Flows in: status, headers and body. Flows out: the token and how long it lives, or a failure that says what to do next.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::credentials::CredentialsError;

/// No token is longer.
const LARGEST_TOKEN: usize = 16 * 1024;
/// How much of an issuer's words is repeated in a log.
const WORDS: usize = 200;

/// An access token. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct AccessToken {
    pub(crate) value: Arc<Zeroizing<String>>,
    /// What the issuer said it is good for.
    pub(crate) scope: Option<Arc<str>>,
}

/// A token with the life the issuer gave it.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub(crate) token: AccessToken,
    pub(crate) life: Duration,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("read the credentials")]
    Credentials(#[from] CredentialsError),
    #[error("{url} is no https URL: give one, or --plaintext where something in between adds TLS")]
    Plaintext { url: String },
    #[error("use the certificate authorities for {url}: {why}")]
    Authorities { url: String, why: &'static str },
    #[error("ask {url}")]
    Unreachable { url: String, source: Box<dyn Error + Send + Sync> },
    #[error("{url} answers {status}: {code}: {description}")]
    Refused { url: String, status: StatusCode, code: String, description: String, retry_after: Option<Duration> },
    #[error("{url} gives an answer that cannot be used: {why}")]
    Unusable { url: String, why: &'static str },
}

/// An endpoint's answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) url: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// RFC 6749 section 5.1.
#[derive(Deserialize)]
struct Success {
    access_token: String,
    token_type: String,
    expires_in: Option<u32>,
    scope: Option<String>,
}

/// RFC 6749 section 5.2.
#[derive(Default, Deserialize)]
struct Refusal {
    error: Option<String>,
    error_description: Option<String>,
}

/// RFC 8414 section 2.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("scope", &self.scope).finish_non_exhaustive()
    }
}

// === impl Failure ===

impl Failure {
    /// The label it is counted under.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Credentials(_) | Self::Plaintext { .. } | Self::Authorities { .. } => Outcome::Misconfigured,
            Self::Unreachable { .. } => Outcome::Unreachable,
            Self::Refused { .. } => Outcome::Refused,
            Self::Unusable { .. } => Outcome::Unusable,
        }
    }

    /// For how long the issuer wants to hear nothing.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the issuer did not believe who we are (RFC 6749 section 5.2).
    pub(crate) fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::UNAUTHORIZED, .. })
            || matches!(self, Self::Refused { code, .. } if code == "invalid_client")
    }
}

/// What a request for a token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Obtained,
    Refused,
    Unreachable,
    Unusable,
    Misconfigured,
}

// === impl Answer ===

impl Answer<'_> {
    /// The token, if there is one.
    pub(crate) fn token(&self, now: Timestamp) -> Result<Granted, Failure> {
        self.accepted(now)?;
        let answer: Success = self.json("it is no answer of a token endpoint (RFC 6749 section 5.1)")?;
        let value = Zeroizing::new(answer.access_token);
        if !answer.token_type.eq_ignore_ascii_case("Bearer") {
            return Err(self.unusable("its token is no bearer token"));
        }
        if value.len() > LARGEST_TOKEN || !is_token(&value) {
            return Err(self.unusable("its token is longer than 16 KiB or no b64token (RFC 6750 section 2.1)"));
        }
        let Some(seconds) = answer.expires_in.filter(|seconds| *seconds > 0) else {
            return Err(self.unusable("it does not say how long its token lives (expires_in)"));
        };
        let scope = answer.scope.filter(|scope| scope.len() <= LARGEST_TOKEN).map(Into::into);
        let token = AccessToken { value: Arc::new(value), scope };
        Ok(Granted { token, life: Duration::from_secs(seconds.into()) })
    }

    /// The token endpoint that an issuer's metadata name.
    pub(crate) fn token_endpoint(&self, issuer: &str, now: Timestamp) -> Result<String, Failure> {
        self.accepted(now)?;
        let metadata: Metadata = self.json("it is no metadata with issuer and token_endpoint (RFC 8414)")?;
        if metadata.issuer == issuer {
            Ok(metadata.token_endpoint)
        } else {
            Err(self.unusable("its metadata are another issuer's (RFC 8414 section 3.3)"))
        }
    }

    fn accepted(&self, now: Timestamp) -> Result<(), Failure> {
        if self.status == StatusCode::OK {
            return Ok(());
        }
        let refusal: Refusal = serde_json::from_slice(self.body).unwrap_or_default();
        Err(Failure::Refused {
            url: self.url.to_owned(),
            status: self.status,
            code: words(refusal.error.as_deref().unwrap_or("no error code")),
            description: words(refusal.error_description.as_deref().unwrap_or("no description")),
            retry_after: self.retry_after(now),
        })
    }

    /// Seconds, or a date (RFC 9110 section 10.2.3).
    fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        if let Ok(seconds) = text.parse::<u32>() {
            return Some(Duration::from_secs(seconds.into()));
        }
        let at = DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }

    fn json<T: for<'a> Deserialize<'a>>(&self, otherwise: &'static str) -> Result<T, Failure> {
        serde_json::from_slice(self.body).map_err(|_| self.unusable(otherwise))
    }

    fn unusable(&self, why: &'static str) -> Failure {
        Failure::Unusable { url: self.url.to_owned(), why }
    }
}

/// A b64token: what goes into a header as it is (RFC 6750 section 2.1).
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// Another party's words, fit for a log.
fn words(text: &str) -> String {
    text.chars().take(WORDS).map(|one| if one.is_control() { ' ' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const URL: &str = "https://auth/oauth2/token";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn read(status: u16, body: &str) -> Result<Granted, Failure> {
        let (status, headers) = (StatusCode::from_u16(status).unwrap_or_default(), HeaderMap::new());
        Answer { url: URL, status, headers: &headers, body: body.as_bytes() }.token(at(0))
    }

    #[test]
    fn a_bearer_token_with_a_life_is_taken() {
        let body = r#"{"access_token":"aB3-._~+/=","token_type":"bearer","expires_in":900,"scope":"a b","more":1}"#;
        let granted = read(200, body).unwrap();
        assert_eq!((granted.token.value.as_str(), granted.life.as_secs()), ("aB3-._~+/=", 900));
        assert_eq!(granted.token.scope.as_deref(), Some("a b"));
        assert!(!format!("{granted:?}").contains("aB3"));
    }

    #[test]
    fn whatever_else_is_no_token() {
        let long = "x".repeat(LARGEST_TOKEN + 1);
        for body in [
            "",
            "[]",
            r#"{"access_token":"a","token_type":"Bearer"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":0}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"900"}"#,
            r#"{"access_token":"a","token_type":"DPoP","expires_in":900}"#,
            r#"{"access_token":"","token_type":"Bearer","expires_in":900}"#,
            r#"{"access_token":"==","token_type":"Bearer","expires_in":900}"#,
            r#"{"access_token":"a b","token_type":"Bearer","expires_in":900}"#,
            r#"{"access_token":"a\r\nx: y","token_type":"Bearer","expires_in":900}"#,
            r#"{"access_token":"a","access_token":"b","token_type":"Bearer","expires_in":900}"#,
            &format!(r#"{{"access_token":"{long}","token_type":"Bearer","expires_in":900}}"#),
        ] {
            assert!(matches!(read(200, body), Err(Failure::Unusable { .. })), "{body:.80}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_issuers_words_and_no_others() {
        let body = r#"{"error":"invalid_client","error_description":"line\nline"}"#;
        let failure = read(401, body).unwrap_err();
        assert_eq!(failure.to_string(), format!("{URL} answers 401 Unauthorized: invalid_client: line line"));
        assert!(failure.is_unauthenticated());
        let failure = read(302, "moved").unwrap_err();
        assert_eq!(failure.to_string(), format!("{URL} answers 302 Found: no error code: no description"));
        assert!(!failure.is_unauthenticated());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let mut headers = HeaderMap::new();
        for (value, seconds) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            let answer = Answer { url: URL, status: StatusCode::SERVICE_UNAVAILABLE, headers: &headers, body: b"" };
            let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
            let waits = answer.token(now).unwrap_err().retry_after();
            assert_eq!(waits, seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn metadata_must_be_the_issuers_own() {
        let headers = HeaderMap::new();
        let body = br#"{"issuer":"https://auth","token_endpoint":"https://auth/t"}"#;
        let answer = Answer { url: URL, status: StatusCode::OK, headers: &headers, body };
        assert_eq!(answer.token_endpoint("https://auth", at(0)).unwrap(), "https://auth/t");
        assert!(answer.token_endpoint("https://auth/", at(0)).is_err());
    }
}
