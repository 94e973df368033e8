//! Who the client says it is, read from the request and not yet believed (RFC 6749 section 2.3, RFC 7617).
//!
//! Flows in: headers and form. Flows out: at most one presented credential. Two at once, or two client ids, are refused
//! before either is looked at.

use std::borrow::Cow;
use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::http::form::{Form, decode};

/// What a client presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// No client at all.
    Nothing,
    /// A client id without proof.
    Public { client_id: &'a str },
    /// A client id and its secret.
    Secret { client_id: Cow<'a, str>, secret: Secret<'a> },
    /// A signed assertion (RFC 7523), and the client it is presented for, if the request names one.
    Assertion { client_id: Option<&'a str>, assertion: Secret<'a> },
}

/// The only type of assertion there is here (RFC 7523 section 2.2).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A secret value, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<'a>(Cow<'a, str>);

/// Why no single credential could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("the request authenticates the client in more than one way")]
    Several,
    #[error("the request names more than one client")]
    SeveralClients,
    #[error("the Authorization header cannot be understood")]
    Header,
    #[error("client_assertion and client_assertion_type {JWT_BEARER} belong together")]
    Assertion,
}

impl Secret<'_> {
    /// The value, for the one comparison.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Reads what is presented.
pub fn presented<'a>(headers: &HeaderMap, form: &'a Form<'_>) -> Result<Presented<'a>, CredentialsError> {
    let client_id = form.get("client_id");
    let secret = form.get("client_secret");
    let assertion = (form.get("client_assertion"), form.get("client_assertion_type"));
    let asserted = assertion.0.or(assertion.1).is_some();
    let ways = [headers.contains_key(header::AUTHORIZATION), secret.is_some(), asserted];
    if ways.into_iter().filter(|used| *used).count() > 1 {
        return Err(CredentialsError::Several);
    }
    if let Some((id, secret)) = basic(headers)? {
        return match client_id {
            Some(named) if named != id => Err(CredentialsError::SeveralClients),
            _ => Ok(Presented::Secret { client_id: Cow::Owned(id), secret: Secret(Cow::Owned(secret)) }),
        };
    }
    if asserted {
        let (Some(assertion), Some(JWT_BEARER)) = assertion else { return Err(CredentialsError::Assertion) };
        return Ok(Presented::Assertion { client_id, assertion: Secret(Cow::Borrowed(assertion)) });
    }
    match (client_id, secret) {
        (Some(id), Some(secret)) => {
            Ok(Presented::Secret { client_id: Cow::Borrowed(id), secret: Secret(Cow::Borrowed(secret)) })
        }
        (Some(client_id), None) => Ok(Presented::Public { client_id }),
        (None, _) => Ok(Presented::Nothing),
    }
}

/// HTTP Basic with both halves form-encoded (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, CredentialsError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(CredentialsError::Several);
    }
    let text = value.to_str().map_err(|_| CredentialsError::Header)?;
    read_basic(text).ok_or(CredentialsError::Header).map(Some)
}

fn read_basic(text: &str) -> Option<(String, String)> {
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let bytes = STANDARD.decode(encoded.trim_start_matches(' ')).ok()?;
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let (id, secret) = bytes.split_at(colon);
    let (id, secret) = (decode(id).ok()?, decode(secret.get(1..)?).ok()?);
    (!id.is_empty() && !secret.is_empty()).then(|| (id.into_owned(), secret.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    fn form(body: &str) -> Form<'_> {
        Form::parse(body.as_bytes()).unwrap()
    }

    fn with_header(values: &[&str], body: &'static str) -> Result<Option<(String, String)>, CredentialsError> {
        Ok(match presented(&headers(values), &form(body))? {
            Presented::Secret { client_id, secret } => Some((client_id.into_owned(), secret.expose().to_owned())),
            _ => None,
        })
    }

    fn encoded(pair: &[u8]) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn tok_05_basic_is_form_encoded_inside() {
        let read = with_header(&[&encoded(b"shop.checkout:%3A%25%2B+%26")], "").unwrap().unwrap();
        assert_eq!(read, ("shop.checkout".to_owned(), ":%+ &".to_owned()));
        let read = with_header(&["basic YTpi"], "client_id=a").unwrap().unwrap();
        assert_eq!(read, ("a".to_owned(), "b".to_owned()));
    }

    #[test]
    fn tok_05_broken_basic_is_refused() {
        for pair in [&b"nocolon"[..], b":secret", b"id:", b"id:%ZZ", b"id:\xff", b"id:a\0b", b"id:%00", b"%ff:a"] {
            assert_eq!(with_header(&[&encoded(pair)], "").unwrap_err(), CredentialsError::Header, "{pair:?}");
        }
        for header in ["Basic", "Basic !!!", "Basic YTpi YTpi", "Bearer abc", "Basic YTpi=", "Basic\tYTpi"] {
            assert_eq!(with_header(&[header], "").unwrap_err(), CredentialsError::Header, "{header}");
        }
    }

    #[test]
    fn tok_04_two_methods_or_two_clients_are_refused() {
        for body in ["client_secret=x", "client_id=a&client_secret=b", "client_assertion=x", "client_assertion_type=x"]
        {
            assert_eq!(with_header(&["Basic YTpi"], body).unwrap_err(), CredentialsError::Several, "{body}");
        }
        assert_eq!(with_header(&["Basic YTpi", "Basic YTpi"], "").unwrap_err(), CredentialsError::Several);
        assert_eq!(with_header(&["Basic YTpi"], "client_id=b").unwrap_err(), CredentialsError::SeveralClients);
        assert_eq!(with_header(&[], "client_secret=a&client_assertion=b").unwrap_err(), CredentialsError::Several);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let form = Form::parse(b"client_id=a&client_secret=hunter2").unwrap();
        let read = presented(&HeaderMap::new(), &form).unwrap();
        assert!(!format!("{read:?}").contains("hunter2"));
    }
}
