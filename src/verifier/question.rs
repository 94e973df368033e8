//! What is read of Envoy's `CheckRequest`: the fields a verdict rests on, under their numbers in
//! `envoy/service/auth/v3/attribute_context.proto`. Everything else is stepped over.
//!
//! Flows in: the bytes of a message. Flows out: a `Question` borrowed from them, in which nothing is ambiguous: what protobuf
//! would merge or let the last of win is refused where it comes twice. No more is ever allocated than the header lines
//! that are allowed: decoded as generated types, two bytes of a message can become a hundred in memory.

use countersign_core::request::{Headers, RequestParts};
use prost::encoding::{WireType, decode_key, decode_varint};

/// The key under which a proxy's configuration names the policy.
const POLICY: &str = "countersign.dev/policy";
/// Header lines of a request that is judged.
const MAX_HEADERS: usize = 1000;

// `CheckRequest`, `AttributeContext`, `AttributeContext.Request`
const ATTRIBUTES: u32 = 1;
const SOURCE: u32 = 1;
const REQUEST: u32 = 4;
const CONTEXT_EXTENSIONS: u32 = 10;
const HTTP: u32 = 2;
// `AttributeContext.Peer`
const CERTIFICATE: u32 = 5;
// `AttributeContext.HttpRequest`
const METHOD: u32 = 2;
const HEADERS: u32 = 3;
const PATH: u32 = 4;
const HOST: u32 = 5;
const SCHEME: u32 = 6;
const HEADER_MAP: u32 = 13;
// `config.core.v3.HeaderMap` and `HeaderValue`; an entry of a map has the first two fields of the latter.
const LINE: u32 = 1;
const KEY: u32 = 1;
const VALUE: u32 = 2;
const RAW_VALUE: u32 = 3;

/// What a proxy asks.
#[derive(Debug, PartialEq)]
pub(super) struct Question<'m> {
    /// What the proxy's configuration names.
    pub(super) policy: Option<&'m str>,
    /// The certificate of the connection the request came by: PEM, percent-encoded.
    pub(super) certificate: Option<&'m str>,
    method: &'m str,
    scheme: &'m str,
    host: &'m str,
    path: &'m str,
    headers: Vec<(&'m str, &'m [u8])>,
}

/// No protobuf, something twice, text that is not UTF-8, or too many headers.
#[derive(Debug, PartialEq)]
pub(super) struct Unreadable;

// === impl Question ===

impl<'m> Question<'m> {
    pub(super) fn read(message: &'m [u8]) -> Result<Self, Unreadable> {
        let [attributes] = fields(message, [ATTRIBUTES], passed_over)?;
        let mut policy = None;
        let [source, request] = fields(attributes, [SOURCE, REQUEST], |number, entry| {
            if number == CONTEXT_EXTENSIONS {
                let [key, value] = fields(entry, [KEY, VALUE], passed_over)?;
                if text(key)? == POLICY && policy.replace(text(value)?).is_some() {
                    return Err(Unreadable);
                }
            }
            Ok(())
        })?;
        let [certificate] = fields(source, [CERTIFICATE], passed_over)?;
        let [http] = fields(request, [HTTP], passed_over)?;
        let mut headers = Vec::new();
        let single = [METHOD, SCHEME, HOST, PATH, HEADER_MAP];
        let [method, scheme, host, path, raw] = fields(http, single, |number, entry| {
            if number == HEADERS {
                let [key, value] = fields(entry, [KEY, VALUE], passed_over)?;
                line(&mut headers, key, text(value)?.as_bytes())?;
            }
            Ok(())
        })?;
        // Envoy uses one form or the other; which one a backend sees could not be told.
        let is_merged = !headers.is_empty();
        fields(raw, [], |number, entry| {
            if number == LINE {
                let [key, value, raw] = fields(entry, [KEY, VALUE, RAW_VALUE], passed_over)?;
                line(&mut headers, key, if raw.is_empty() { text(value)?.as_bytes() } else { raw })?;
            }
            if number == LINE && is_merged { Err(Unreadable) } else { Ok(()) }
        })?;
        let [method, scheme, host, path] = [text(method)?, text(scheme)?, text(host)?, text(path)?];
        let certificate = Some(text(certificate)?).filter(|certificate| !certificate.is_empty());
        Ok(Self { policy, certificate, method, scheme, host, path, headers })
    }

    pub(super) fn parts(&self) -> RequestParts<'_> {
        let Self { method, scheme, host, path: target, .. } = *self;
        RequestParts { method, scheme, host, target, headers: self }
    }
}

impl Headers for Question<'_> {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.headers.iter().for_each(|(name, value)| each(name, value));
    }
}

fn line<'m>(headers: &mut Vec<(&'m str, &'m [u8])>, key: &'m [u8], value: &'m [u8]) -> Result<(), Unreadable> {
    if headers.len() == MAX_HEADERS {
        return Err(Unreadable);
    }
    headers.push((text(key)?, value));
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable)
}

/// A field nobody asks for.
#[expect(clippy::unnecessary_wraps, reason = "one of the things `fields` does with a field")]
fn passed_over(_: u32, _: &[u8]) -> Result<(), Unreadable> {
    Ok(())
}

