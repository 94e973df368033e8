//! `CheckResponse`s, written straight to bytes.
//!
//! Flows in: as whom a request passes and the headers it came with, or a refusal. Flows out: protobuf. Passing is the answer
//! to nearly every question; put together from owned strings first, it would cost more than finding the verdict.

use countersign_core::policy::{Refusal, Status};
use countersign_core::request::Headers;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::identity::Pass;
use super::{REALM, body_of};

/// Room for the answer as it usually is.
const USUAL: usize = 512;
/// Fields of `CheckResponse`.
const STATUS: u32 = 1;
const DENIED_RESPONSE: u32 = 2;
const OK_RESPONSE: u32 = 3;
/// Fields of `google.rpc.Status`; `HttpStatus` has the first of them.
const CODE: u32 = 1;
const MESSAGE: u32 = 2;
/// Fields of `OkHttpResponse`.
const SET: u32 = 2;
const REMOVE: u32 = 5;
/// Fields of `DeniedHttpResponse`, the second of which is `SET` as well.
const HTTP_STATUS: u32 = 1;
const BODY: u32 = 3;
/// Fields of `HeaderValueOption`.
const HEADER: u32 = 1;
const APPEND_ACTION: u32 = 3;
/// Fields of `HeaderValue`.
const KEY: u32 = 1;
const VALUE: u32 = 2;
/// `OVERWRITE_IF_EXISTS_OR_ADD`
const OVERWRITE: u64 = 2;

/// Lets a request pass.
pub(super) fn pass(pass: &Pass, headers: &dyn Headers) -> Vec<u8> {
    let mut response = Vec::with_capacity(USUAL);
    for (name, value) in pass.headers() {
        set(&mut response, name, &value);
    }
    for name in pass.removals(headers) {
        text(&mut response, REMOVE, &name);
    }
    let mut message = Vec::with_capacity(response.len() + 8);
    length_delimited(&mut message, STATUS, 0);
    length_delimited(&mut message, OK_RESPONSE, response.len());
    message.append(&mut response);
    message
}

/// Refuses it.
pub(super) fn deny(refusal: &Refusal) -> Vec<u8> {
    // As google.rpc.Code has them.
    let code = match refusal.status {
        Status::BadRequest => 3,
        Status::Unauthorized => 16,
        Status::Forbidden => 7,
        Status::Unavailable => 14,
    };
    let mut status = Vec::new();
    number(&mut status, CODE, code);
    if let Some(error) = refusal.error {
        text(&mut status, MESSAGE, error.code());
    }
    let mut http = Vec::new();
    number(&mut http, CODE, u64::from(refusal.status.code()));
    let mut response = Vec::with_capacity(USUAL);
    length_delimited(&mut response, HTTP_STATUS, http.len());
    response.append(&mut http);
    if let Some(challenge) = refusal.challenge(REALM) {
        set(&mut response, "www-authenticate", &challenge);
    }
    if refusal.status == Status::Unavailable {
        set(&mut response, "retry-after", "1");
    }
    let body = body_of(refusal);
    if !body.is_empty() {
        text(&mut response, BODY, &body);
    }
    let mut message = Vec::with_capacity(status.len() + response.len() + 8);
    length_delimited(&mut message, STATUS, status.len());
    message.append(&mut status);
    length_delimited(&mut message, DENIED_RESPONSE, response.len());
    message.append(&mut response);
    message
}

/// A header that takes the place of any the request came with.
fn set(out: &mut Vec<u8>, name: &str, value: &str) {
    let header = field_len(KEY, name.len()) + field_len(VALUE, value.len());
    let action_len = key_len(APPEND_ACTION) + encoded_len_varint(OVERWRITE);
    length_delimited(out, SET, field_len(HEADER, header) + action_len);
    length_delimited(out, HEADER, header);
    text(out, KEY, name);
    text(out, VALUE, value);
    number(out, APPEND_ACTION, OVERWRITE);
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    encode_key(field, WireType::Varint, out);
    encode_varint(value, out);
}

fn text(out: &mut Vec<u8>, field: u32, text: &str) {
    length_delimited(out, field, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// What stands before so many bytes.
fn length_delimited(out: &mut Vec<u8>, field: u32, length: usize) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn field_len(field: u32, length: usize) -> usize {
    key_len(field) + encoded_len_varint(length as u64) + length
}

#[cfg(test)]
mod tests {
    use countersign_core::policy::Reason;
    use countersign_core::request::Ambiguity;
    use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
    use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
    use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
    use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
    use envoy_types::pb::envoy::r#type::v3::HttpStatus;
    use envoy_types::pb::google::rpc;
    use prost::Message;

    use super::*;

    fn option(key: &str, value: String) -> HeaderValueOption {
        HeaderValueOption {
            header: Some(HeaderValue { key: key.to_owned(), value, raw_value: Vec::new() }),
            append_action: i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd),
            ..HeaderValueOption::default()
        }
    }

    fn generated(status: rpc::Status, response: HttpResponse) -> Vec<u8> {
        let response = CheckResponse { status: Some(status), http_response: Some(response), dynamic_metadata: None };
        response.encode_to_vec()
    }

    #[test]
    fn the_bytes_that_let_pass_are_those_of_the_generated_types() {
        let long = format!("X.Countersign_{}", "long".repeat(100));
        let headers =
            [("accept", "*/*"), ("X-Countersign-Subject", "root"), ("x.countersign.scope", "all"), (&*long, "")];
        for decision in ["allow", "public", &"d".repeat(300)] {
            let pass = Pass { token: None, decision: decision.to_owned().leak() };
            for headers in [headers.as_slice(), &[]] {
                let response = HttpResponse::OkResponse(OkHttpResponse {
                    headers: pass.headers().map(|(key, value)| option(key, value.into_owned())).collect(),
                    headers_to_remove: pass.removals(&headers).into_iter().map(String::from).collect(),
                    ..OkHttpResponse::default()
                });
                assert_eq!(super::pass(&pass, &headers), generated(rpc::Status::default(), response));
            }
        }
    }

    #[test]
    fn the_bytes_that_refuse_are_those_of_the_generated_types() {
        for (refusal, code) in [
            (Refusal::ambiguous(Ambiguity::Header), rpc::Code::InvalidArgument),
            (
                Refusal { status: Status::Unauthorized, ..Refusal::ambiguous(Ambiguity::Host) },
                rpc::Code::Unauthenticated,
            ),
            (Refusal::forbidden(Reason::NoSuchPolicy), rpc::Code::PermissionDenied),
            (Refusal::unavailable(Reason::NotReady), rpc::Code::Unavailable),
        ] {
            let challenge = refusal.challenge(REALM).map(|challenge| option("www-authenticate", challenge));
            let retry = (refusal.status == Status::Unavailable).then(|| option("retry-after", "1".to_owned()));
            let response = HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus { code: i32::from(refusal.status.code()) }),
                headers: challenge.into_iter().chain(retry).collect(),
                body: body_of(&refusal),
            });
            let message = refusal.error.map_or("", |error| error.code()).to_owned();
            let status = rpc::Status { code: i32::from(code), message, details: Vec::new() };
            assert_eq!(deny(&refusal), generated(status, response), "{refusal:?}");
        }
    }
}
