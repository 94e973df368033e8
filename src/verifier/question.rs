//! What is read of Envoy's `CheckRequest`: the fields a verdict rests on, under their numbers in
//! `envoy/service/auth/v3/attribute_context.proto`. Everything else is stepped over.
//!
//! Flows in: the bytes of a message. Flows out: a `Question` that shares them. Maps are lists of entries here, as they are on
//! the wire: nothing is hashed, and a key that comes twice is seen twice instead of the last one winning.

use bytes::Bytes;
use countersign_core::request::{Headers, RequestParts};
use prost::Message;

/// The key under which a proxy's configuration names the policy.
const POLICY: &[u8] = b"countersign.dev/policy";
/// Header lines of a request that is judged.
const MAX_HEADERS: usize = 1000;

/// `CheckRequest`
#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

/// `AttributeContext`
#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, optional, tag = "4")]
    request: Option<Request>,
    #[prost(message, repeated, tag = "10")]
    context_extensions: Vec<Entry>,
}

/// `AttributeContext.Request`
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

/// `AttributeContext.HttpRequest`
#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(bytes = "bytes", tag = "2")]
    method: Bytes,
    #[prost(message, repeated, tag = "3")]
    headers: Vec<Entry>,
    #[prost(bytes = "bytes", tag = "4")]
    path: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    host: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    scheme: Bytes,
    #[prost(message, optional, tag = "13")]
    header_map: Option<HeaderMap>,
}

/// `config.core.v3.HeaderMap`
#[derive(Clone, PartialEq, Message)]
struct HeaderMap {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<Entry>,
}

/// An entry of a map, or a `config.core.v3.HeaderValue`: the one has the shape of the other and no third field.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    raw_value: Bytes,
}

/// What a proxy asks.
#[derive(Debug)]
pub(super) struct Question {
    context: Vec<Entry>,
    http: HttpRequest,
    /// Of the two forms in which Envoy sends headers the one it used.
    lines: Vec<Entry>,
}

// === impl Question ===

impl Question {
    /// Nothing where the message cannot be read, says nothing of a request, holds text that is not UTF-8, has too many
    /// headers, or has them in both forms: which one a backend sees could not be told.
    pub(super) fn read(message: Bytes) -> Option<Self> {
        let Attributes { request, context_extensions: context } = CheckRequest::decode(message).ok()?.attributes?;
        let mut http = request?.http?;
        let merged = std::mem::take(&mut http.headers);
        let raw = http.header_map.take().unwrap_or_default().headers;
        let lines = match (merged.is_empty(), raw.is_empty()) {
            // In a map's entry the third field means nothing, so nobody sends it.
            (_, true) if merged.iter().all(|entry| entry.raw_value.is_empty()) => merged,
            (true, false) => raw,
            _ => return None,
        };
        let is_read = http.is_text() && context.iter().all(Entry::is_text) && lines.iter().all(Entry::is_text);
        (is_read && lines.len() <= MAX_HEADERS).then_some(Self { context, http, lines })
    }

    /// What the proxy's configuration names; as protobuf has it, the last one counts.
    pub(super) fn policy(&self) -> Option<&str> {
        self.context.iter().rfind(|entry| entry.key == POLICY).map(|entry| text(&entry.value))
    }

    pub(super) fn parts(&self) -> RequestParts<'_> {
        let HttpRequest { method, path, host, scheme, .. } = &self.http;
        RequestParts { method: text(method), scheme: text(scheme), host: text(host), target: text(path), headers: self }
    }
}

impl Headers for Question {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        for Entry { key, value, raw_value } in &self.lines {
            each(text(key), if raw_value.is_empty() { value } else { raw_value });
        }
    }
}

impl HttpRequest {
    fn is_text(&self) -> bool {
        [&self.method, &self.path, &self.host, &self.scheme].into_iter().all(is_text)
    }
}

impl Entry {
    /// Of a raw value nothing is asked: it is there for what is no text.
    fn is_text(&self) -> bool {
        is_text(&self.key) && is_text(&self.value)
    }
}

fn is_text(bytes: &Bytes) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// Text that was found to be some; empty, and so no match for anything, were it not.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