/// The fields of a message that may come once, empty where they are absent; every other one that has a length goes to `each`.
fn fields<'m, const N: usize>(
    mut message: &'m [u8],
    single: [u32; N],
    mut each: impl FnMut(u32, &'m [u8]) -> Result<(), Unreadable>,
) -> Result<[&'m [u8]; N], Unreadable> {
    let mut found = [None; N];
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message).map_err(|_| Unreadable)?;
        let slot = single.iter().position(|single| *single == number).and_then(|at| found.get_mut(at));
        let length = match wire_type {
            WireType::LengthDelimited => decode_varint(&mut message).map_err(|_| Unreadable)?,
            // What is asked for has a length, each of it.
            _ if slot.is_some() => return Err(Unreadable),
            WireType::Varint => {
                decode_varint(&mut message).map_err(|_| Unreadable)?;
                continue;
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::StartGroup | WireType::EndGroup => return Err(Unreadable),
        };
        let length = usize::try_from(length).map_err(|_| Unreadable)?;
        let (content, rest) = message.split_at_checked(length).ok_or(Unreadable)?;
        message = rest;
        if let Some(slot) = slot {
            if slot.replace(content).is_some() {
                return Err(Unreadable);
            }
        } else if wire_type == WireType::LengthDelimited {
            each(number, content)?;
        }
    }
    Ok(found.map(Option::unwrap_or_default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut field);
        [&field, content].concat()
    }

    fn entry(key: &str, value: &[u8]) -> Vec<u8> {
        [field(1, key.as_bytes()), field(2, value)].concat()
    }

    fn policy(name: &str) -> Vec<u8> {
        field(10, &entry(POLICY, name.as_bytes()))
    }

    fn header(value: &str) -> Vec<u8> {
        field(3, &entry("authorization", value.as_bytes()))
    }

    fn raw(lines: &[Vec<u8>]) -> Vec<u8> {
        field(13, &lines.iter().flat_map(|line| field(1, line)).collect::<Vec<_>>())
    }

    /// A message with these fields of the context and of the request.
    fn message(context: &[Vec<u8>], http: &[Vec<u8>]) -> Vec<u8> {
        let usual = [field(2, b"GET"), field(4, b"/"), field(5, b"orders"), field(6, b"https")].concat();
        let http = field(2, &[usual, http.concat()].concat());
        field(1, &[context.concat(), field(4, &http)].concat())
    }

    #[test]
    fn what_is_asked_is_read_and_the_rest_stepped_over() {
        let other =
            [&[0x08, 0x96, 0x01][..], &[0x1d, 1, 2, 3, 4], &[0x19, 1, 2, 3, 4, 5, 6, 7, 8], &field(15, b"\xff")];
        let message = [
            other.concat(),
            message(
                &[policy("shop/orders"), field(1, &[field(1, b"address"), field(5, b"pem")].concat())],
                &[header("Bearer a"), header("b")],
            ),
        ];
        let read = Question {
            policy: Some("shop/orders"),
            certificate: Some("pem"),
            method: "GET",
            scheme: "https",
            host: "orders",
            path: "/",
            headers: vec![("authorization", b"Bearer a"), ("authorization", b"b")],
        };
        // The first of the others has the number of the attributes.
        assert_eq!(Question::read(&message.concat()), Err(Unreadable));
        assert_eq!(Question::read(&message.concat()[3..]), Ok(read));
        let lines = raw(&[entry("a", b"b"), [entry("c", b"d"), field(3, b"\xff")].concat()]);
        let message = self::message(&[], &[lines]);
        let read = Question::read(&message).map(|question| question.headers);
        assert_eq!(read, Ok(vec![("a", &b"b"[..]), ("c", b"\xff")]));
        assert_eq!(Question::read(b"").map(|question| (question.method, question.certificate)), Ok(("", None)));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let whole = message(&[], &[]);
        for (what, message) in [
            ("two policies", message(&[policy("a/b"), policy("c/d")], &[])),
            ("two methods", message(&[], &[field(2, b"DELETE")])),
            ("two sources", message(&[field(1, b""), field(1, b"")], &[])),
            ("two certificates", message(&[field(1, &[field(5, b"a"), field(5, b"b")].concat())], &[])),
            ("two requests", field(1, &[field(4, b""), field(4, b"")].concat())),
            ("two messages of attributes", [whole.clone(), whole.clone()].concat()),
            ("headers in both forms", message(&[], &[header("a"), raw(&[entry("a", b"b")])])),
            ("two header maps", message(&[], &[raw(&[]), raw(&[])])),
            ("a key twice in one line", message(&[], &[field(3, &[entry("a", b"b"), entry("a", b"b")].concat())])),
            ("a value that is not UTF-8", message(&[], &[field(3, &entry("a", b"\xff"))])),
            ("a name that is not UTF-8", message(&[], &[raw(&[field(1, b"\xff")])])),
            ("a method that is a number", message(&[], &[vec![0x10, 1]])),
            ("a group", message(&[], &[vec![0x3b, 0x3c]])),
            ("too many headers", message(&[], &vec![header("a"); MAX_HEADERS + 1])),
            ("a cut message", whole[..whole.len() - 1].to_vec()),
            ("a length without end", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            assert_eq!(Question::read(&message), Err(Unreadable), "{what}");
        }
        assert!(Question::read(&message(&[], &vec![header("a"); MAX_HEADERS])).is_ok());
    }
}
