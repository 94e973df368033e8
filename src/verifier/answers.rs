//! The `CheckResponse` that lets a request pass, written straight to bytes.
//!
//! Flows in: as whom the request passes and the headers it came with. Flows out: protobuf. This is the answer to nearly
//! every question; put together from owned strings first, it would cost more than finding the verdict.

use countersign_core::request::Headers;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::identity::Pass;

/// Room for the answer as it usually is.
const USUAL: usize = 512;
/// Fields of `CheckResponse`.
const STATUS: u32 = 1;
const OK_RESPONSE: u32 = 3;
/// Fields of `OkHttpResponse`.
const SET: u32 = 2;
const REMOVE: u32 = 5;
/// Fields of `HeaderValueOption`.
const HEADER: u32 = 1;
const APPEND_ACTION: u32 = 3;
/// Fields of `HeaderValue`.
const KEY: u32 = 1;
const VALUE: u32 = 2;

pub(super) fn encode(pass: &Pass, headers: &dyn Headers) -> Vec<u8> {
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

/// A header that takes the place of any the request came with.
fn set(out: &mut Vec<u8>, name: &str, value: &str) {
    let action = HeaderAppendAction::OverwriteIfExistsOrAdd as u64;
    let header = field_len(KEY, name.len()) + field_len(VALUE, value.len());
    let action_len = key_len(APPEND_ACTION) + encoded_len_varint(action);
    length_delimited(out, SET, field_len(HEADER, header) + action_len);
    length_delimited(out, HEADER, header);
    text(out, KEY, name);
    text(out, VALUE, value);
    encode_key(APPEND_ACTION, WireType::Varint, out);
    encode_varint(action, out);
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
    use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
    use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
    use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, OkHttpResponse};
    use envoy_types::pb::google::rpc;
    use prost::Message;

    use super::*;

    /// The same, put together from the generated types.
    fn generated(pass: &Pass, headers: &dyn Headers) -> CheckResponse {
        let option = |(key, value): (&str, std::borrow::Cow<'_, str>)| HeaderValueOption {
            header: Some(HeaderValue { key: key.to_owned(), value: value.into_owned(), raw_value: Vec::new() }),
            append_action: i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd),
            ..HeaderValueOption::default()
        };
        let response = OkHttpResponse {
            headers: pass.headers().map(option).collect(),
            headers_to_remove: pass.removals(headers).into_iter().map(String::from).collect(),
            ..OkHttpResponse::default()
        };
        CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(response)),
            dynamic_metadata: None,
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_generated_types() {
        let long = format!("X.Countersign_{}", "long".repeat(100));
        let headers =
            [("accept", "*/*"), ("X-Countersign-Subject", "root"), ("x.countersign.scope", "all"), (&*long, "")];
        for decision in ["allow", "public", &"d".repeat(300)] {
            let pass = Pass { token: None, decision: decision.to_owned().leak() };
            for headers in [headers.as_slice(), &[]] {
                assert_eq!(encode(&pass, &headers), generated(&pass, &headers).encode_to_vec());
            }
        }
    }
}
