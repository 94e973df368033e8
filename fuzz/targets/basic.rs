//! Client credentials: lines of `Authorization` headers, an empty line, a body.

use countersign::http::credentials::{JWT_BEARER, Presented, presented};
use countersign::http::form::Form;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::world::line;

pub fn run(data: &[u8]) {
    let (mut headers, mut rest) = (HeaderMap::new(), data);
    loop {
        let (value, after) = line(rest);
        rest = after;
        if value.is_empty() {
            break;
        }
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        headers.append(AUTHORIZATION, value);
    }
    let Ok(form) = Form::parse(rest) else { return };
    let Ok(read) = presented(&headers, &form) else { return };
    assert!(headers.len() <= 1, "one header, or none");
    let by_form = form.get("client_secret").is_some();
    let by_assertion = form.get("client_assertion").or(form.get("client_assertion_type")).is_some();
    assert!(usize::from(by_form) + usize::from(by_assertion) + headers.len() <= 1, "one way at a time");
    match &read {
        Presented::Secret { client_id, secret } => {
            assert!(!client_id.is_empty() && !secret.expose().is_empty());
            assert!(!client_id.contains('\0') && !secret.expose().contains('\0'));
            assert!(form.get("client_id").is_none_or(|named| named == client_id), "one client at a time");
            assert!(headers.len() == 1 || (by_form && form.get("client_secret") == Some(secret.expose())));
            assert_eq!(format!("{secret:?}"), "…");
        }
        Presented::Assertion { client_id, assertion } => {
            assert!(headers.is_empty() && !by_form);
            assert_eq!(form.get("client_assertion_type"), Some(JWT_BEARER));
            assert_eq!(form.get("client_assertion"), Some(assertion.expose()));
            assert_eq!(form.get("client_id"), *client_id);
            assert_eq!(format!("{assertion:?}"), "…");
        }
        Presented::Nothing | Presented::Public { .. } => assert!(headers.is_empty() && !by_assertion),
    }
}
